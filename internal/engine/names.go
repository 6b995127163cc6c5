package engine

import (
	"math/rand/v2"
	"net/netip"
	"strings"
)

// ResolveName returns the addresses, of both families, that a name has for the
// sandbox: in its user-made networks, and of endpoints that are up. The name is an endpoint's,
// or an alias, alone or before a dot and the network's name, in any case. The
// first network that has the name answers; an endpoint's own name wins over an
// alias. It reports false when no network knows the name.
func (e *Engine) ResolveName(sandbox, name string) ([]netip.Addr, bool) {
	for _, n := range e.registry.namedNetworks(sandbox) {
		if addrs := e.addressesOf(n, name); addrs != nil {
			return addrs, true
		}
		if short, ok := cutSuffixFold(name, "."+n.Name); ok {
			if addrs := e.addressesOf(n, short); addrs != nil {
				return addrs, true
			}
		}
	}
	return nil, false
}

// addressesOf is what a name means in a network. An alias without an address
// of its own means its members, in another order each time.
func (e *Engine) addressesOf(n Network, name string) []netip.Addr {
	var own []netip.Addr
	var members []Endpoint
	for ep := range e.registry.readySeq(n.ID) {
		if containsFold(ep.Names, name) {
			own = append(own, ep.Addresses()...)
		} else if containsFold(ep.Aliases, name) {
			members = append(members, ep)
		}
	}
	if own != nil {
		return own
	}
	if addrs := e.AliasAddresses(n.ID, name); len(addrs) > 0 {
		return addrs
	}
	var addrs []netip.Addr
	for _, i := range rand.Perm(len(members)) {
		if !e.registry.isDrained(members[i].ID) {
			addrs = append(addrs, members[i].Addresses()...)
		}
	}
	return addrs
}

// ResolveAddress returns what an address is called in the sandbox's user-made
// networks: the first name of its endpoint, or the alias, a dot, and the
// network's name.
func (e *Engine) ResolveAddress(sandbox string, addr netip.Addr) (string, bool) {
	for _, n := range e.registry.namedNetworks(sandbox) {
		if !n.Subnet.Contains(addr) && !n.Subnet6.Contains(addr) {
			continue
		}
		for ep := range e.registry.readySeq(n.ID) {
			if (ep.Address == addr || ep.Address6 == addr) && len(ep.Names) > 0 {
				return ep.Names[0] + "." + n.Name, true
			}
		}
		if a, ok := e.registry.aliasAt(n.ID, addr); ok {
			return a.Name + "." + n.Name, true
		}
	}
	return "", false
}

// ReachesOutside reports whether the sandbox is in a network that is not
// internal.
func (e *Engine) ReachesOutside(sandbox string) bool {
	for _, n := range e.registry.networksOf(sandbox) {
		if !n.Internal {
			return true
		}
	}
	return false
}

func containsFold(names []string, name string) bool {
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// cutSuffixFold is strings.CutSuffix in any case.
func cutSuffixFold(s, suffix string) (string, bool) {
	at := len(s) - len(suffix)
	if at <= 0 || !strings.EqualFold(s[at:], suffix) {
		return s, false
	}
	return s[:at], true
}
