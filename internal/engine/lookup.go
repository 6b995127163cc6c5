package engine

import (
	"iter"
	"slices"
	"strings"

	"github.com/sluice-net/sluice/internal/apierr"
)

func (r *registry) allNetworks() []Network {
	r.mu.RLock()
	defer r.mu.RUnlock()
	networks := make([]Network, 0, len(r.networks))
	for _, n := range r.networks {
		networks = append(networks, n.Network)
	}
	slices.SortFunc(networks, func(a, b Network) int { return strings.Compare(a.Name, b.Name) })
	return networks
}

func (r *registry) networksByID() map[string]Network {
	networks := map[string]Network{}
	for _, n := range r.allNetworks() {
		networks[n.ID] = n
	}
	return networks
}

// findNetwork looks for an ID, then for a name, then for the beginning of an
// ID, as Docker does.
func (r *registry) findNetwork(ref string) (Network, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if n, ok := r.networks[ref]; ok {
		return n.Network, nil
	}
	var begins []Network
	for id, n := range r.networks {
		if n.Name == ref {
			return n.Network, nil
		}
		if ref != "" && strings.HasPrefix(id, ref) {
			begins = append(begins, n.Network)
		}
	}
	switch len(begins) {
	case 0:
		return Network{}, apierr.NotFound("network %s not found", ref)
	case 1:
		return begins[0], nil
	}
	return Network{}, apierr.BadParameter("network %s is ambiguous: %d IDs begin with it", ref, len(begins))
}

func (r *registry) networkNamed(name string) (Network, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, n := range r.networks {
		if n.Name == name {
			return n.Network, true
		}
	}
	return Network{}, false
}

func (r *registry) isNetworkReady(id string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.networks[id].Ready
}

// endpointSeq visits every endpoint in no order. The loop must not change the
// registry.
func (r *registry) endpointSeq() iter.Seq[Endpoint] {
	return func(yield func(Endpoint) bool) {
		r.mu.RLock()
		defer r.mu.RUnlock()
		for _, ep := range r.endpoints {
			if !yield(ep.Endpoint) {
				return
			}
		}
	}
}

func (r *registry) endpointsOf(networkID string) []Endpoint {
	endpoints := []Endpoint{}
	for ep := range r.endpointSeq() {
		if networkID == "" || ep.NetworkID == networkID {
			endpoints = append(endpoints, ep)
		}
	}
	slices.SortFunc(endpoints, func(a, b Endpoint) int { return a.Address.Compare(b.Address) })
	return endpoints
}

func (r *registry) findEndpoint(id string) (Endpoint, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	ep, ok := r.endpoints[id]
	if !ok {
		return Endpoint{}, apierr.NotFound("endpoint %s not found", id)
	}
	return ep.Endpoint, nil
}

func (r *registry) isEndpointReady(id string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.endpoints[id].Ready
}

func (r *registry) ownsDevice(name string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.devices[name] || r.dying[name]
}

// setDying notes whether a device that no record knows is ours until it is
// deleted.
func (r *registry) setDying(name string, dying bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if dying {
		r.dying[name] = true
	} else {
		delete(r.dying, name)
	}
}
