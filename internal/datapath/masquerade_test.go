package datapath_test

import (
	"net/netip"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

// TestMasquerade sends a packet out, its answer in, and another one out.
func TestMasquerade(t *testing.T) {
	t.Parallel()
	for name, build := range map[string]func(endpoint) frame{
		"tcp":              func(a endpoint) frame { return a.tcp(40000, remoteAddrPort(443), syn) },
		"udp":              func(a endpoint) frame { return a.udp(40000, remoteAddrPort(53)) },
		"echo":             func(a endpoint) frame { return a.echo(0xffff, remoteAddr) },
		"echo, id 0":       func(a endpoint) frame { return a.echo(0, remoteAddr) },
		"to a neighbour":   func(a endpoint) frame { return a.udp(40000, clientAddrPort(53)) },
		"udp, no checksum": func(a endpoint) frame { f := a.udp(40000, remoteAddrPort(53)); f.noChecksum = true; return f },
		"options": func(a endpoint) frame {
			f := a.tcp(40000, remoteAddrPort(443), syn)
			f.options = []byte{148, 4, 0, 0} // router alert
			return f
		},
		"most options": func(a endpoint) frame {
			f := a.udp(40000, remoteAddrPort(53))
			f.options = append([]byte{130, 40}, make([]byte, 38)...)
			return f
		},
		"padded":      func(a endpoint) frame { f := a.udp(40000, remoteAddrPort(53)); f.padding = make([]byte, 18); return f },
		"no payload":  func(a endpoint) frame { f := a.tcp(40000, remoteAddrPort(443), syn); f.payload = nil; return f },
		"odd payload": func(a endpoint) frame { f := a.udp(40000, remoteAddrPort(53)); f.payload = []byte{1, 2, 3}; return f },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, loader.Config{})
			sent := build(f.a)
			length := uint64(len(sent.bytes()) - 14 - len(sent.padding))

			verdict, out := f.fromContainer(f.a, sent)
			port := sourcePort(out)
			left := sent.hop().from(hostAddrPort(port))
			if sent.protocol == layers.IPProtocolICMPv4 {
				left = left.id(port)
			}
			f.expect("out", verdict, out, redirect, left)
			if port >= 32768 && port <= 60999 || port < 1024 {
				t.Errorf("source port %d is in ip_local_port_range or privileged", port)
			}
			f.expectFlows(masqueraded(f, sent, left, 0))
			f.expectCounters(masqueradeOne, maps.RuleCounters{Flows: 1, FlowBytes: length, Packets: 1, Bytes: length})

			answer := left.answer(remote, syn|ack)
			verdict, out = f.fromOutside(answer)
			back := answer.hop().to(f.a.at(sent.sport)).delivered(f.a)
			if sent.protocol == layers.IPProtocolICMPv4 {
				back = back.id(sent.sport)
			}
			f.expect("answer", verdict, out, redirect, back)
			f.expectFlows(masqueraded(f, sent, left, flowReplied))

			sent.flags, left.flags = ack, ack
			verdict, out = f.fromContainer(f.a, sent)
			f.expect("out again", verdict, out, redirect, left)
			f.expectFlows(masqueraded(f, sent, left, flowReplied|flowConfirmed))
			f.expectCounters(masqueradeOne, maps.RuleCounters{Flows: 1, FlowBytes: length, Packets: 3, Bytes: 3 * length})
		})
	}
}

// masqueraded is the conntrack table after a's packet `sent` became `left`.
func masqueraded(f *fixture, sent, left frame, state uint8) map[datapath.FlowKey4]datapath.Flow4 {
	answer, back := left.answer(remote, 0), sent.answer(remote, 0)
	return map[datapath.FlowKey4]datapath.Flow4{
		keyOf(sent, networkOne): halfOf(left, datapath.FlowHead{
			State: state, Direction: directionForward, Target: targetOutside, BackTarget: targetEndpoint, Hops: 1,
			BackZone: datapath.ZoneOutside, Endpoint: f.a.index, Rule: masqueradeOne,
		}),
		keyOf(answer, datapath.ZoneOutside): halfOf(back, datapath.FlowHead{
			State: state, Direction: directionReply, Target: targetEndpoint, BackTarget: targetOutside, Hops: 1,
			BackZone: networkOne, Endpoint: f.a.index, Rule: masqueradeOne,
		}),
	}
}

