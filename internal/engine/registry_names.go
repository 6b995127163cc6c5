package engine

import (
	"cmp"
	"iter"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/sluice-net/sluice/internal/netdev"
)

// networksOf returns the networks that a sandbox has endpoints in, in the order
// of its devices.
func (r *registry) networksOf(sandbox string) []Network {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var found []endpointRecord
	for _, ep := range r.endpoints {
		if ep.Sandbox == sandbox {
			found = append(found, ep)
		}
	}
	slices.SortFunc(found, func(a, b endpointRecord) int {
		return cmp.Or(cmp.Compare(len(a.Device), len(b.Device)), strings.Compare(a.Device, b.Device))
	})
	networks := make([]Network, 0, len(found))
	for _, ep := range found {
		networks = append(networks, r.networks[ep.NetworkID].Network)
	}
	return networks
}

// namedNetworks returns those of a sandbox's networks that have names.
func (r *registry) namedNetworks(sandbox string) []Network {
	return slices.DeleteFunc(r.networksOf(sandbox), Network.Predefined)
}

// readySeq visits the endpoints of a network that are up, in no order. The loop
// must not change the registry.
func (r *registry) readySeq(networkID string) iter.Seq[Endpoint] {
	return func(yield func(Endpoint) bool) {
		r.mu.RLock()
		defer r.mu.RUnlock()
		for _, ep := range r.endpoints {
			if ep.NetworkID == networkID && ep.Ready && !yield(ep.Endpoint) {
				return
			}
		}
	}
}

// successor returns the MAC address of the endpoint or alias that has an
// address of an endpoint that goes, nil when nobody has it.
func (r *registry) successor(gone Endpoint, addr netip.Addr) net.HardwareAddr {
	for ep := range r.endpointSeq() {
		if ep.ID != gone.ID && ep.NetworkID == gone.NetworkID && (ep.Address == addr || ep.Address6 == addr) {
			return ep.MAC
		}
	}
	if a, ok := r.aliasAt(gone.NetworkID, addr); ok {
		return netdev.MACFor(a.Address)
	}
	return nil
}

// addressesIn returns the addresses that endpoints and aliases of a network have.
func (r *registry) addressesIn(networkID string) map[netip.Addr]bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	taken := map[netip.Addr]bool{}
	for _, ep := range r.endpoints {
		if ep.NetworkID == networkID {
			taken[ep.Address], taken[ep.Address6] = true, true
		}
	}
	for _, a := range r.aliases {
		if a.NetworkID == networkID {
			taken[a.Address], taken[a.Address6] = true, true
		}
	}
	return taken
}

// aliasAt returns the alias that has the address.
func (r *registry) aliasAt(networkID string, addr netip.Addr) (Alias, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, a := range r.aliases {
		if a.NetworkID == networkID && (a.Address == addr || a.Address6 == addr) {
			return a, true
		}
	}
	return Alias{}, false
}
