package engine

import (
	"fmt"
	"net/netip"
	"sync"

	"github.com/sluice-net/sluice/internal/ipam"
	"github.com/sluice-net/sluice/internal/store"
	"github.com/sluice-net/sluice/maps"
)

// Buckets of the store.
const (
	networkBucket  = "networks"
	endpointBucket = "endpoints"
	aliasBucket    = "aliases"
)

// networkRecord and endpointRecord are what the store holds. Ready is set when
// the plan that makes the thing is done: what is found without it after a
// crash is taken away again.
type networkRecord struct {
	Network
	Ready bool
}

type endpointRecord struct {
	Endpoint
	Ready bool
}

// registry is the intent, in memory and in the store. What it returns are
// copies whose slices and maps are never changed.
type registry struct {
	db *store.DB

	mu        sync.RWMutex
	networks  map[string]networkRecord
	endpoints map[string]endpointRecord
	aliases   map[string]Alias // by aliasKey
	drained   map[string]bool  // IDs of endpoints
	devices   map[string]bool  // names of our devices outside the sandboxes
	dying     map[string]bool  // those that are still to be deleted

	networkIndexes  *indexes
	endpointIndexes *indexes
	aliasIndexes    *indexes
	ruleIndexes     *indexes
}

func loadRegistry(db *store.DB) (*registry, error) {
	r := &registry{
		db:              db,
		networks:        map[string]networkRecord{},
		endpoints:       map[string]endpointRecord{},
		aliases:         map[string]Alias{},
		drained:         map[string]bool{},
		devices:         map[string]bool{},
		dying:           map[string]bool{},
		networkIndexes:  newIndexes("bridge networks", maxNetworks),
		endpointIndexes: newIndexes("endpoints", maxEndpoints),
		aliasIndexes:    newIndexes("network aliases", maxAliases),
		ruleIndexes:     newIndexes("published ports, network aliases and masqueraded networks", maxRules),
	}
	if err := db.Each(networkBucket, r.loadNetwork); err != nil {
		return nil, fmt.Errorf("read the networks: %w", err)
	}
	if err := db.Each(endpointBucket, r.loadEndpoint); err != nil {
		return nil, fmt.Errorf("read the endpoints: %w", err)
	}
	if err := db.Each(aliasBucket, r.loadAlias); err != nil {
		return nil, fmt.Errorf("read the aliases: %w", err)
	}
	return r, nil
}

func (r *registry) loadNetwork(id string, raw []byte) error {
	var n networkRecord
	if err := store.Decode(raw, &n); err != nil {
		return fmt.Errorf("network %s: %w", id, err)
	}
	if err := r.networkIndexes.takeStored(uint32(n.Index)); err != nil {
		return err
	}
	if err := r.ruleIndexes.takeStored(n.Rule); err != nil {
		return err
	}
	r.rememberNetwork(n)
	return nil
}

func (r *registry) loadEndpoint(id string, raw []byte) error {
	var ep endpointRecord
	if err := store.Decode(raw, &ep); err != nil {
		return fmt.Errorf("endpoint %s: %w", id, err)
	}
	if err := r.endpointIndexes.takeStored(ep.Index); err != nil {
		return err
	}
	for _, p := range ep.Ports {
		if err := r.ruleIndexes.takeStored(p.Rule); err != nil {
			return err
		}
	}
	r.rememberEndpoint(ep)
	return nil
}

func (r *registry) rememberNetwork(n networkRecord) {
	r.networks[n.ID] = n
	if n.Bridge != "" {
		r.devices[n.Bridge] = true
	}
}

func (r *registry) rememberEndpoint(ep endpointRecord) {
	r.endpoints[ep.ID] = ep
	r.devices[ep.HostDevice] = true
}

// addNetwork records a network that is not ready and takes its numbers and
// reserved addresses.
func (r *registry) addNetwork(n Network) error {
	record := networkRecord{Network: n}
	err := r.db.Update(func(tx *store.Tx) error {
		if n.Driver == DriverBridge {
			if err := reserve(tx, n); err != nil {
				return err
			}
		}
		return tx.Put(networkBucket, n.ID, record)
	})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n.Driver == DriverBridge {
		r.networkIndexes.take(uint32(n.Index))
		r.ruleIndexes.take(n.Rule)
	}
	r.rememberNetwork(record)
	return nil
}

// reserve gives a network the subnets that it has.
func reserve(tx *store.Tx, n Network) error {
	if err := ipam.AddSubnet(tx, n.ID, n.Subnet, n.Gateway); err != nil || !n.HasIPv6() {
		return err
	}
	return ipam.AddSubnet(tx, n.ID, n.Subnet6, n.Gateway6)
}

// setNetworkReady notes that the network's plan is done.
func (r *registry) setNetworkReady(n Network) error {
	record := networkRecord{Network: n, Ready: true}
	if err := r.db.Put(networkBucket, n.ID, record); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.networks[n.ID] = record
	return nil
}

// replaceNetwork changes the subnets of a network that has no endpoints.
func (r *registry) replaceNetwork(n Network) error {
	record := networkRecord{Network: n, Ready: true}
	err := r.db.Update(func(tx *store.Tx) error {
		if err := ipam.RemoveNetwork(tx, n.ID); err != nil {
			return err
		}
		if err := reserve(tx, n); err != nil {
			return err
		}
		return tx.Put(networkBucket, n.ID, record)
	})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.networks[n.ID] = record
	return nil
}

// removeNetwork forgets the network and gives its numbers back. One that is
// not there is no error.
func (r *registry) removeNetwork(id string) error {
	r.mu.RLock()
	n, ok := r.networks[id]
	r.mu.RUnlock()
	if !ok {
		return nil
	}
	err := r.db.Update(func(tx *store.Tx) error {
		if err := ipam.RemoveNetwork(tx, id); err != nil {
			return err
		}
		return tx.Delete(networkBucket, id)
	})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n.Driver == DriverBridge {
		r.networkIndexes.release(uint32(n.Index))
		r.releaseRule(n.Rule)
	}
	delete(r.devices, n.Bridge)
	delete(r.networks, id)
	return nil
}

// releaseRule gives a rule's number back; 0 is none.
func (r *registry) releaseRule(index uint32) {
	if index != 0 {
		r.ruleIndexes.release(index)
	}
}

// inUse is all that the datapath may know of.
func (r *registry) inUse() maps.InUse {
	r.mu.RLock()
	defer r.mu.RUnlock()
	use := maps.InUse{
		Networks: map[uint32]bool{}, Endpoints: map[uint32]bool{}, Rules: map[uint32]bool{},
		Aliases: map[netip.Addr]bool{},
	}
	for _, n := range r.networks {
		use.Networks[uint32(n.Index)], use.Rules[n.Rule] = true, true
	}
	for _, ep := range r.endpoints {
		use.Endpoints[ep.Index] = true
		for _, p := range ep.Ports {
			use.Rules[p.Rule] = true
		}
	}
	for _, a := range r.aliases {
		use.Rules[a.Rule] = true
		for _, addr := range a.Addresses() {
			use.Aliases[addr] = true
		}
	}
	delete(use.Networks, 0) // of what has no number
	delete(use.Rules, 0)
	return use
}
