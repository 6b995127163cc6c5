package datapath_test

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
)

// Types of messages, and options (RFC 4861 4).
const (
	routerSolicitation  = 133
	routerAdvertisement = 134
	solicitation        = 135
	advertisement       = 136
	redirectMessage     = 137
	sourceMAC           = 1
	targetMAC           = 2
	nonce               = 14 // RFC 7527
)

var allNodes = netip.MustParseAddr("ff02::1")

// linkLocal is the address that a device makes of its MAC address (RFC 4291
// appendix A).
func linkLocal(mac net.HardwareAddr) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
}

// solicited is the group of those that may have an address (RFC 4291 2.7.1).
func solicited(addr netip.Addr) netip.Addr {
	b := addr.As16()
	return netip.AddrFrom16([16]byte{0xff, 2, 11: 1, 12: 0xff, b[13], b[14], b[15]})
}

// option is one of neighbour discovery, with eight bytes.
func option(kind byte, mac net.HardwareAddr) []byte { return append([]byte{kind, 1}, mac...) }

// nd is a message of neighbour discovery.
func (s station) nd(to netip.Addr, kind byte, target netip.Addr, options ...[]byte) frame {
	rest := append([][]byte{make([]byte, 4), target.AsSlice()}, options...)
	return withTTL(s.message(to, kind, 0, slices.Concat(rest...)), 255)
}

// by is the station with another address.
func (s station) by(addr netip.Addr) station {
	s.addr = addr
	return s
}

// TestNeighbourDiscovery covers what containers may say: it is the bridge's to
// deliver.
func TestNeighbourDiscovery(t *testing.T) {
	t.Parallel()
	f := newFixture(t, ipv6, loader.Config{})
	f.alias(f.c)
	d := f.third()
	f.set(d, false, false)
	own, mac := f.b.addr, option(sourceMAC, f.b.mac)
	local, nowhere := f.b.by(linkLocal(f.b.mac)), f.b.by(netip.IPv6Unspecified())
	report := withExtensions(nowhere.message(addr("ff02::16"), 143, 0, make([]byte, 24)), hopByHop)
	for name, sent := range map[string]frame{
		"solicitation":                   f.b.nd(solicited(linkLocal(f.a.mac)), solicitation, linkLocal(f.a.mac), mac),
		"of nobody":                      local.nd(solicited(f.nobody), solicitation, f.nobody, mac),
		"of its own address":             f.b.nd(solicited(own), solicitation, own, mac),
		"of another network's":           f.b.nd(solicited(f.c.addr), solicitation, f.c.addr, mac),
		"of one that is not ready":       f.b.nd(solicited(d.addr), solicitation, d.addr, mac),
		"for the gateway":                f.b.nd(solicited(f.gatewayOne), solicitation, f.gatewayOne, mac),
		"without an option":              f.b.nd(f.gatewayOne, solicitation, f.gatewayOne),
		"is it in use?":                  nowhere.nd(solicited(own), solicitation, own),
		"is it in use? with a nonce":     nowhere.nd(solicited(own), solicitation, own, option(nonce, f.a.mac)),
		"is the link-local one in use?":  nowhere.nd(solicited(local.addr), solicitation, local.addr),
		"advertisement":                  f.b.nd(f.gatewayOne, advertisement, own, option(targetMAC, f.b.mac)),
		"unsolicited":                    f.b.nd(allNodes, advertisement, own, option(targetMAC, f.b.mac)),
		"of the link-local address":      local.nd(allNodes, advertisement, local.addr, option(targetMAC, f.b.mac)),
		"behind options":                 withExtensions(f.b.nd(solicited(f.a.addr), solicitation, f.a.addr, mac), destination),
		"router solicitation":            local.message(addr("ff02::2"), routerSolicitation, 0, slices.Concat(make([]byte, 4), mac)),
		"router solicitation, address":   nowhere.message(addr("ff02::2"), routerSolicitation, 0, make([]byte, 4)),
		"listener report":                report,
		"listener report, with address":  withExtensions(local.message(addr("ff02::16"), 143, 0, make([]byte, 24)), hopByHop),
		"listener done":                  withExtensions(local.message(addr("ff02::2"), 132, 0, make([]byte, 20)), hopByHop),
		"a VIP's, which has expired":     withTTL(f.b.nd(solicited(f.vip), solicitation, f.vip, mac), 64),
		"a VIP's, behind options":        withExtensions(f.b.nd(solicited(f.vip), solicitation, f.vip, mac), destination),
		"ping of all nodes":              f.b.echo(1, allNodes),
		"a later fragment of what it is": laterFragment(f.b.nd(allNodes, routerAdvertisement, own)),
	} {
		verdict, out := f.fromContainer(f.b, sent)
		f.expect(name, verdict, out, next, sent)
	}
	f.expectNoFlows()
}

