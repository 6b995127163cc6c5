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
// its addresses, in one transaction. It fills in the addresses and, from that of
// IPv4, the MAC address.
func (r *registry) addEndpoint(ep *Endpoint, n Network) error {
	filled := *ep
	err := r.db.Update(func(tx *store.Tx) error {
		var err error
		if filled.Address, err = allocate(tx, n, n.Subnet, ep.Requested); err != nil {
			return err
		}
		filled.MAC = netdev.MACFor(filled.Address)
		if n.HasIPv6() {
			if filled.Address6, err = allocate(tx, n, n.Subnet6, ep.Requested6); err != nil {
				return err
			}
		}
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

// removeEndpoint forgets the endpoint and gives its numbers and its addresses
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
		if err := release(tx, n.Network, ep.Address, ep.Address6); err != nil {
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

// allocate takes the address of a subnet that was asked for, or the lowest free
// one.
func allocate(tx *store.Tx, n Network, subnet netip.Prefix, requested netip.Addr) (netip.Addr, error) {
	if requested.IsValid() {
		err := ipam.Request(tx, n.ID, subnet, requested)
		switch {
		case errors.Is(err, ipam.ErrInUse):
			return requested, apierr.Conflict("Address already in use: %s in network %s", requested, n.Name)
		case errors.Is(err, ipam.ErrOutside):
			return requested, apierr.BadParameter("invalid address %s: it is outside the subnet %s of network %s", requested, subnet, n.Name)
		}
		return requested, err
	}
	addr, err := ipam.Allocate(tx, n.ID, subnet)
	if errors.Is(err, ipam.ErrExhausted) {
		return addr, apierr.Conflict("no available %s addresses in the subnet %s of network %s", familyOf(subnet), subnet, n.Name)
	}
	return addr, err
}

// release gives addresses of a network back, of which zero ones are left out.
func release(tx *store.Tx, n Network, addrs ...netip.Addr) error {
	for _, addr := range valid(addrs...) {
		subnet := n.Subnet
		if addr.Is6() {
			subnet = n.Subnet6
		}
		if err := ipam.Release(tx, n.ID, subnet, addr); err != nil {
			return err
		}
	}
	return nil
}

// familyOf names a subnet's family.
func familyOf(subnet netip.Prefix) string {
	if subnet.Addr().Is4() {
		return "IPv4"
	}
	return "IPv6"
}
