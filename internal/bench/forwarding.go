package bench

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// The arms beside ArmFloor.
const (
	armSluice   = "sluice"
	armRedirect = "redirect"
	armIptables = "iptables"
	armNftables = "nftables"
)

// packetsPerFlow is how many packets each of many flows has in a turn: what a
// conntrack notes once a second is then noted for some of them, as in life.
const packetsPerFlow = 2

// framesAtOnce is what a thread with a real-time priority may send in one go.
const framesAtOnce = 50_000

const forwardingName = "forwarding"

// leastDelivered is the part of the frames that has to arrive, or the round
// says nothing.
const leastDelivered = 0.99

// forwarding is what a packet of an established flow of UDP costs: one CPU sends
// small frames, of each flow in turn, and they end where they leave the host:
// at the ingress of the container's device, or the egress of the uplink. Those
// of the floor end where they enter it.
var forwarding = Scenario{
	Name:    forwardingName,
	About:   "ns per UDP packet by a published port, masquerade and an alias",
	Rounds:  15,
	Targets: forwardingTargets(),
	parts:   forwardingParts(),
}

// forwardingParts are one with all lanes and one flow, and one with each lane and
// many: they share the kernel's conntrack table.
func forwardingParts() []part {
	parts := []part{{setup: lanes{paths, []*family{&ipv4, &ipv6}, false}.setUp}}
	for _, p := range paths {
		for _, f := range []*family{&ipv4, &ipv6} {
			many := lanes{[]path{p}, []*family{f}, true}
			parts = append(parts, part{wide: p.name != pathPublished || f != &ipv4, setup: many.setUp})
		}
	}
	return parts
}

func forwardingTargets() []Target {
	targets := []Target{
		{Scenario: forwardingName, Arm: armSluice, AtMost: 1.0 / 6, Of: armIptables},
		{Scenario: forwardingName, Arm: armSluice, AtMost: 1.0 / 6, Of: armNftables},
	}
	return append(targets, Target{Scenario: forwardingName, Arm: armSluice, AtMost: 2, Of: armRedirect})
}

// lanes are what a part compares.
type lanes struct {
	paths    []path
	families []*family
	many     bool // flows, instead of one
}

// heading is one contest's path.
type heading struct {
	path   path
	family *family
	flows  int
}

func (h *heading) parameters() map[string]string {
	return map[string]string{
		"bytes": strconv.Itoa(h.family.frameSize()), "family": h.family.name, "flows": strconv.Itoa(h.flows), "path": h.path.name,
	}
}

// headings are those that are wanted, and that this kernel has.
func (l lanes) headings(e *Env) (all []heading) {
	flows := 1
	if l.many {
		flows = e.Flows
	}
	for _, p := range l.paths {
		for _, f := range l.families {
			h := heading{p, f, flows}
			if slices.Contains(families(), f) && e.wants(h.parameters()) {
				all = append(all, h)
			}
		}
	}
	return all
}

func (l lanes) setUp(e *Env) ([]contest, error) {
	headings := l.headings(e)
	if len(headings) == 0 {
		return nil, nil
	}
	p := plan{ports: []publishedPort{forwardedPort}}
	for _, h := range headings {
		p.member = p.member || h.path.member
		p.ipv6 = p.ipv6 || h.family == &ipv6
		if l.many {
			p.flows += h.flows
		}
	}
	if err := checkConntrack(p.flows); err != nil {
		return nil, err
	}
	contests := make([]contest, len(headings))
	var all []*forwarder
	for _, candidate := range append([]candidate{{ArmFloor, buildRouted}, {armRedirect, buildRouted}}, candidates(e)...) {
		forwarders, err := newForwarders(e, candidate, p, headings)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", candidate.name, err)
		}
		for i, f := range forwarders {
			contests[i] = append(contests[i], arm{candidate.name, f.measure})
		}
		all = append(all, forwarders...)
	}
	return contests, settle(e, all)
}

// newForwarders makes an arm's forwarder for each heading. They share a site,
// but for redirects, which lead one way only.
func newForwarders(e *Env, c candidate, p plan, headings []heading) (forwarders []*forwarder, err error) {
	sites := map[string]*site{}
	for _, h := range headings {
		name := c.name
		if c.name == armRedirect {
			name += "-" + h.path.name
		}
		if sites[name] == nil {
			if sites[name], err = c.build(e, name, p); err != nil {
				return nil, err
			}
			if err := sites[name].addOutside(); err != nil {
				return nil, err
			}
			if c.name == armRedirect {
				to, program := h.path.redirect(sites[name])
				if err := attachRedirect(e, h.path.entry(sites[name]), to, program); err != nil {
					return nil, err
				}
			}
		}
		f, err := newForwarder(e, c, sites[name], h)
		if err != nil {
			return nil, fmt.Errorf("%s by %s: %w", h.path.name, h.family.name, err)
		}
		forwarders = append(forwarders, f)
	}
	return forwarders, nil
}

// forwarder measures one arm of one contest.
type forwarder struct {
	heading    heading
	lane       *lane
	end        hook // where the frames end
	translates bool // and so has flows
	sender     *sender
	sink       *sink // of what arrives at end, once it is settled
	frames     int
}

func newForwarder(e *Env, c candidate, s *site, h heading) (f *forwarder, err error) {
	f = &forwarder{heading: h, lane: h.path.lane(s, h.family), frames: e.Frames}
	if h.flows > 1 {
		f.frames = max(e.Frames, packetsPerFlow*h.flows)
	}
	f.translates = c.name != ArmFloor && c.name != armRedirect
	f.end = h.path.end(s)
	if c.name == ArmFloor {
		f.end = h.path.entry(s).ingress()
	}
	if f.translates {
		if err := f.lane.prove(); err != nil {
			return nil, fmt.Errorf("nothing came through: %w", err)
		}
	}
	frames, err := f.lane.frames(h.flows)
	if err != nil {
		return nil, err
	}
	f.sender, err = newSender(e, f.lane.from, frames)
	return f, err
}

func (f *forwarder) measure() ([]sample, error) {
	before, err := f.sink.count()
	if err != nil {
		return nil, err
	}
	elapsed, err := f.send()
	if err != nil {
		return nil, err
	}
	got, err := f.sink.arrived(before, f.frames)
	if err != nil {
		return nil, err
	}
	s := sample{
		parameters: f.heading.parameters(),
		value:      float64(elapsed.Nanoseconds()) / float64(f.frames),
		unit:       "ns/packet",
	}
	if float64(got) < leastDelivered*float64(f.frames) {
		s.err = fmt.Errorf("%d of %d frames arrived", got, f.frames)
	}
	return []sample{s}, nil
}

// send sends the frames of a turn, with rests, which do not count.
func (f *forwarder) send() (total time.Duration, err error) {
	for sent := 0; sent < f.frames; {
		n := min(framesAtOnce, f.frames-sent)
		elapsed, err := f.sender.send(n, lastCPU())
		if err != nil {
			return 0, err
		}
		rest(elapsed)
		total += elapsed
		sent += n
	}
	return total, nil
}

// arrived returns how many frames of those expected came since the sink counted
// before. Those that are still on their way get a moment.
func (s *sink) arrived(before uint64, expected int) (uint64, error) {
	for range 10 {
		now, err := s.count()
		if err != nil || now-before >= uint64(expected) {
			return now - before, err
		}
		time.Sleep(5 * time.Millisecond)
	}
	now, err := s.count()
	return now - before, err
}