// TestSpoofedDiscovery covers containers that speak for others.
func TestSpoofedDiscovery(t *testing.T) {
	t.Parallel()
	f := newFixture(t, ipv6, loader.Config{})
	f.alias(f.c)
	own, mine, foreign := f.b.addr, option(targetMAC, f.b.mac), option(targetMAC, f.a.mac)
	local, nowhere := f.b.by(linkLocal(f.b.mac)), f.b.by(netip.IPv6Unspecified())
	for name, sent := range map[string]frame{
		"advertises a neighbour":           f.b.nd(allNodes, advertisement, f.a.addr, mine),
		"the neighbour's link-local one":   f.b.nd(allNodes, advertisement, linkLocal(f.a.mac), mine),
		"advertises the gateway":           f.b.nd(f.a.addr, advertisement, f.gatewayOne, mine),
		"advertises a VIP":                 f.b.nd(f.a.addr, advertisement, f.vip, mine),
		"advertises another's MAC":         f.b.nd(allNodes, advertisement, own, foreign),
		"solicits with another's MAC":      f.b.nd(solicited(f.a.addr), solicitation, f.a.addr, option(sourceMAC, f.a.mac)),
		"a second option":                  f.b.nd(allNodes, advertisement, own, mine, foreign),
		"behind another option":            f.b.nd(allNodes, advertisement, own, option(nonce, f.b.mac), foreign),
		"looks for another's address":      nowhere.nd(solicited(f.a.addr), solicitation, f.a.addr),
		"looks for a VIP":                  nowhere.nd(solicited(f.vip), solicitation, f.vip),
		"plays the router":                 local.message(allNodes, routerAdvertisement, 0, make([]byte, 12)),
		"redirects":                        local.nd(f.a.addr, redirectMessage, f.a.addr, mine),
		"cut off":                          f.b.message(allNodes, advertisement, 0, make([]byte, 19)),
		"cut off in the option":            f.b.nd(allNodes, advertisement, own, mine[:7]),
		"behind options":                   withExtensions(f.b.nd(allNodes, advertisement, f.a.addr, mine), destination),
		"router, behind options":           withExtensions(local.message(allNodes, routerAdvertisement, 0, make([]byte, 12)), hopByHop, destination),
		"in an atomic fragment":            withExtensions(f.b.nd(allNodes, advertisement, f.a.addr, mine), atomic),
		"first fragment, its option later": firstFragment(f.b.nd(allNodes, advertisement, own)), // RFC 6980
	} {
		t.Log(name)
		f.dropsFrom(f.b, sent, reasons.SpoofedNd)
	}
	for name, src := range map[string]netip.Addr{
		"a neighbour": f.a.addr, "the gateway": f.gatewayOne, "a neighbour's link-local": linkLocal(f.a.mac), "a VIP": f.vip,
		"a link-local of its own choice": addr("fe80::1234"),
	} {
		t.Log(name)
		f.dropsFrom(f.b, f.b.by(src).nd(solicited(f.c.addr), solicitation, f.c.addr, option(sourceMAC, f.b.mac)), reasons.SpoofedAddress)
	}
	f.dropsFrom(f.b, nowhere.nd(f.a.addr, solicitation, own), reasons.SpoofedAddress) // :: speaks to groups alone
}

