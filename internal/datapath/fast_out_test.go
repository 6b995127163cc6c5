package datapath_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

// outward is a packet that an endpoint sends, of a flow that has proved itself.
type outward struct {
	name string
	from endpoint
	rule uint32
	sent frame
}

func (f *fixture) leaving(e endpoint) sight {
	return sight{hook: datapath.HookContainer, ifindex: e.ifindex}
}

// outwards opens flows of every kind that leads out of a container, of TCP or UDP,
// and returns a packet of each.
func (f *fixture) outwards(d endpoint, protocol string, publishRule uint32) []outward {
	f.t.Helper()
	request := func(s station, to netip.AddrPort) frame {
		if protocol == "tcp" {
			return s.tcp(40000, to, syn)
		}
		return s.udp(40000, to)
	}
	toPort, toAlias := request(f.client, at(f.host, published)), request(d.station, at(f.vip, 80))
	hairpin, outside := request(f.c.station, at(f.host, published)), request(f.a.station, f.remote.at(443))
	_, arrived := f.fromOutside(toPort)
	_, member := f.fromContainer(d, toAlias)
	_, back := f.fromContainer(f.c, hairpin)
	f.fromContainer(f.a, outside)
	all := []outward{
		{"answer of a published port", f.a, publishRule, f.answerTo(arrived, f.a)},
		{"masqueraded", f.a, masqueradeOne, outside},
		{"to an alias", d, aliasRule, toAlias},
		{"answer of a member", f.b, aliasRule, f.answerTo(member, f.b)},
		{"to another network's published port", f.c, publishRule, hairpin},
		{"answer of that", f.a, publishRule, f.answerTo(back, f.a)},
	}
	for i := range all {
		all[i].name = protocol + ", " + all[i].name
		all[i].sent.flags = ack
	}
	return all
}

// answerTo is what an endpoint answers a frame that it got.
func (f *fixture) answerTo(got []byte, e endpoint) frame {
	f.t.Helper()
	received, ok := decode(got)
	if !ok {
		f.t.Fatalf("nothing arrived: %x", got)
	}
	return received.answer(e.station, ack)
}

// withOutwards runs a test with settled flows of both protocols, in both families.
func withOutwards(t *testing.T, test func(t *testing.T, f *fixture, all []outward, halves conntrack)) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		d := f.third()
		f.alias(f.b)
		all := append(f.outwards(d, "tcp", publishTCP), f.outwards(d, "udp", publishUDP)...)
		test(t, f, all, f.settle())
	})
}

// TestFastPathOutIsTheSlowPath sends packets of containers by both ways, with one
// change each.
func TestFastPathOutIsTheSlowPath(t *testing.T) {
	withOutwards(t, func(t *testing.T, f *fixture, all []outward, halves conntrack) {
		for _, o := range all {
			variants := map[string]frame{
				"as it is":          o.sent,
				"no payload":        withPayload(o.sent, nil),
				"odd payload":       withPayload(o.sent, []byte{1, 2, 3}),
				"padded":            o.sent.with(func(f *frame) { f.padding = make([]byte, 18) }),
				"last hop but one":  withTTL(o.sent, 2),
				"last hop":          withTTL(o.sent, 1),
				"no hop":            withTTL(o.sent, 0),
				"FIN":               withFlags(o.sent, fin|ack),
				"RST":               withFlags(o.sent, rst),
				"SYN":               withFlags(o.sent, syn),
				"more headers":      withMoreHeaders(o.sent),
				"ports elsewhere":   withPortsFirst(o.sent),
				"first fragment":    firstFragment(o.sent),
				"as large as fits":  withPayload(o.sent, bytes.Repeat([]byte{7}, 1500-f.headerLength()-20)),
				"too large":         withPayload(o.sent, bytes.Repeat([]byte{7}, 1501-f.headerLength()-8)),
				"another's MAC":     o.sent.with(func(f *frame) { f.srcMAC = routerMAC }),
				"another's address": o.sent.with(func(f *frame) { f.src = castOf(f.src).nobody }),
				"from no address":   o.sent.with(func(f *frame) { f.src = castOf(f.src).unspecified }),
				"to all":            o.sent.with(func(f *frame) { f.dst = castOf(f.src).groups[1] }),
				"to a martian":      o.sent.with(func(f *frame) { f.dst = castOf(f.src).martians[0] }),
				"without checksum":  o.sent.with(func(f *frame) { f.noChecksum = true }),
			}
			if o.sent.protocol == layers.IPProtocolTCP { // UDP would open another flow
				variants["another port"] = o.sent.with(func(f *frame) { f.sport++ })
				variants["to another port"] = o.sent.with(func(f *frame) { f.dport++ })
			}
			for name, sent := range variants {
				f.expectOneWay(o.name+", "+name, f.leaving(o.from), halves, o.rule, sent)
			}
		}
	})
}

