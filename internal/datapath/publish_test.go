package datapath_test

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

// TestPublished sends a request from outside to a published port, the answer
// back and a second packet in.
func TestPublished(t *testing.T) {
	bothFamilies(t, func(t *testing.T, c *cast) {
		to := at(c.host, published)
		for name, test := range map[string]struct {
			sent frame
			rule uint32
		}{
			"tcp":               {c.client.tcp(40000, to, syn), publishTCP},
			"udp":               {c.client.udp(40000, to), publishUDP},
			"from far away":     {c.remote.udp(40000, to), publishUDP},
			"tcp, SYN and PSH":  {c.client.tcp(40000, to, syn|psh), publishTCP},
			"udp, no checksum":  {withoutChecksum(c.client.udp(40000, to)), publishUDP},
			"tcp, more headers": {withMoreHeaders(c.client.tcp(40000, to, syn)), publishTCP},
			"udp, most headers": {withMostHeaders(c.client.udp(40000, to)), publishUDP},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, c, loader.Config{})
				f.publishes(test.sent, test.rule)
			})
		}
	})
}

// publishes asserts what becomes of a request, its answer and another packet.
func (f *fixture) publishes(sent frame, rule uint32) {
	f.t.Helper()
	length := uint64(len(sent.bytes()) - ethernet)

	verdict, out := f.fromOutside(sent)
	inside := sent.hop().to(f.a.at(target)).delivered(f.a)
	f.expect("in", verdict, out, redirect, inside)
	f.expectFlows(publishedFlows(f, sent, inside, rule, 0))
	f.expectCounters(rule, maps.RuleCounters{Flows: 1, FlowBytes: length, Packets: 1, Bytes: length})

	answer := inside.answer(f.a.station, syn|ack)
	verdict, out = f.fromContainer(f.a, answer)
	f.expect("answer", verdict, out, redirect, answer.hop().from(at(f.host, published)))
	f.expectFlows(publishedFlows(f, sent, inside, rule, flowReplied))

	sent.flags, inside.flags = ack, ack
	verdict, out = f.fromOutside(sent)
	f.expect("in again", verdict, out, redirect, inside)
	f.expectFlows(publishedFlows(f, sent, inside, rule, flowReplied|flowConfirmed))
	f.expectCounters(rule, maps.RuleCounters{Flows: 1, FlowBytes: length, Packets: 3, Bytes: 3 * length})
}

// publishedFlows is the conntrack table after the client's packet `sent`
// became `inside`.
func publishedFlows(f *fixture, sent, inside frame, rule uint32, state uint8) conntrack {
	return conntrack{
		keyOf(sent, datapath.ZoneOutside): halfOf(inside, datapath.FlowHead{
			State: state, Direction: directionForward, Target: targetEndpoint, BackTarget: targetOutside, Hops: 1,
			BackZone: networkOne, Endpoint: uint16(f.a.index), Rule: uint16(rule),
		}),
		keyOf(inside.answer(f.a.station, 0), networkOne): halfOf(sent.answer(f.a.station, 0), datapath.FlowHead{
			State: state, Direction: directionReply, Target: targetOutside, BackTarget: targetEndpoint, Hops: 1,
			BackZone: datapath.ZoneOutside, Endpoint: uint16(f.a.index), Rule: uint16(rule),
		}),
	}
}

// TestPublishedDrops covers packets to a published port that go nowhere.
func TestPublishedDrops(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		context := skb{Ifindex: uint32(f.uplink)}
		f.set(f.a, false, true)
		f.expectDrop(datapath.HookUplink, context, f.client.tcp(1, at(f.host, published), syn).bytes(), reasons.NotReady)
		f.expectNoFlows()
		f.expectCounters(publishTCP, maps.RuleCounters{})
	})
}

// TestPublishedExpires covers the hop that translation costs, in and out.
func TestPublishedExpires(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		sent := f.client.tcp(1, at(f.host, published), syn)
		_, out := f.fromOutside(sent)
		inside := sent.hop().to(f.a.at(target)).delivered(f.a)
		f.expect("in", redirect, out, redirect, inside)
		sent.ttl = 1
		f.expectTold("in", datapath.HookUplink, f.uplink, sent, f.host, 0)
		answer := inside.answer(f.a.station, ack)
		answer.ttl = 1
		f.expectTold("out", datapath.HookContainer, f.a.ifindex, answer, f.gatewayOne, 0)
		answer.ttl = 2
		verdict, left := f.fromContainer(f.a, answer)
		f.expect("ttl 2", verdict, left, redirect, answer.hop().from(at(f.host, published)))
	})
}

// TestPublishedAnswerNeedsRoute covers answers that find no way out.
func TestPublishedAnswerNeedsRoute(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		sent := f.remote.udp(40000, at(f.host, published))
		f.fromOutside(sent)
		answer := sent.to(f.a.at(target)).answer(f.a.station, 0)
		context := skb{Ifindex: uint32(f.a.ifindex)}
		large := answer
		large.payload = make([]byte, 1500)
		f.expectTold("too large", datapath.HookContainer, f.a.ifindex, large, f.gatewayOne, 1500)
		must(t, f.maps.SetUplinks(nil))
		f.expectDrop(datapath.HookContainer, context, answer.bytes(), reasons.NotAnUplink)
		f.blackhole(single(f.remote.addr))
		f.expectDrop(datapath.HookContainer, context, answer.bytes(), reasons.NoRoute)
	})
}

