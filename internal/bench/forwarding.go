package bench

import (
	"fmt"
	"slices"
	"strconv"
)

// The arms beside ArmFloor.
const (
	armSluice   = "sluice"
	armRedirect = "redirect"
	armIptables = "iptables"
	armNftables = "nftables"
)

const forwardingName = "forwarding"

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
