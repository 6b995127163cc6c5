package engine

import (
	"fmt"
	"net/netip"

	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/hostnet"
	"github.com/sluice-net/sluice/internal/portindex"
	"github.com/sluice-net/sluice/internal/portspec"
	"golang.org/x/sys/unix"
)

// PortFromSpec is the request to publish what a specification says.
func PortFromSpec(s portspec.Spec) PublishedPort {
	return PublishedPort{
		Protocol: s.Protocol, HostAddr: s.HostAddr,
		First: s.First, Last: s.Last, Target: s.Target, TargetLast: s.TargetLast,
	}
}

// overlaps reports whether two published ports claim the same port of the same
// address.
func (p PublishedPort) overlaps(other PublishedPort) bool {
	return p.Protocol == other.Protocol &&
		p.First <= other.Last && other.First <= p.Last &&
		meet(p.HostAddr, other.HostAddr)
}

// meet reports whether two host addresses of published ports stand for one that
// is the same.
func meet(a, b netip.Addr) bool {
	switch {
	case !a.IsValid() || !b.IsValid():
		return true
	case a.Is4() != b.Is4():
		return false
	}
	return a == b || a.IsUnspecified() || b.IsUnspecified()
}

// perFamily returns a request's ports for an endpoint of the network: one for each
// family that is meant.
func (p PublishedPort) perFamily(n Network) []PublishedPort {
	if p.HostAddr.IsValid() {
		return []PublishedPort{p}
	}
	of4, of6 := p, p
	of4.HostAddr, of6.HostAddr = netip.IPv4Unspecified(), netip.IPv6Unspecified()
	if !n.HasIPv6() {
		return []PublishedPort{of4}
	}
	return []PublishedPort{of4, of6}
}

// complete fills in a TargetLast that a request left out.
func (p PublishedPort) complete() PublishedPort {
	if p.TargetLast == 0 {
		p.TargetLast = p.Target + p.Last - p.First
	}
	return p
}

// String is the port in the grammar of package portspec.
func (p PublishedPort) String() string {
	return portspec.Spec{
		Protocol: p.Protocol, HostAddr: p.HostAddr,
		First: p.First, Last: p.Last, Target: p.Target, TargetLast: p.TargetLast,
	}.String()
}

// resolver turns the published ports of a request into ones without a choice
// and without a conflict.
type resolver struct {
	engine    *Engine
	network   Network
	tcp, udp  portindex.Index[PublishedPort] // by anyone, and by this request so far
	resolved  []PublishedPort                // this request's
	listeners map[uint8]hostnet.Listeners
	addresses map[netip.Addr]bool // whether the host has them, as far as was asked
}

func (r *resolver) published(protocol uint8) *portindex.Index[PublishedPort] {
	if protocol == unix.IPPROTO_UDP {
		return &r.udp
	}
	return &r.tcp
}

// conflict returns a published port that claims the same port of the same
// address.
func (r *resolver) conflict(p PublishedPort) (other PublishedPort, found bool) {
	for other := range r.published(p.Protocol).Overlapping(p.First, p.Last) {
		if p.overlaps(other) {
			return other, true
		}
	}
	return other, false
}

// resolvePorts validates the ports of a request for an endpoint of the network,
// chooses what it leaves open, and numbers the rules. A conflict with a socket of the host is found later,
// when the rule keeps new ones away: see refuseTakenBySockets.
func (e *Engine) resolvePorts(n Network, requests []PublishedPort) ([]PublishedPort, error) {
	r := resolver{engine: e, network: n, listeners: map[uint8]hostnet.Listeners{}, addresses: map[netip.Addr]bool{}}
	if len(requests) == 0 {
		return nil, nil
	}
	for ep := range e.registry.endpointSeq() {
		for _, p := range ep.Ports {
			r.published(p.Protocol).Add(p.First, p.Last, p)
		}
	}
	for _, request := range requests {
		if err := r.add(request.complete()); err != nil {
			return nil, err
		}
	}
	ports := r.resolved
	if err := e.warnOfEphemeral(ports); err != nil {
		return nil, err
	}
	rules, err := e.registry.ruleIndexes.free(len(ports))
	if err != nil {
		return nil, err
	}
	for i := range ports {
		ports[i].Rule = rules[i]
	}
	return ports, nil
}

