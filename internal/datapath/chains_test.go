package datapath_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
)

var (
	hopByHop    = padOptions(layers.IPProtocolIPv6HopByHop, 8)
	destination = padOptions(layers.IPProtocolIPv6Destination, 8)
	atomic      = fragmentHeader(7, 0, false) // RFC 6946
)

// chains are extension headers behind which there is a transport header (RFC
// 8200 4). A routing header without segments left is like any other, of whatever
// type (RFC 8200 4.4, RFC 5095).
var chains = map[string][]extension{
	"hop-by-hop":          {hopByHop},
	"destination options": {destination},
	"routing, type 0":     {routingHeader(0, 0)},
	"routing, type 2":     {routingHeader(2, 0)},
	"routing, unknown":    {routingHeader(200, 0)},
	"atomic fragment":     {atomic},
	"in their order":      {hopByHop, destination, routingHeader(4, 0), atomic, destination},
	"the most":            slices.Repeat([]extension{destination}, 7),
	"the longest":         {padOptions(layers.IPProtocolIPv6Destination, 200)},
	"an unknown option":   {{layers.IPProtocolIPv6Destination, []byte{0xc2, 4, 0, 0, 0, 0}}},
}

// TestExtensionChains covers packets whose transport header lies behind others,
// in both directions of two kinds of flows, and between neighbours.
func TestExtensionChains(t *testing.T) {
	t.Parallel()
	for name, chain := range chains {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, ipv6, loader.Config{})
			f.masquerades(withExtensions(f.a.tcp(40000, f.remote.at(443), syn), chain...))
			f.evictAll()
			f.publishes(withExtensions(f.client.udp(40000, at(f.host, published)), chain...), publishUDP)
			sent := withExtensions(f.b.udp(1, f.a.at(53)), chain...)
			verdict, out := f.fromContainer(f.b, sent)
			f.expect("to a neighbour", verdict, out, redirect, sent.delivered(f.a))
			expectEqual(t, "noted fragments", len(batch[datapath.FragmentKey6, datapath.Fragment](f, "fragments6")), 0)
		})
	}
}

// TestFragmentsOfChains covers fragments whose first one has more headers: those
// before the fragment header are in each, those behind it in the first.
func TestFragmentsOfChains(t *testing.T) {
	t.Parallel()
	f := newFixture(t, ipv6, loader.Config{})
	first, _, last := withExtensions(f.a.udp(40000, f.remote.at(53)), hopByHop, routingHeader(2, 0)).fragments()
	verdict, out := f.fromContainer(f.a, first)
	want := first.hop().from(at(f.host, sourcePort(out)))
	f.expect("first", verdict, out, redirect, want)
	verdict, out = f.fromContainer(f.a, last)
	f.expect("last", verdict, out, redirect, last.addressed(want))

	// Destination options behind the fragment header are a part of what is cut.
	behind := slices.Concat([]byte{byte(layers.IPProtocolUDP), 0, 1, 4, 0, 0, 0, 0}, want.udpHeader())
	first = first.with(func(f *frame) { f.protocol, f.raw, f.id = layers.IPProtocolIPv6Destination, behind, 2 })
	last = last.with(func(f *frame) { f.protocol, f.id = layers.IPProtocolIPv6Destination, 2 })
	for i, part := range []frame{first, last} {
		if verdict, _ := f.fromContainer(f.a, part); verdict != redirect {
			t.Errorf("part %d, with options behind: verdict %d, drops %v", i, int32(verdict), f.drops())
		}
	}
}

// udpHeader is the UDP header of a frame, without a checksum.
func (f frame) udpHeader() []byte {
	raw := binary.BigEndian.AppendUint16(nil, f.sport)
	return append(binary.BigEndian.AppendUint16(raw, f.dport), 0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)
}

