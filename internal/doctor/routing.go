package doctor

import (
	"strings"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/hostnet"
	"github.com/sluice-net/sluice/internal/netdev"
)

// Rules says which policy rules cannot match: route lookups for containers say
// that their packets come in by netdev.LendingDevice, which forwards.
func Rules(rules []hostnet.Rule, ours func(device string) bool) []api.Finding {
	f := of("ip-rules")
	const advice = "let it ask for `from SUBNET`, or for `iif " + netdev.LendingDevice + "`, which stands for every network"
	for _, r := range rules {
		switch {
		case r.IIF == netdev.LendingDevice || !ours(r.IIF):
		case r.Not:
			f.problem(advice, "%s matches all that containers send, also by %s", r, r.IIF)
		default:
			f.problem(advice, "%s never matches what containers send", r)
		}
	}
	return f.orOK("no rule asks for a device of sluice's in a way that cannot match")
}

// Uplink is a device that leads outside, and what leads through it.
type Uplink struct {
	hostnet.Uplink
	// Routes and Default are of IPv4, Routes6 and Default6 of IPv6.
	Routes, Routes6   int
	Default, Default6 bool
	XDP               string // a program that sees packets before us; "" without
}

// Uplinks says where containers' packets cannot leave.
func Uplinks(uplinks []Uplink, ipv6 bool) []api.Finding {
	f := of("uplinks")
	var names []string
	haveDefault, haveDefault6 := false, false
	for _, u := range uplinks {
		names = append(names, u.Name)
		haveDefault, haveDefault6 = haveDefault || u.Default, haveDefault6 || u.Default6
		f.addressOf(u.Name, "IPv4", u.Source4.IsValid(), u.Routes)
		if ipv6 {
			f.addressOf(u.Name, "IPv6", u.Source6.IsValid(), u.Routes6)
		}
		if u.XDP != "" {
			f.note("", "%s has the XDP program %s, which sees packets before us", u.Name, u.XDP)
		}
	}
	switch {
	case len(uplinks) == 0:
		f.problem("connect an Ethernet device, or see that --uplink names one", "there are none: containers reach nobody outside, and nobody reaches them")
	case !haveDefault:
		f.note("add one, unless that is meant", "there is no default route of IPv4: containers reach only what the host has other routes to")
	case ipv6 && !haveDefault6:
		f.note("add one, unless that is meant", "there is no default route of IPv6: containers reach only what the host has other routes to")
	}
	return f.orOK("%s", strings.Join(names, ", "))
}

func (f *findings) addressOf(name, family string, has bool, routes int) {
	switch {
	case has:
	case routes > 0:
		f.problem("give it one, or a source to the routes (`ip route … src`)",
			"%s has no global %s address, and routes lead through it (%d): what containers send there is dropped for `no-source`", name, family, routes)
	case family == "IPv4":
		f.note("", "%s has no IPv4 address, and no route leads through it", name)
	}
}

// Devices says what somebody changed of ours.
func Devices(differences []string, devices int) []api.Finding {
	f := of("devices")
	for _, d := range differences {
		f.problem(repaired, "%s", d)
	}
	return f.orOK("all %d of ours are as they should be, sysctls included", devices)
}

// Neighbours says which entries are missing.
func Neighbours(missing []string) []api.Finding {
	f := of("neighbours")
	for _, m := range missing {
		f.problem(repaired, "%s: the host does not reach it", m)
	}
	return f.orOK("the host knows the MAC address of every endpoint and alias")
}
