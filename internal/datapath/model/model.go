// Package model says in Go what the datapath of bpf/ does with a packet, after
// the tables of docs/architecture.md: tests compare the two. It is short where
// the datapath is fast: whole flows instead of halves, bytes instead of
// checksums that are brought up to date.
//
// It is a package, not a part of the tests, because `go test -fuzz` follows
// the branches of packages, and not those of external tests: an input that
// takes a new way through the model is one that it goes on with.
package model

import (
	stdmaps "maps"
	"net"
	"net/netip"
	"slices"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/maps"
)

// Endpoint is an endpoint as the control plane has written it.
type Endpoint struct {
	Network           uint16
	Addrs             []netip.Addr
	MAC               net.HardwareAddr
	Ifindex           uint32
	Ready, Translated bool
}

// Network is a bridge network.
type Network struct {
	Subnets  []netip.Prefix
	Gateways []netip.Addr
	MAC      net.HardwareAddr
	Rule     uint32 // masquerade; 0 for an internal network
}

// Alias is an address with members.
type Alias struct {
	Index, Rule uint32
	Members     []uint32
}

// Route is what the host's routing table says of a prefix.
type Route struct {
	Prefix  netip.Prefix
	Local   bool       // an address of the host's own
	Ifindex uint32     // 0: refused, or local
	Source  netip.Addr // what it prefers; zero where the kernel does not tell
	MTU     int
}

// Socket is a socket of the host. It is bound to an address, which may be
// unspecified, and connected when it has a remote one.
type Socket struct {
	Protocol      uint8
	Local, Remote netip.AddrPort
}

// gets says whether packets of a key are the socket's.
func (s Socket) gets(k Key) bool {
	return s.Protocol == k.Protocol && s.Local.Port() == k.Dport &&
		s.Local.Addr().Is4() == k.Dst.Is4() && (s.Local.Addr().IsUnspecified() || s.Local.Addr() == k.Dst) &&
		(!s.Remote.IsValid() || s.Remote == netip.AddrPortFrom(k.Src, k.Sport))
}

// Count names a counter of packets.
type Count struct {
	Hook    datapath.Hook
	Verdict datapath.Verdict
}

type fragmentKey struct {
	src, dst netip.Addr
	id       uint32
	zone     uint16
	protocol uint8
}

// turn is what connections to an alias are counted by.
type turn struct {
	alias     uint32
	ethertype uint16
}

type fragment struct {
	first Key
	seen  uint32
}

// Model is the datapath's state and what it knows of the host. The fields with
// a name for others are set by them.
type Model struct {
	Now        uint32    // seconds of CLOCK_MONOTONIC
	LocalPorts [2]uint16 // ip_local_port_range
	Networks   map[uint16]Network
	HostAddrs  map[netip.Addr]uint16 // to the network whose gateway it is
	Devices    map[uint32]net.HardwareAddr
	Uplinks    map[uint32][]netip.Addr // the source where a route prefers none
	Routes     []Route                 // the longest prefix first
	Aliases    map[netip.Addr]Alias
	Sockets    []Socket
	Silent     map[uint32]bool // senders that have had their share of errors
	Patience   uint32          // how many flows begin before one that waits is looked after
	// Took is the source port that the datapath gave to the flow of a key.
	Took func(forward Key) (uint16, bool)

	Packets map[Count]uint64
	Drops   map[reasons.Reason]uint64
	Rules   map[uint32]maps.RuleCounters

	endpoints           map[uint32]Endpoint
	endpointGenerations map[uint32]uint32
	rules               map[uint32]maps.Rule
	ruleGenerations     map[uint32]uint32
	turns               map[turn]uint64
	flows               map[Key]*Flow
	fragments           map[fragmentKey]fragment
	queues              [2]queue // of IPv4 and of IPv6
}

// New is a model of a datapath without entries.
func New() *Model {
	return &Model{
		Networks: map[uint16]Network{}, HostAddrs: map[netip.Addr]uint16{}, Devices: map[uint32]net.HardwareAddr{},
		Uplinks: map[uint32][]netip.Addr{}, Aliases: map[netip.Addr]Alias{}, Silent: map[uint32]bool{},
		Packets: map[Count]uint64{}, Drops: map[reasons.Reason]uint64{}, Rules: map[uint32]maps.RuleCounters{},
		endpoints: map[uint32]Endpoint{}, endpointGenerations: map[uint32]uint32{},
		rules: map[uint32]maps.Rule{}, ruleGenerations: map[uint32]uint32{},
		turns: map[turn]uint64{}, flows: map[Key]*Flow{}, fragments: map[fragmentKey]fragment{},
	}
}

// SetEndpoint writes an endpoint.
func (m *Model) SetEndpoint(index uint32, e Endpoint) { m.endpoints[index] = e }

// Endpoint returns the endpoint at an index.
func (m *Model) Endpoint(index uint32) (Endpoint, bool) {
	e, ok := m.endpoints[index]
	return e, ok
}

// ClearEndpoint takes an endpoint away; its flows end.
func (m *Model) ClearEndpoint(index uint32) {
	delete(m.endpoints, index)
	m.endpointGenerations[index]++
}

