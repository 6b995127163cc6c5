package engine

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/portindex"
)

// Withdraw splits ports into those that stay and those that the requests name.
// Every request must name one: a port as it was published, or with First 0 every
// port that leads to the target, on the address or, without one, on any.
func Withdraw(owner string, ports, requests []PublishedPort) (kept, withdrawn []PublishedPort, err error) {
	var byPort portindex.Index[int]
	for i, p := range ports {
		byPort.Add(p.First, p.Last, i)
	}
	gone := make([]bool, len(ports))
	for _, request := range requests {
		request = request.complete()
		among := slices.Sorted(byPort.Overlapping(request.First, request.Last))
		if request.First == 0 {
			among = slices.Sorted(byPort.Overlapping(0, 65535))
		}
		before := len(withdrawn)
		for _, i := range among {
			if p := ports[i]; !gone[i] && request.names(p.complete()) {
				gone[i] = true
				withdrawn = append(withdrawn, p)
			}
		}
		if len(withdrawn) == before {
			return nil, nil, apierr.NotFound("%s does not publish %s", owner, request)
		}
	}
	kept = make([]PublishedPort, 0, len(ports)-len(withdrawn))
	for i, p := range ports {
		if !gone[i] {
			kept = append(kept, p)
		}
	}
	return kept, withdrawn, nil
}

// names reports whether a request to withdraw is about the published port. A
// range that one port was chosen from is about that port.
func (p PublishedPort) names(published PublishedPort) bool {
	if p.First == 0 && !p.HostAddr.IsValid() {
		published.HostAddr = p.HostAddr
	}
	return p.ledTo(published)
}

// ledTo reports whether a request to publish is the one that the port came from.
func (p PublishedPort) ledTo(published PublishedPort) bool {
	everywhere := !p.HostAddr.IsValid() && published.HostAddr.IsUnspecified() // of either family
	if p.Protocol != published.Protocol || p.HostAddr != published.HostAddr && !everywhere {
		return false
	}
	switch {
	case p.First == 0:
		return p.Target <= published.Target && published.TargetLast <= p.TargetLast
	case p.Target != published.Target || p.TargetLast != published.TargetLast:
		return false
	case p.Target == p.TargetLast:
		return p.First <= published.First && published.Last <= p.Last
	}
	return p.First == published.First && p.Last == published.Last
}

// Forget takes ports that were withdrawn out of the requests that they came
// from: what is left is to be published with the next start. Of a range for
// which the host's ports were chosen, the rest stays, and of a port for both
// families, the family that is still among the kept ones.
func Forget(requests, withdrawn, kept []PublishedPort) []PublishedPort {
	requests = slices.Clone(requests)
	gone, stays := byClaim(withdrawn), byClaim(kept)
	for _, port := range withdrawn {
		port = port.complete()
		if _, ok := gone[claimOf(port)]; !ok {
			continue // it went with its twin
		}
		at := slices.IndexFunc(requests, func(r PublishedPort) bool { return r.complete().ledTo(port) })
		if at < 0 {
			continue
		}
		request := requests[at].complete()
		left := request.without(port)
		if twin, ok := claimOf(port).twin(); ok && !request.HostAddr.IsValid() {
			delete(gone, twin)
			if other, ok := stays[twin]; ok {
				left = append(left, request.only(other))
			}
		}
		requests = slices.Replace(requests, at, at+1, left...)
	}
	return requests
}

// claim is what tells published ports apart.
type claim struct {
	protocol            uint8
	addr                netip.Addr
	first, last, target uint16
}

func claimOf(p PublishedPort) claim {
	return claim{p.Protocol, p.HostAddr, p.First, p.Last, p.Target}
}

// twin is the same of the other family, for one of every address.
func (c claim) twin() (twin claim, ok bool) {
	switch c.addr {
	case netip.IPv4Unspecified():
		c.addr = netip.IPv6Unspecified()
	case netip.IPv6Unspecified():
		c.addr = netip.IPv4Unspecified()
	default:
		return c, false
	}
	return c, true
}

func byClaim(ports []PublishedPort) map[claim]PublishedPort {
	all := make(map[claim]PublishedPort, len(ports))
	for _, p := range ports {
		all[claimOf(p)] = p
	}
	return all
}

// only returns the part of a request that led to a published port.
func (p PublishedPort) only(port PublishedPort) PublishedPort {
	p.HostAddr = port.HostAddr
	if p.First == 0 {
		p.Target, p.TargetLast = port.Target, port.TargetLast
	}
	return p
}

// without returns what is left of a request when one port that it led to is not
// wanted any more.
func (p PublishedPort) without(port PublishedPort) (rest []PublishedPort) {
	if p.First != 0 {
		return nil
	}
	before, behind := p, p
	if before.TargetLast = port.Target - 1; p.Target < port.Target {
		rest = append(rest, before)
	}
	if behind.Target = port.TargetLast + 1; port.TargetLast < p.TargetLast {
		rest = append(rest, behind)
	}
	return rest
}

// CheckApart returns an error when two of the requests claim the same port of
// the host: they could never be published together.
func CheckApart(requests []PublishedPort) error {
	var tcp, udp portindex.Index[PublishedPort]
	for _, p := range requests {
		if !p.fixed() {
			continue
		}
		before := &tcp
		if p.Protocol == unix.IPPROTO_UDP {
			before = &udp
		}
		for other := range before.Overlapping(p.First, p.Last) {
			if p.overlaps(other) {
				return errAllocated(p, other)
			}
		}
		before.Add(p.First, p.Last, p)
	}
	return nil
}

// fixed reports whether a request leaves no choice of the host's ports.
func (p PublishedPort) fixed() bool {
	p = p.complete()
	return p.First != 0 && (p.First == p.Last || p.Target != p.TargetLast)
}

func errAllocated(p, other PublishedPort) error {
	return apierr.Conflict("Bind for %s failed: port is already allocated", hostPorts(p.HostAddr, max(p.First, other.First), min(p.Last, other.Last)))
}
