package datapath_test

import (
	"net/netip"
	"testing"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

// TestMasquerade sends a packet out, its answer in, and another one out.
func TestMasquerade(t *testing.T) {
	bothFamilies(t, func(t *testing.T, c *cast) {
		for name, build := range map[string]func(endpoint) frame{
			"tcp":              func(a endpoint) frame { return a.tcp(40000, c.remote.at(443), syn) },
			"udp":              func(a endpoint) frame { return a.udp(40000, c.remote.at(53)) },
			"echo":             func(a endpoint) frame { return a.echo(0xffff, c.remote.addr) },
			"echo, id 0":       func(a endpoint) frame { return a.echo(0, c.remote.addr) },
			"to a neighbour":   func(a endpoint) frame { return a.udp(40000, c.client.at(53)) },
			"udp, no checksum": func(a endpoint) frame { return withoutChecksum(a.udp(40000, c.remote.at(53))) },
			"more headers":     func(a endpoint) frame { return withMoreHeaders(a.tcp(40000, c.remote.at(443), syn)) },
			"most headers":     func(a endpoint) frame { return withMostHeaders(a.udp(40000, c.remote.at(53))) },
			"most, echo":       func(a endpoint) frame { return withMostHeaders(a.echo(7, c.remote.addr)) },
			"padded": func(a endpoint) frame {
				return a.udp(40000, c.remote.at(53)).with(func(f *frame) { f.padding = make([]byte, 18) })
			},
			"no payload":  func(a endpoint) frame { return withPayload(a.tcp(40000, c.remote.at(443), syn), nil) },
			"odd payload": func(a endpoint) frame { return withPayload(a.udp(40000, c.remote.at(53)), []byte{1, 2, 3}) },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, c, loader.Config{})
				f.masquerades(build(f.a))
			})
		}
	})
}

// masquerades asserts what becomes of a's packet, its answer and another packet.
func (f *fixture) masquerades(sent frame) {
	f.t.Helper()
	length := uint64(len(sent.bytes()) - ethernet - len(sent.padding))

	verdict, out := f.fromContainer(f.a, sent)
	port := sourcePort(out)
	left := sent.hop().masqueraded(f.host, port)
	f.expect("out", verdict, out, redirect, left)
	if port >= 32768 && port <= 60999 || port < 1024 {
		f.t.Errorf("source port %d is in ip_local_port_range or privileged", port)
	}
	f.expectFlows(masqueraded(f, sent, left, 0))
	f.expectCounters(masqueradeOne, maps.RuleCounters{Flows: 1, FlowBytes: length, Packets: 1, Bytes: length})

	answer := left.answer(f.remote, syn|ack)
	verdict, out = f.fromOutside(answer)
	back := answer.hop().to(f.a.at(sent.sport)).delivered(f.a)
	if sent.isICMP() {
		back = back.echoID(sent.sport)
	}
	f.expect("answer", verdict, out, redirect, back)
	f.expectFlows(masqueraded(f, sent, left, flowReplied))

	sent.flags, left.flags = ack, ack
	verdict, out = f.fromContainer(f.a, sent)
	f.expect("out again", verdict, out, redirect, left)
	f.expectFlows(masqueraded(f, sent, left, flowReplied|flowConfirmed))
	f.expectCounters(masqueradeOne, maps.RuleCounters{Flows: 1, FlowBytes: length, Packets: 3, Bytes: 3 * length})
}

// masqueraded gives a frame another source; an echo's port is its identifier.
func (f frame) masqueraded(addr netip.Addr, port uint16) frame {
	f = f.from(at(addr, port))
	if f.isICMP() {
		f = f.echoID(port)
	}
	return f
}

// masqueraded is the conntrack table after a's packet `sent` became `left`.
func masqueraded(f *fixture, sent, left frame, state uint8) conntrack {
	answer, back := left.answer(f.remote, 0), sent.answer(f.remote, 0)
	return conntrack{
		keyOf(sent, networkOne): halfOf(left, datapath.FlowHead{
			State: state, Direction: directionForward, Target: targetOutside, BackTarget: targetEndpoint, Hops: 1,
			BackZone: datapath.ZoneOutside, Endpoint: uint16(f.a.index), Rule: masqueradeOne,
		}),
		keyOf(answer, datapath.ZoneOutside): halfOf(back, datapath.FlowHead{
			State: state, Direction: directionReply, Target: targetEndpoint, BackTarget: targetOutside, Hops: 1,
			BackZone: networkOne, Endpoint: uint16(f.a.index), Rule: masqueradeOne,
		}),
	}
}