// TestPublishedLeavesConnectedSockets covers the host's own conversation whose
// local port is published afterwards: its answers are the host's.
func TestPublishedLeavesConnectedSockets(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		local := net.UDPAddrFromAddrPort(at(f.host, published))
		socket, err := net.DialUDP(f.network("udp"), local, net.UDPAddrFromAddrPort(f.client.at(53)))
		must(t, err)
		defer socket.Close()
		sent := f.client.udp(53, at(f.host, published))
		verdict, out := f.fromOutside(sent)
		f.expect("of the host", verdict, out, next, sent)
		sent = f.client.udp(54, at(f.host, published))
		verdict, out = f.fromOutside(sent)
		f.expect("of another port", verdict, out, redirect, sent.hop().to(f.a.at(target)).delivered(f.a))
	})
}

// TestPublishedBeforeListeners covers a socket that is bound, not connected.
func TestPublishedBeforeListeners(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		socket, err := net.ListenUDP(f.network("udp"), net.UDPAddrFromAddrPort(at(f.host, published)))
		must(t, err)
		defer socket.Close()
		sent := f.client.udp(53, at(f.host, published))
		verdict, out := f.fromOutside(sent)
		f.expect("to a listener's port", verdict, out, redirect, sent.hop().to(f.a.at(target)).delivered(f.a))
	})
}

// TestTwoPortsOneTarget covers a client that uses one source port for two
// published ports of one target: the second flow gets another source port.
func TestTwoPortsOneTarget(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		must(t, f.maps.SetRule(9, maps.Rule{
			Kind: maps.RulePublish, Protocol: unix.IPPROTO_TCP, HostAddr: f.unspecified,
			First: 8443, Last: 8443, Target: target, Endpoint: f.a.index,
		}))
		one, two := f.client.tcp(40000, at(f.host, published), syn), f.client.tcp(40000, at(f.host, 8443), syn)
		verdict, out := f.fromOutside(one)
		inside := one.hop().to(f.a.at(target)).delivered(f.a)
		f.expect("the first", verdict, out, redirect, inside)
		verdict, out = f.fromOutside(two)
		port := sourcePort(out)
		if port == 40000 {
			t.Fatal("both flows look the same to the target")
		}
		insideTwo := two.hop().to(f.a.at(target)).from(f.client.at(port)).delivered(f.a)
		f.expect("the second", verdict, out, redirect, insideTwo)

		answer := inside.answer(f.a.station, syn|ack)
		verdict, out = f.fromContainer(f.a, answer)
		f.expect("answer of the first", verdict, out, redirect, answer.hop().from(at(f.host, published)))
		answer = insideTwo.answer(f.a.station, syn|ack)
		verdict, out = f.fromContainer(f.a, answer)
		f.expect("answer of the second", verdict, out, redirect,
			answer.hop().from(at(f.host, 8443)).to(f.client.at(40000)))
	})
}

// TestCountersEndWithTheirRule covers an index that is used again.
func TestCountersEndWithTheirRule(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		f.fromOutside(f.client.tcp(1, at(f.host, published), syn))
		must(t, f.maps.ClearRule(publishTCP))
		f.expectCounters(publishTCP, maps.RuleCounters{})
	})
}

// TestPublishedInOneFamily covers a port that is published in the other family.
func TestPublishedInOneFamily(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		other := f.cast.other()
		sent := other.client.tcp(40000, at(other.host, published), syn)
		verdict, out := f.fromOutside(sent)
		f.expect("to the port", verdict, out, next, sent)
		must(t, f.maps.SetRule(9, maps.Rule{
			Kind: maps.RulePublish, Protocol: unix.IPPROTO_TCP, HostAddr: other.unspecified,
			First: published, Last: published, Target: 81, Endpoint: f.a.index,
		}))
		verdict, out = f.fromOutside(sent)
		f.expect("to the other port", verdict, out, redirect, sent.hop().to(at(f.a.other, 81)).delivered(f.a))
		sent = f.client.tcp(40000, at(f.host, published), syn)
		verdict, out = f.fromOutside(sent)
		f.expect("to both", verdict, out, redirect, sent.hop().to(f.a.at(target)).delivered(f.a))
	})
}

// TestPublishedRefusesMartians covers sources that the stack would refuse, had
// it seen the packet (RFC 1812 5.3.7), and those of our own networks, by which
// somebody outside could speak for a container.
func TestPublishedRefusesMartians(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		sent := f.client.tcp(1, at(f.host, published), syn)
		ours := []netip.Addr{f.host, f.gatewayOne, f.gatewayTwo, f.a.addr, f.b.addr, f.nobody, f.vip}
		for _, src := range slices.Concat(ours, f.groups, f.martians) {
			t.Log(src)
			f.dropsFromOutside(sent.from(at(src, 40000)), reasons.Martian)
		}
		f.expectNoFlows()
	})
}