// add resolves one port of the request.
func (r *resolver) add(p PublishedPort) error {
	if err := r.validate(p); err != nil {
		return err
	}
	if p.First == 0 {
		return r.addChosen(p)
	}
	if p.Target == p.TargetLast && p.First != p.Last {
		port, err := r.choose(p, p.First, p.Last, p.First)
		if err != nil {
			return err
		}
		p.First, p.Last = port, port
	}
	for _, one := range p.perFamily(r.network) {
		if other, taken := r.conflict(one); taken {
			return errAllocated(one, other)
		}
	}
	r.accept(p)
	return nil
}

// accept notes a port that is free, of every family that is meant.
func (r *resolver) accept(p PublishedPort) {
	for _, one := range p.perFamily(r.network) {
		r.published(one.Protocol).Add(one.First, one.Last, one)
		r.resolved = append(r.resolved, one)
	}
}

// hostHas is Engine.hasAddress, asked once for an address.
func (r *resolver) hostHas(addr netip.Addr) bool {
	has, asked := r.addresses[addr]
	if !asked {
		has = r.engine.hasAddress(addr)
		r.addresses[addr] = has
	}
	return has
}

func (r *resolver) validate(p PublishedPort) error {
	n := r.network
	hostCount, targetCount := int(p.Last)-int(p.First), int(p.TargetLast)-int(p.Target)
	switch {
	case p.Protocol != unix.IPPROTO_TCP && p.Protocol != unix.IPPROTO_UDP:
		return apierr.BadParameter("only tcp and udp ports can be published, not protocol %d", p.Protocol)
	case p.HostAddr.Is6() && !n.HasIPv6():
		return apierr.BadParameter("Bind for %s failed: network %s has no IPv6: make one with `network create --ipv6`, or publish on an IPv4 address", hostPorts(p.HostAddr, p.First, p.Last), n.Name)
	case p.Target == 0 || hostCount < 0 || targetCount < 0:
		return apierr.BadParameter("invalid published port %s", p)
	case p.First != 0 && targetCount != 0 && hostCount != targetCount:
		return apierr.BadParameter("invalid published port %s: the ranges differ in length", p)
	case p.HostAddr.IsValid() && !p.HostAddr.IsUnspecified() && !r.hostHas(p.HostAddr):
		return apierr.BadParameter("Bind for %s failed: the host has no address %s", hostPorts(p.HostAddr, p.First, p.Last), p.HostAddr)
	}
	return nil
}

// refuseTakenBySockets looks for sockets of the host that hold one of the
// ports. The ports' rules are installed already and refuse new ones.
func (e *Engine) refuseTakenBySockets(ports []PublishedPort) error {
	snapshots := map[uint8]hostnet.Listeners{}
	for _, p := range ports {
		listeners, known := snapshots[p.Protocol]
		if !known {
			var err error
			if listeners, err = e.host.Listeners(p.Protocol); err != nil {
				return err
			}
			snapshots[p.Protocol] = listeners
		}
		if socket, taken := listeners.Holding(p.HostAddr, p.First, p.Last); taken {
			return apierr.Conflict("Bind for %s failed: address already in use: a process of the host has %s",
				hostPorts(p.HostAddr, socket.Port(), socket.Port()), socket)
		}
	}
	return nil
}

// hostPorts writes an address, 0.0.0.0 for none, and one or more of its ports.
func hostPorts(addr netip.Addr, first, last uint16) string {
	if !addr.IsValid() {
		addr = netip.IPv4Unspecified()
	}
	text := netip.AddrPortFrom(addr, first).String()
	if first == last {
		return text
	}
	return fmt.Sprintf("%s-%d", text, last)
}