// TestFastPathOutFollowsChanges covers what the host, or the control plane, does to
// flows that are at work: the next packet must know, whatever its way.
func TestFastPathOutFollowsChanges(t *testing.T) {
	withOutwards(t, func(t *testing.T, f *fixture, all []outward, halves conntrack) {
		blackhole := &netlink.Route{Dst: ipNet(t, netip.PrefixFrom(f.remote.addr, f.remote.addr.BitLen())), Type: unix.RTN_BLACKHOLE}
		narrow := &netlink.Route{LinkIndex: f.uplink, Dst: ipNet(t, netip.PrefixFrom(f.client.addr, f.client.addr.BitLen())), MTU: 1280, MTULock: true}
		own := netip.PrefixFrom(f.host, f.onLink)
		for _, change := range []struct {
			name string
			do   func()
		}{
			{"nothing", func() {}},
			{"no route", func() { must(t, netlink.RouteAdd(blackhole)) }},
			{"a route again", func() { must(t, netlink.RouteDel(blackhole)) }},
			{"a narrow route", func() { must(t, netlink.RouteAdd(narrow)) }},
			{"a wide route", func() { must(t, netlink.RouteDel(narrow)) }},
			{"no uplink", func() { must(t, f.maps.SetUplinks(nil)) }},
			{"an uplink with another address", func() { f.setUplink(f.secondHost) }},
			{"an uplink again", func() { f.setUplink(f.host) }},
			{"receivers not ready", func() { f.set(f.a, false, true); f.set(f.b, false, true) }},
			{"receivers ready", func() { f.set(f.a, true, true); f.set(f.b, true, true) }},
			{"another MAC address", func() { f.c.mac = mustMAC("02:42:ac:12:00:99"); f.set(f.c, true, false) }},
			{"reset before", func() { setState(halves, flowReset) }},
			{"closing", func() { setState(halves, flowFINForward|flowFINReply) }},
			{"not taken up", func() { setHeads(halves, flowReplied) }},
			{"not answered", func() { setHeads(halves, 0) }},
			{"confirmed", func() { setState(halves, 0) }},
			{"the host without the address", func() { f.dropAddress("uplink0", own) }},
			{"its uplink without it too", func() { f.setUplink(f.secondHost) }},
			{"the alias gone", func() { must(t, f.maps.ClearRule(aliasRule)) }},
			{"a peer gone", func() { must(t, f.maps.ClearEndpoint(f.c.index)) }},
			{"the sender gone", func() { must(t, f.maps.ClearEndpoint(f.a.index)) }},
		} {
			change.do()
			for _, o := range all {
				for _, size := range []int{0, 1400} {
					sent := withPayload(o.sent, make([]byte, size))
					f.expectOneWay(fmt.Sprintf("%s: %s, %d bytes", change.name, o.name, size), f.leaving(o.from), halves, o.rule, sent)
				}
			}
		}
	})
}

// setUplink gives the uplink another address for masquerade; the host's stays.
func (f *fixture) setUplink(addr netip.Addr) {
	f.t.Helper()
	sources := maps.Uplink{IPv4: ipv4.host, IPv6: ipv6.host, Ethernet: true}
	if addr.Is4() {
		sources.IPv4 = addr
	} else {
		sources.IPv6 = addr
	}
	must(f.t, f.maps.SetUplinks(map[uint32]maps.Uplink{uint32(f.uplink): sources}))
}

// setHeads gives every half a state, whatever it was.
func setHeads(halves conntrack, state uint8) {
	for key, half := range halves {
		half.Head.State = state | flowTenured
		halves[key] = half
	}
}

// TestFastPathOutOfSegments covers packets that the device will cut.
func TestFastPathOutOfSegments(t *testing.T) {
	withOutwards(t, func(t *testing.T, f *fixture, all []outward, halves conntrack) {
		for _, o := range all {
			raw := withPayload(o.sent, make([]byte, 3000)).bytes()
			for _, size := range []int{1000, 1432, 1433, 1440, 1441, 1452, 1453, 1460, 1461, 1472, 1473} {
				cut := f.leaving(o.from)
				cut.gso = size
				f.expectBothWays(fmt.Sprintf("%s, segments of %d", o.name, size), cut, 0, halves, o.rule, raw)
			}
		}
	})
}

// TestFastPathOutByteByByte is what the fast path makes of packets.
func TestFastPathOutByteByByte(t *testing.T) {
	withOutwards(t, func(t *testing.T, f *fixture, all []outward, halves conntrack) {
		outside := func(sent frame) frame { return sent.hop() }
		wants := map[string]func(frame) frame{
			"answer of a published port":          func(s frame) frame { return outside(s).from(at(f.host, published)) },
			"masqueraded":                         func(s frame) frame { return outside(s).from(at(f.host, f.translated(halves, s))) },
			"to an alias":                         func(s frame) frame { return s.to(f.b.at(80)).delivered(f.b) },
			"answer of a member":                  func(s frame) frame { return s.from(at(f.vip, 80)).delivered(all[2].from) },
			"to another network's published port": func(s frame) frame { return s.hop().to(f.a.at(target)).delivered(f.a) },
			"answer of that":                      func(s frame) frame { return s.hop().from(at(f.host, published)).delivered(f.c) },
		}
		for _, o := range all {
			f.seen(halves, 0)
			got := f.execute(0, datapath.HookContainer, skb{Ifindex: uint32(o.from.ifindex)}, o.sent.bytes())
			f.expect(o.name, got.code, got.raw, redirect, wants[o.name[len("tcp, "):]](o.sent))
		}
	})
}

// translated is the source port that a packet's flow has.
func (f *fixture) translated(halves conntrack, sent frame) uint16 {
	f.t.Helper()
	return halves[keyOf(sent, networkOne)].To.Sport
}