// TestMasqueradeSource covers where the source address comes from, on kernels
// with and without what route lookups can be asked.
func TestMasqueradeSource(t *testing.T) {
	kernel, err := loader.KernelFeatures()
	must(t, err)
	t.Logf("this kernel: %+v", kernel)
	for name, without := range map[string]loader.Features{
		"all": {}, "neighbours are looked up": {FIBSkipNeigh: true}, "the route's source is unknown": {FIBSource: true},
	} {
		t.Run(name, func(t *testing.T) {
			withFixtures(t, loader.Config{Without: without}, func(t *testing.T, f *fixture) {
				preferred := f.preferred
				f.address("uplink0", netip.PrefixFrom(preferred, preferred.BitLen()))
				f.hostAddrs(preferred)
				f.route(f.elsewhere.String(), preferred)
				if !kernel.FIBSource || without.FIBSource {
					preferred = f.host
				}
				for to, want := range map[netip.Addr]netip.Addr{f.elsewhere.Addr().Next(): preferred, f.remote.addr: f.host} {
					sent := f.a.tcp(40000, at(to, 443), syn)
					verdict, out := f.fromContainer(f.a, sent)
					f.expect(to.String(), verdict, out, redirect, sent.hop().from(at(want, sourcePort(out))))
				}
			})
		})
	}
}

// TestChecksumThatBecomesZero covers the one sum whose field must not say
// "none": payloads of two bytes reach every sum, that which gives zero too.
func TestChecksumThatBecomesZero(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		sent := withPayload(f.a.udp(40000, f.remote.at(53)), []byte{0, 0})
		_, out := f.fromContainer(f.a, sent)
		at := transportAt(out) + 6
		sent.payload = out[at : at+2] // the sum grows by what it lacks
		_, out = f.fromContainer(f.a, sent)
		if got := [2]byte(out[at : at+2]); got != [2]byte{0xff, 0xff} {
			t.Errorf("checksum %x, want ffff", got)
		}
	})
}

// TestMasqueradeSourceIsLost covers an address that the host loses: its flows end
// with their next packet, and those after it have another one. One that the host
// still has stays good, whatever the uplink prefers now.
func TestMasqueradeSourceIsLost(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		sent := f.a.udp(40000, f.remote.at(53))
		_, out := f.fromContainer(f.a, sent)
		left := sent.hop().from(at(f.host, sourcePort(out)))
		f.fromOutside(f.client.udp(40000, at(f.host, published)))
		answer := f.a.udp(target, f.client.at(40000))

		f.address("uplink0", netip.PrefixFrom(f.secondHost, f.onLink-1)) // on a link of its own
		f.hostAddrs(f.secondHost)
		must(t, f.maps.SetUplinks(map[uint32]maps.Uplink{uint32(f.uplink): {IPv4: ipv4.secondHost, IPv6: ipv6.secondHost}}))
		verdict, out := f.fromContainer(f.a, sent)
		f.expect("another one of the host's", verdict, out, redirect, left)

		f.dropAddress("uplink0", netip.PrefixFrom(f.host, f.onLink))
		f.dropsFrom(f.a, sent, reasons.NoSource)
		f.dropsFrom(f.a, answer, reasons.NoSource)
		f.expectNoFlows()
		verdict, out = f.fromContainer(f.a, sent)
		f.expect("what comes next", verdict, out, redirect, sent.hop().from(at(f.secondHost, sourcePort(out))))
	})
}

// TestMasqueradeSourceComesBack covers a link that goes down and up: IPv6's addresses
// go with it, and are tried for a second when they come back (RFC 4862 5.4). Flows
// wait for that as long as the host has no other address.
func TestMasqueradeSourceComesBack(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		sent := f.a.tcp(40000, f.remote.at(443), syn)
		_, out := f.fromContainer(f.a, sent)
		left := withFlags(sent.hop().from(at(f.host, sourcePort(out))), ack)
		sent = withFlags(sent, ack)

		f.address("uplink0", netip.PrefixFrom(f.secondHost, f.onLink-1)) // or nothing leads outside
		f.dropAddress("uplink0", netip.PrefixFrom(f.host, f.onLink))
		must(t, f.maps.SetUplinks(map[uint32]maps.Uplink{uint32(f.uplink): {}}))
		f.dropsFrom(f.a, sent, reasons.NoSource)
		f.dropsFrom(f.a, sent, reasons.NoSource)

		f.address("uplink0", netip.PrefixFrom(f.host, f.onLink))
		verdict, out := f.fromContainer(f.a, sent)
		f.expect("it is back", verdict, out, redirect, left)
	})
}