// TestSolicitations covers those that are answered for others: of a VIP, since no
// device has it, and of a neighbour, whom a bridge that calls ip6tables may not let
// hear of it. With the advertisement comes the MAC address, unless whoever asks has
// asked the address itself without saying where it is (RFC 4861 4.3 and 4.4).
func TestSolicitations(t *testing.T) {
	t.Parallel()
	f := newFixture(t, ipv6, loader.Config{})
	f.alias(f.a)
	vip := station{mac: mustMAC("02:42:00:00:ff:fe"), addr: f.vip} // made of the VIP's end
	for _, from := range []station{f.b.station, f.b.by(linkLocal(f.b.mac))} {
		for _, about := range []station{vip, f.a.station} {
			group, own, its := solicited(about.addr), option(sourceMAC, f.b.mac), option(targetMAC, about.mac)
			for what, test := range map[string]struct{ sent, answer frame }{
				"of the group":                         {from.nd(group, solicitation, about.addr, own), about.advertises(from, its)},
				"of itself":                            {from.nd(about.addr, solicitation, about.addr, own), about.advertises(from, its)},
				"of itself, without an option":         {from.nd(about.addr, solicitation, about.addr), about.advertises(from)},
				"of itself, with an unknown option":    {from.nd(about.addr, solicitation, about.addr, option(nonce, f.a.mac)), about.advertises(from, its)},
				"of the group, with an unknown option": {from.nd(group, solicitation, about.addr, option(nonce, f.a.mac)), about.advertises(from, its)},
			} {
				verdict, out := f.runAnswered(datapath.HookContainer, skb{Ifindex: uint32(f.b.ifindex)}, test.sent.bytes())
				f.expect(from.addr.String()+" for "+about.addr.String()+", "+what, verdict, out, redirect, test.answer)
			}
			f.dropsFrom(f.b, from.nd(group, solicitation, about.addr), reasons.Malformed) // the option must be there
		}
	}
	f.expectNoFlows()
}

// advertises is what a station says to one that has solicited it.
func (s station) advertises(to station, options ...[]byte) frame {
	s.hop = to.mac
	rest := append([][]byte{{0x60, 0, 0, 0}, s.addr.AsSlice()}, options...)
	return withTTL(s.message(to.addr, advertisement, 0, slices.Concat(rest...)), 255)
}

// TestIPv6Disabled covers an endpoint without an IPv6 address: it does not get
// one by itself.
func TestIPv6Disabled(t *testing.T) {
	t.Parallel()
	f := newFixture(t, ipv6, loader.Config{})
	without := f.b
	without.addr, without.other = f.b.other, netip.Addr{}
	f.set(without, true, false)
	local, nowhere := f.b.by(linkLocal(f.b.mac)), f.b.by(netip.IPv6Unspecified())
	for name, sent := range map[string]frame{
		"udp": f.b.udp(1, f.remote.at(53)), "link-local": local.udp(1, at(linkLocal(f.a.mac), 53)), "group": local.udp(1, at(allNodes, 53)),
		"solicitation": nowhere.nd(solicited(local.addr), solicitation, local.addr), "to the gateway": f.b.echo(1, f.gatewayOne),
		"router solicitation": local.message(addr("ff02::2"), routerSolicitation, 0, make([]byte, 4)),
		"source of zeros":     nowhere.udp(1, at(allNodes, 53)), "hidden": withExtensions(f.b.udp(1, f.remote.at(53)), routingHeader(0, 1)),
	} {
		t.Log(name)
		f.dropsFrom(f.b, sent, reasons.Ipv6Disabled)
	}
	f.dropsFrom(f.a, f.a.udp(1, f.b.at(53)), reasons.NoEndpoint)
	f.dropsFromOutside(f.client.udp(1, f.b.at(53)), reasons.Unpublished)
	sent := f.a.by(f.a.other).udp(1, at(f.b.other, 53))
	verdict, out := f.fromContainer(f.a, sent)
	f.expect("by IPv4", verdict, out, redirect, sent.delivered(f.b))
}