// hiding are changes of a packet with destination options after which nobody can
// see what it carries.
var hiding = map[string]func(f frame) []byte{
	"one too many": func(f frame) []byte {
		return withExtensions(f, slices.Repeat([]extension{destination}, 8)...).bytes()
	},
	"too long": func(f frame) []byte {
		return withExtensions(f, padOptions(layers.IPProtocolIPv6Destination, 208)).bytes()
	},
	"longer than the packet": func(f frame) []byte {
		raw := withExtensions(f, destination).bytes()
		raw[55] = 200
		return raw
	},
	"cut off in a header": func(f frame) []byte { return shorten(withExtensions(f, destination).bytes(), 7) },
	"behind the end":      func(f frame) []byte { raw := withExtensions(f, destination).bytes(); raw[19] = 0; return raw },
	"two fragment headers": func(f frame) []byte {
		return withExtensions(f, fragmentHeader(1, 0, true), fragmentHeader(2, 0, true)).bytes()
	},
	"a first fragment without the rest of its headers": func(f frame) []byte {
		return shorten(withExtensions(f, fragmentHeader(1, 0, true), padOptions(layers.IPProtocolIPv6Destination, 64)).bytes(), 8+32)
	},
	"a jumbogram": func(f frame) []byte { // RFC 2675
		raw := withExtensions(f, extension{layers.IPProtocolIPv6HopByHop, []byte{0xc2, 4, 0, 1, 0, 0}}).bytes()
		raw[18], raw[19] = 0, 0
		return raw
	},
}

// everywhere are destinations of each kind.
func (f *fixture) everywhere() []netip.Addr {
	return append([]netip.Addr{
		f.remote.addr, f.b.addr, f.c.addr, f.vip, f.host, f.gatewayOne, f.nobody, addr("fe80::1"), linkLocal(f.b.mac),
	}, f.groups...)
}

// TestHiddenTransport covers packets that could carry anything, router
// advertisements too (RFC 7113): no container sends one to anybody.
func TestHiddenTransport(t *testing.T) {
	t.Parallel()
	f := newFixture(t, ipv6, loader.Config{})
	f.alias(f.b)
	for name, hide := range hiding {
		for _, dst := range f.everywhere() {
			t.Log(name, dst)
			raw := hide(f.a.udp(1, at(dst, 53)))
			f.expectDrop(datapath.HookContainer, skb{Ifindex: uint32(f.a.ifindex)}, raw, reasons.ExtensionHeaders)
		}
		for dst, reason := range map[netip.Addr]reasons.Reason{f.host: 0, f.a.addr: reasons.Unpublished, f.gatewayOne: reasons.Unpublished} {
			t.Log(name, "from outside,", dst)
			raw := hide(f.client.udp(1, at(dst, published)))
			if reason != 0 {
				f.expectDrop(datapath.HookUplink, skb{Ifindex: uint32(f.uplink)}, raw, reason)
			} else if verdict, out := f.run(datapath.HookUplink, skb{Ifindex: uint32(f.uplink)}, raw); verdict != next || !bytes.Equal(out, raw) {
				t.Errorf("verdict %d", int32(verdict))
			}
		}
	}
	f.expectNoFlows()
}

// TestRoutingHeaders covers those that lead on (RFC 5095, RFC 8754): the packet
// is for somebody else than its header says.
func TestRoutingHeaders(t *testing.T) {
	t.Parallel()
	f := newFixture(t, ipv6, loader.Config{})
	f.alias(f.b)
	for _, kind := range []uint8{0, 2, 3, 4, 253} {
		for _, chain := range [][]extension{{routingHeader(kind, 1)}, {hopByHop, destination, routingHeader(kind, 255), destination}} {
			for _, dst := range f.everywhere() {
				t.Log(kind, dst)
				f.dropsFrom(f.a, withExtensions(f.a.tcp(1, at(dst, published), syn), chain...), reasons.SourceRoute)
			}
			sent := withExtensions(f.client.tcp(1, at(f.host, published), syn), chain...)
			verdict, out := f.fromOutside(sent)
			f.expect("to the host", verdict, out, next, sent)
			f.dropsFromOutside(withExtensions(f.client.tcp(1, f.a.at(80), syn), chain...), reasons.Unpublished)
		}
	}
	f.expectNoFlows()
}

// TestOtherHeaders covers what looks like a transport protocol: it is none that
// can be translated, and neighbours may use it.
func TestOtherHeaders(t *testing.T) {
	t.Parallel()
	f := newFixture(t, ipv6, loader.Config{})
	for _, protocol := range []layers.IPProtocol{
		layers.IPProtocolESP, layers.IPProtocolAH, layers.IPProtocolNoNextHeader, layers.IPProtocolIPv4, 135, 139, 140, 253,
	} {
		sent := withProtocol(f.a.udp(1, f.remote.at(1)), protocol)
		f.dropsFrom(f.a, sent, reasons.Protocol)
		sent = sent.to(f.b.at(1))
		verdict, out := f.fromContainer(f.a, sent)
		f.expect(protocol.String(), verdict, out, redirect, sent.delivered(f.b))
	}
	f.expectNoFlows()
}