// SetRule writes a rule; the flows of another one at the index end.
func (m *Model) SetRule(index uint32, r maps.Rule) {
	if old, ok := m.rules[index]; ok && old != r {
		m.ClearRule(index)
	}
	m.rules[index] = r
}

// ClearRule takes a rule away; its flows end.
func (m *Model) ClearRule(index uint32) {
	if _, ok := m.rules[index]; ok {
		delete(m.rules, index)
		delete(m.Rules, index)
		m.ruleGenerations[index]++
	}
}

// ClearAlias takes an alias away that has the addresses; its turns begin anew.
func (m *Model) ClearAlias(index uint32, addrs ...netip.Addr) {
	delete(m.turns, turn{index, etherIPv4})
	delete(m.turns, turn{index, etherIPv6})
	for _, addr := range addrs {
		delete(m.Aliases, addr)
	}
}

// Age makes everything look as if it had been seen so many seconds earlier.
func (m *Model) Age(seconds uint32) {
	aged := map[*Flow]bool{}
	for _, f := range m.flows {
		if !aged[f] {
			f.created, aged[f] = f.created-seconds, true
			f.seen = [2]uint32{f.seen[0] - seconds, f.seen[1] - seconds}
		}
	}
	for key, f := range m.fragments {
		f.seen -= seconds
		m.fragments[key] = f
	}
}

// Clone is a model with flows, fragments, turns and counters of its own. What
// only the control plane changes is shared.
func (m *Model) Clone() *Model {
	c := *m
	c.Packets, c.Drops, c.Rules = stdmaps.Clone(m.Packets), stdmaps.Clone(m.Drops), stdmaps.Clone(m.Rules)
	c.turns, c.fragments = stdmaps.Clone(m.turns), stdmaps.Clone(m.fragments)
	for i, q := range m.queues {
		c.queues[i].waiting = slices.Clone(q.waiting)
	}
	c.flows = map[Key]*Flow{}
	clones := map[*Flow]*Flow{}
	for key, f := range m.flows {
		if clones[f] == nil {
			clone := *f
			clones[f] = &clone
		}
		c.flows[key] = clones[f]
	}
	return &c
}

func (m *Model) reference(index uint32) reference {
	return reference{index, m.endpointGenerations[index]}
}

// endpointAt is the index of the endpoint that has an address, or 0.
func (m *Model) endpointAt(addr netip.Addr) uint32 {
	for index, e := range m.endpoints {
		for _, a := range e.Addrs {
			if a == addr {
				return index
			}
		}
	}
	return 0
}

// networkOf says whether an address belongs to one of the networks.
func (m *Model) inANetwork(addr netip.Addr) bool {
	for _, n := range m.Networks {
		if n.contains(addr) {
			return true
		}
	}
	return false
}

func (n Network) contains(addr netip.Addr) bool {
	for _, s := range n.Subnets {
		if s.Contains(addr) {
			return true
		}
	}
	return false
}

func (n Network) gateway(like netip.Addr) netip.Addr { return ofFamily(n.Gateways, like) }

// broadcast says whether an address is the subnet's directed broadcast.
func (n Network) broadcast(addr netip.Addr) bool {
	next := addr.Next()
	return addr.Is4() && n.contains(addr) && !n.contains(next)
}

// routeTo is the route to an address.
func (m *Model) routeTo(addr netip.Addr) Route {
	for _, r := range m.Routes {
		if r.Prefix.Contains(addr) {
			return r
		}
	}
	return Route{}
}

// source is the address of masqueraded packets on a route. Of IPv6 it must be
// one of the host's that stays.
func (m *Model) source(r Route, like netip.Addr) netip.Addr {
	_, stays := m.HostAddrs[r.Source]
	if r.Source.IsValid() && (stays || like.Is4()) {
		return r.Source
	}
	return ofFamily(m.Uplinks[r.Ifindex], like)
}

// ofFamily is the address that is of the same family as another.
func ofFamily(addrs []netip.Addr, like netip.Addr) netip.Addr {
	for _, a := range addrs {
		if a.Is4() == like.Is4() {
			return a
		}
	}
	return netip.Addr{}
}

func covers(r maps.Rule, protocol uint8, port uint16) bool {
	return r.Kind == maps.RulePublish && r.Protocol == protocol && r.First <= port && port <= r.Last
}

// published is the index of the rule for a connection to an address and a
// port: one for this address goes before one for every address.
func (m *Model) published(protocol uint8, addr netip.Addr, port uint16) (best uint32) {
	for index, r := range m.rules {
		if !covers(r, protocol, port) || r.HostAddr.Is4() != addr.Is4() || !r.HostAddr.IsUnspecified() && r.HostAddr != addr {
			continue
		}
		if best == 0 || m.before(index, best) {
			best = index
		}
	}
	return best
}

func (m *Model) before(a, b uint32) bool {
	anyA, anyB := m.rules[a].HostAddr.IsUnspecified(), m.rules[b].HostAddr.IsUnspecified()
	if anyA != anyB {
		return anyB
	}
	return a < b
}