// TestLinkLocal covers addresses of one link (RFC 4291 2.5.6): they are the
// bridge's, and nothing from one is translated or carried elsewhere.
func TestLinkLocal(t *testing.T) {
	t.Parallel()
	f := newFixture(t, ipv6, loader.Config{})
	f.alias(f.a)
	for _, sender := range []endpoint{f.a, f.b} { // translated, and not
		local := sender.by(linkLocal(sender.mac))
		for name, sent := range map[string]frame{
			"to a neighbour's":                   local.tcp(1, at(linkLocal(f.c.mac), 80), syn),
			"to the bridge's":                    sender.udp(1, at(addr("fe80::1"), 53)),
			"to the gateway":                     local.udp(1, at(f.gatewayOne, 53)),
			"to a published port of the gateway": local.tcp(1, at(f.gatewayOne, published), syn),
			"to a group":                         local.udp(1, at(allNodes, 5353)),
		} {
			verdict, out := f.fromContainer(sender, sent)
			f.expect(name, verdict, out, next, sent)
		}
		third := f.b
		if sender.index == f.b.index {
			third = f.a
		}
		sent := local.udp(1, third.at(53))
		verdict, out := f.fromContainer(sender, sent)
		f.expect("to a neighbour", verdict, out, redirect, sent.delivered(third))
		for _, dst := range []netip.Addr{f.remote.addr, f.host, f.c.addr, f.gatewayTwo, f.vip} {
			t.Log(dst)
			f.dropsFrom(sender, local.tcp(1, at(dst, published), syn), reasons.Martian)
		}
	}
	f.expectNoFlows()
}

// TestLinkLocalFromOutside covers neighbours of the uplink: they speak with the
// host, and with nobody in a container network.
func TestLinkLocalFromOutside(t *testing.T) {
	t.Parallel()
	f := newFixture(t, ipv6, loader.Config{})
	near := f.client.by(addr("fe80::99"))
	for name, sent := range map[string]frame{
		"to the host":         near.udp(1, at(f.host, 53)),
		"to a published port": near.tcp(1, at(f.host, published), syn),
		"to the uplink's own": f.client.tcp(1, at(linkLocal(hostMAC), published), syn),
		"solicitation":        near.nd(solicited(f.host), solicitation, f.host, option(sourceMAC, routerMAC)),
		"router":              near.message(allNodes, routerAdvertisement, 0, make([]byte, 12)),
	} {
		verdict, out := f.fromOutside(sent)
		f.expect(name, verdict, out, next, sent)
	}
	for _, dst := range []netip.Addr{f.a.addr, f.c.addr, f.gatewayOne, f.vip, f.nobody} {
		t.Log(dst)
		f.dropsFromOutside(near.udp(1, at(dst, 53)), reasons.Unpublished)
	}
	f.expectNoFlows()
}

// TestUnspecifiedSource covers hosts that have no address yet.
func TestUnspecifiedSource(t *testing.T) {
	t.Parallel()
	f := newFixture(t, ipv6, loader.Config{})
	nowhere := f.a.by(netip.IPv6Unspecified())
	for _, dst := range f.everywhere() {
		sent := nowhere.udp(546, at(dst, 547))
		if slices.Contains(f.groups, dst) {
			verdict, out := f.fromContainer(f.a, sent)
			f.expect(dst.String(), verdict, out, next, sent)
		} else {
			f.dropsFrom(f.a, sent, reasons.SpoofedAddress)
		}
	}
	f.dropsFrom(f.a, withProtocol(f.a.by(addr("ff02::1")).udp(1, f.b.at(1)), layers.IPProtocolUDP), reasons.SpoofedAddress)
}
