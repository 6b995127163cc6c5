package engine

import (
	"errors"
	"net/netip"

	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/ipam"
	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/internal/store"
)

// addEndpoint records an endpoint that is not ready and takes its numbers and
// its address, in one transaction. It fills in the address and, from that, the
// MAC address.
func (r *registry) addEndpoint(ep *Endpoint, n Network) error {
	filled := *ep
	err := r.db.Update(func(tx *store.Tx) error {
		addr, err := allocate(tx, n, ep.Requested)
		if err != nil {
			return err
		}
		filled.Address, filled.MAC = addr, netdev.MACFor(addr)
		return tx.Put(endpointBucket, ep.ID, endpointRecord{Endpoint: filled})
	})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	*ep = filled
	r.endpointIndexes.take(ep.Index)
	for _, p := range ep.Ports {
		r.ruleIndexes.take(p.Rule)
	}
	r.rememberEndpoint(endpointRecord{Endpoint: filled})
	return nil
}

// updateEndpoint replaces the record of an endpoint that is ready and takes
// and gives back the numbers of its rules.
func (r *registry) updateEndpoint(ep Endpoint) error {
	record := endpointRecord{Endpoint: ep, Ready: true}
	if err := r.db.Put(endpointBucket, ep.ID, record); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.endpoints[ep.ID].Ports {
		r.releaseRule(p.Rule)
	}
	for _, p := range ep.Ports {
		r.ruleIndexes.take(p.Rule)
	}
	r.endpoints[ep.ID] = record
	return nil
}

// removeEndpoint forgets the endpoint and gives its numbers and its address
// back. One that is not there is no error.
func (r *registry) removeEndpoint(id string) error {
	r.mu.RLock()
	ep, ok := r.endpoints[id]
	n := r.networks[ep.NetworkID]
	r.mu.RUnlock()
	if !ok {
		return nil
	}
	err := r.db.Update(func(tx *store.Tx) error {
		if err := ipam.Release(tx, n.ID, n.Subnet, ep.Address); err != nil {
			return err
		}
		return tx.Delete(endpointBucket, id)
	})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endpointIndexes.release(ep.Index)
	for _, p := range ep.Ports {
		r.releaseRule(p.Rule)
	}
	delete(r.drained, id)
	delete(r.devices, ep.HostDevice)
	delete(r.endpoints, id)
	return nil
}

// allocate takes the address that was asked for, or the lowest free one.
func allocate(tx *store.Tx, n Network, requested netip.Addr) (netip.Addr, error) {
	if requested.IsValid() {
		err := ipam.Request(tx, n.ID, n.Subnet, requested)
		switch {
		case errors.Is(err, ipam.ErrInUse):
			return requested, apierr.Conflict("Address already in use: %s in network %s", requested, n.Name)
		case errors.Is(err, ipam.ErrOutside):
			return requested, apierr.BadParameter("invalid address %s: it is outside the subnet %s of network %s", requested, n.Subnet, n.Name)
		}
		return requested, err
	}
	addr, err := ipam.Allocate(tx, n.ID, n.Subnet)
	if errors.Is(err, ipam.ErrExhausted) {
		return addr, apierr.Conflict("no available IPv4 addresses in the subnet %s of network %s", n.Subnet, n.Name)
	}
	return addr, err
}
