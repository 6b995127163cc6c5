package engine

import (
	"fmt"
	"net/netip"

	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/hostnet"
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
		(p.HostAddr == other.HostAddr || p.HostAddr.IsUnspecified() || other.HostAddr.IsUnspecified())
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
	published []PublishedPort // by anyone, and by this request so far
	resolved  int             // how many at the end of published are this request's
	listeners map[uint8]hostnet.Listeners
}

// resolvePorts validates the ports of a request, chooses what it leaves open,
// and numbers the rules. A conflict with a socket of the host is found later,
// when the rule keeps new ones away: see refuseTakenBySockets.
func (e *Engine) resolvePorts(requests []PublishedPort) ([]PublishedPort, error) {
	r := resolver{engine: e, listeners: map[uint8]hostnet.Listeners{}}
	for ep := range e.registry.endpointSeq() {
		r.published = append(r.published, ep.Ports...)
	}
	for _, request := range requests {
		if err := r.add(request.complete()); err != nil {
			return nil, err
		}
	}
	ports := r.published[len(r.published)-r.resolved:]
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
	if err := r.engine.validatePort(p); err != nil {
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
	for _, other := range r.published {
		if p.overlaps(other) {
			return errAllocated(p, other)
		}
	}
	r.accept(p)
	return nil
}

func (r *resolver) accept(p PublishedPort) {
	r.published = append(r.published, p)
	r.resolved++
}

func (e *Engine) validatePort(p PublishedPort) error {
	hostCount, targetCount := int(p.Last)-int(p.First), int(p.TargetLast)-int(p.Target)
	switch {
	case p.Protocol != unix.IPPROTO_TCP && p.Protocol != unix.IPPROTO_UDP:
		return apierr.BadParameter("only tcp and udp ports can be published, not protocol %d", p.Protocol)
	case !p.HostAddr.Is4():
		return apierr.BadParameter("a port can be published on an IPv4 address only, not on %q", p.HostAddr)
	case p.Target == 0 || hostCount < 0 || targetCount < 0:
		return apierr.BadParameter("invalid published port %s", p)
	case p.First != 0 && targetCount != 0 && hostCount != targetCount:
		return apierr.BadParameter("invalid published port %s: the ranges differ in length", p)
	case !p.HostAddr.IsUnspecified() && !e.hasAddress(p.HostAddr):
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

// hostPorts writes an address and one or more of its ports.
func hostPorts(addr netip.Addr, first, last uint16) string {
	if first == last {
		return fmt.Sprintf("%s:%d", addr, first)
	}
	return fmt.Sprintf("%s:%d-%d", addr, first, last)
}