// TestMasqueradeSource covers where the source address comes from, on kernels
// with and without what route lookups can be asked.
func TestMasqueradeSource(t *testing.T) {
	t.Parallel()
	kernel, err := loader.KernelFeatures()
	must(t, err)
	t.Logf("this kernel: %+v", kernel)
	for name, without := range map[string]loader.Features{
		"all": {}, "neighbours are looked up": {FIBSkipNeigh: true}, "the route's source is unknown": {FIBSource: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, loader.Config{Without: without})
			preferred := netip.MustParseAddr("192.0.2.77")
			f.address("uplink0", netip.PrefixFrom(preferred, 32))
			f.route("203.0.113.0/24", preferred)
			if !kernel.FIBSource || without.FIBSource {
				preferred = hostAddr
			}
			for to, want := range map[string]netip.Addr{"203.0.113.5:443": preferred, "198.51.100.7:443": hostAddr} {
				sent := f.a.tcp(40000, netip.MustParseAddrPort(to), syn)
				verdict, out := f.fromContainer(f.a, sent)
				f.expect(to, verdict, out, redirect, sent.hop().from(netip.AddrPortFrom(want, sourcePort(out))))
			}
		})
	}
}

// TestChecksumThatBecomesZero covers the one sum whose field must not say
// "none": payloads of two bytes reach every sum, that which gives zero too.
func TestChecksumThatBecomesZero(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	sent := f.a.udp(40000, remoteAddrPort(53))
	sent.payload = []byte{0, 0}
	_, out := f.fromContainer(f.a, sent)
	at := transportAt(out) + 6
	sent.payload = out[at : at+2] // the sum grows by what it lacks
	_, out = f.fromContainer(f.a, sent)
	if got := [2]byte(out[at : at+2]); got != [2]byte{0xff, 0xff} {
		t.Errorf("checksum %x, want ffff", got)
	}
}

// TestMasqueradeSourceIsLost covers an address that the host loses: its flows end
// with their next packet, and those after it have another one. One that the host
// still has stays good, whatever the uplink prefers now.
func TestMasqueradeSourceIsLost(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	sent := f.a.udp(40000, remoteAddrPort(53))
	_, out := f.fromContainer(f.a, sent)
	left := sent.hop().from(hostAddrPort(sourcePort(out)))
	f.fromOutside(client.udp(40000, hostAddrPort(published)))
	answer := f.a.udp(target, clientAddrPort(40000))

	f.address("uplink0", netip.PrefixFrom(secondHostAddr, 23)) // on a link of its own
	must(t, f.maps.SetUplinks(map[uint32]maps.Sources{uint32(f.uplink): {IPv4: secondHostAddr}}))
	verdict, out := f.fromContainer(f.a, sent)
	f.expect("another one of the host's", verdict, out, redirect, left)

	f.dropAddress("uplink0", netip.PrefixFrom(hostAddr, 24))
	from := skb{Ifindex: uint32(f.a.ifindex)}
	f.expectDrop(datapath.HookContainer, from, sent.bytes(), reasons.NoSource)
	f.expectDrop(datapath.HookContainer, from, answer.bytes(), reasons.NoSource)
	f.expectFlows(map[datapath.FlowKey4]datapath.Flow4{})
	verdict, out = f.fromContainer(f.a, sent)
	f.expect("what comes next", verdict, out, redirect, sent.hop().from(netip.AddrPortFrom(secondHostAddr, sourcePort(out))))
}
