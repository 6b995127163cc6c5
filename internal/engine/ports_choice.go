package engine

import (
	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/portspec"
)

// choiceLowest is the lowest port that is chosen, and choiceSpan how many below
// ip_local_port_range are preferred: well-known services are further down, and
// masquerade looks for its ports above the range first and then from below.
const (
	choiceLowest = 1024
	choiceSpan   = 8192
)

// span is a range of ports, both ends included.
type span struct{ first, last int }

// choiceSpans returns where ports are chosen from, in this order. Inside
// ip_local_port_range the kernel gives ports to sockets that did not ask for
// one, and a published UDP port takes the answers to them away: so that comes last.
func choiceSpans(first, last uint16) []span {
	spans := []span{
		{max(choiceLowest, int(first)-choiceSpan), int(first) - 1},
		{choiceLowest, int(first) - choiceSpan - 1},
		{max(choiceLowest, int(last)+1), 65535},
		{int(first), int(last)},
	}
	kept := spans[:0]
	for _, s := range spans {
		if s.first <= s.last {
			kept = append(kept, s)
		}
	}
	return kept
}

// addChosen gives each container port a free host port, going on behind the one
// that was chosen last.
func (r *resolver) addChosen(p PublishedPort) error {
	first, last, err := r.engine.host.EphemeralPorts()
	if err != nil {
		return err
	}
	for target := int(p.Target); target <= int(p.TargetLast); target++ {
		one := p
		one.Target, one.TargetLast = uint16(target), uint16(target)
		port, err := r.chooseAny(one, choiceSpans(first, last))
		if err != nil {
			return err
		}
		r.engine.lastPort = port
		one.First, one.Last = port, port
		r.accept(one)
	}
	return nil
}

// chooseAny returns a free port of the first span that has one.
func (r *resolver) chooseAny(p PublishedPort, spans []span) (port uint16, err error) {
	for _, s := range spans {
		first, last := uint16(s.first), uint16(s.last)
		start := first
		if previous := r.engine.lastPort; previous >= first && previous < last {
			start = previous + 1
		}
		port, err = r.choose(p, first, last, start)
		if apierr.StatusOf(err) != 409 {
			return port, err
		}
	}
	return 0, err
}

// choose returns the first port that is free from start on and then from first
// on.
func (r *resolver) choose(p PublishedPort, first, last, start uint16) (uint16, error) {
	count := int(last) - int(first) + 1
	for i := range count {
		port := first + uint16((int(start-first)+i)%count)
		free, err := r.isFree(p, port)
		if err != nil {
			return 0, err
		}
		if free {
			return port, nil
		}
	}
	return 0, apierr.Conflict("Bind for %s failed: all ports are allocated", hostPorts(p.HostAddr, first, last))
}

// isFree reports whether a port can be had for every family that is meant.
func (r *resolver) isFree(p PublishedPort, port uint16) (bool, error) {
	p.First, p.Last = port, port
	ports := p.perFamily(r.network)
	for _, one := range ports {
		if _, taken := r.conflict(one); taken {
			return false, nil
		}
	}
	listeners, known := r.listeners[p.Protocol]
	if !known {
		var err error
		if listeners, err = r.engine.host.Listeners(p.Protocol); err != nil {
			return false, err
		}
		r.listeners[p.Protocol] = listeners
	}
	for _, one := range ports {
		if _, taken := listeners.Holding(one.HostAddr, port, port); taken {
			return false, nil
		}
	}
	return true, nil
}

// warnOfEphemeral says which ports the kernel may also give to sockets of the
// host.
func (e *Engine) warnOfEphemeral(ports []PublishedPort) error {
	first, last, err := e.host.EphemeralPorts()
	if err != nil {
		return err
	}
	var inside []string
	for _, p := range ports {
		if p.First <= last && first <= p.Last {
			inside = append(inside, p.String())
		}
	}
	if len(inside) > 0 {
		e.log.Warn("published inside net.ipv4.ip_local_port_range: a socket of the host that the kernel gives this port loses its answers to the container; keep the port free by net.ipv4.ip_local_reserved_ports",
			"ports", inside[:min(len(inside), maxWarned)], "count", len(inside), "range", portspec.Span(first, last))
	}
	return nil
}

// maxWarned is how many ports a warning names.
const maxWarned = 8
