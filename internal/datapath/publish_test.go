package datapath_test

import (
	"net"
	"net/netip"
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
	t.Parallel()
	for name, test := range map[string]struct {
		sent frame
		rule uint32
	}{
		"tcp":              {client.tcp(40000, hostAddrPort(published), syn), publishTCP},
		"udp":              {client.udp(40000, hostAddrPort(published)), publishUDP},
		"from far away":    {remote.udp(40000, hostAddrPort(published)), publishUDP},
		"tcp, SYN and PSH": {client.tcp(40000, hostAddrPort(published), syn|psh), publishTCP},
		"udp, no checksum": {func() frame { f := client.udp(40000, hostAddrPort(published)); f.noChecksum = true; return f }(), publishUDP},
		"tcp, options": {func() frame {
			f := client.tcp(40000, hostAddrPort(published), syn)
			f.options = []byte{148, 4, 0, 0}
			return f
		}(), publishTCP},
		"udp, most options": {func() frame {
			f := client.udp(40000, hostAddrPort(published))
			f.options = append([]byte{130, 40}, make([]byte, 38)...)
			return f
		}(), publishUDP},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, loader.Config{})
			sent := test.sent
			length := uint64(len(sent.bytes()) - 14)

			verdict, out := f.fromOutside(sent)
			inside := sent.hop().to(f.a.at(target)).delivered(f.a)
			f.expect("in", verdict, out, redirect, inside)
			f.expectFlows(publishedFlows(f, sent, inside, test.rule, 0))
			f.expectCounters(test.rule, maps.RuleCounters{Flows: 1, FlowBytes: length, Packets: 1, Bytes: length})

			answer := inside.answer(f.a.station, syn|ack)
			verdict, out = f.fromContainer(f.a, answer)
			f.expect("answer", verdict, out, redirect, answer.hop().from(hostAddrPort(published)))
			f.expectFlows(publishedFlows(f, sent, inside, test.rule, flowReplied))

			sent.flags, inside.flags = ack, ack
			verdict, out = f.fromOutside(sent)
			f.expect("in again", verdict, out, redirect, inside)
			f.expectFlows(publishedFlows(f, sent, inside, test.rule, flowReplied|flowConfirmed))
			f.expectCounters(test.rule, maps.RuleCounters{Flows: 1, FlowBytes: length, Packets: 3, Bytes: 3 * length})
		})
	}
}

// publishedFlows is the conntrack table after the client's packet `sent`
// became `inside`.
func publishedFlows(f *fixture, sent, inside frame, rule uint32, state uint8) map[datapath.FlowKey4]datapath.Flow4 {
	return map[datapath.FlowKey4]datapath.Flow4{
		keyOf(sent, datapath.ZoneOutside): halfOf(inside, datapath.FlowHead{
			State: state, Direction: directionForward, Target: targetEndpoint, BackTarget: targetOutside, Hops: 1,
			BackZone: networkOne, Endpoint: f.a.index, Rule: rule,
		}),
		keyOf(inside.answer(f.a.station, 0), networkOne): halfOf(sent.answer(f.a.station, 0), datapath.FlowHead{
			State: state, Direction: directionReply, Target: targetOutside, BackTarget: targetEndpoint, Hops: 1,
			BackZone: datapath.ZoneOutside, Endpoint: f.a.index, Rule: rule,
		}),
	}
}

// TestPublishedDrops covers packets to a published port that go nowhere.
func TestPublishedDrops(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	context := skb{Ifindex: uint32(f.uplink)}
	f.set(f.a, false, true)
	f.expectDrop(datapath.HookUplink, context, client.tcp(1, hostAddrPort(published), syn).bytes(), reasons.NotReady)
	f.expectFlows(map[datapath.FlowKey4]datapath.Flow4{})
	f.expectCounters(publishTCP, maps.RuleCounters{})
}

// TestPublishedExpires covers the hop that translation costs, in and out.
func TestPublishedExpires(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	sent := client.tcp(1, hostAddrPort(published), syn)
	_, out := f.fromOutside(sent)
	inside := sent.hop().to(f.a.at(target)).delivered(f.a)
	f.expect("in", redirect, out, redirect, inside)
	sent.ttl = 1
	f.expectTold("in", datapath.HookUplink, f.uplink, sent, hostAddr, 0)
	answer := inside.answer(f.a.station, ack)
	answer.ttl = 1
	f.expectTold("out", datapath.HookContainer, f.a.ifindex, answer, gatewayOne, 0)
	answer.ttl = 2
	verdict, left := f.fromContainer(f.a, answer)
	f.expect("ttl 2", verdict, left, redirect, answer.hop().from(hostAddrPort(published)))
}

// TestPublishedAnswerNeedsRoute covers answers that find no way out.
func TestPublishedAnswerNeedsRoute(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	sent := remote.udp(40000, hostAddrPort(published))
	f.fromOutside(sent)
	answer := sent.to(f.a.at(target)).answer(f.a.station, 0)
	context := skb{Ifindex: uint32(f.a.ifindex)}
	large := answer
	large.payload = make([]byte, 1500)
	f.expectTold("too large", datapath.HookContainer, f.a.ifindex, large, gatewayOne, 1500)
	must(t, f.maps.SetUplinks(nil))
	f.expectDrop(datapath.HookContainer, context, answer.bytes(), reasons.NotAnUplink)
	f.blackhole(remoteAddr.String() + "/32")
	f.expectDrop(datapath.HookContainer, context, answer.bytes(), reasons.NoRoute)
}

// TestPublishedLeavesConnectedSockets covers the host's own conversation whose
// local port is published afterwards: its answers are the host's.
func TestPublishedLeavesConnectedSockets(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	local := net.UDPAddrFromAddrPort(hostAddrPort(published))
	socket, err := net.DialUDP("udp4", local, net.UDPAddrFromAddrPort(clientAddrPort(53)))
	must(t, err)
	defer socket.Close()
	sent := client.udp(53, hostAddrPort(published))
	verdict, out := f.fromOutside(sent)
	f.expect("of the host", verdict, out, next, sent)
	sent = client.udp(54, hostAddrPort(published))
	verdict, out = f.fromOutside(sent)
	f.expect("of another port", verdict, out, redirect, sent.hop().to(f.a.at(target)).delivered(f.a))
}

// TestPublishedBeforeListeners covers a socket that is bound, not connected.
func TestPublishedBeforeListeners(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	socket, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(hostAddrPort(published)))
	must(t, err)
	defer socket.Close()
	sent := client.udp(53, hostAddrPort(published))
	verdict, out := f.fromOutside(sent)
	f.expect("to a listener's port", verdict, out, redirect, sent.hop().to(f.a.at(target)).delivered(f.a))
}

// TestTwoPortsOneTarget covers a client that uses one source port for two
// published ports of one target: the second flow gets another source port.
func TestTwoPortsOneTarget(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	must(t, f.maps.SetRule(9, maps.Rule{
		Kind: maps.RulePublish, Protocol: unix.IPPROTO_TCP, HostAddr: netip.IPv4Unspecified(),
		First: 8443, Last: 8443, Target: target, Endpoint: f.a.index,
	}))
	one, two := client.tcp(40000, hostAddrPort(published), syn), client.tcp(40000, hostAddrPort(8443), syn)
	verdict, out := f.fromOutside(one)
	inside := one.hop().to(f.a.at(target)).delivered(f.a)
	f.expect("the first", verdict, out, redirect, inside)
	verdict, out = f.fromOutside(two)
	port := sourcePort(out)
	if port == 40000 {
		t.Fatal("both flows look the same to the target")
	}
	insideTwo := two.hop().to(f.a.at(target)).from(clientAddrPort(port)).delivered(f.a)
	f.expect("the second", verdict, out, redirect, insideTwo)

	answer := inside.answer(f.a.station, syn|ack)
	verdict, out = f.fromContainer(f.a, answer)
	f.expect("answer of the first", verdict, out, redirect, answer.hop().from(hostAddrPort(published)))
	answer = insideTwo.answer(f.a.station, syn|ack)
	verdict, out = f.fromContainer(f.a, answer)
	f.expect("answer of the second", verdict, out, redirect,
		answer.hop().from(hostAddrPort(8443)).to(clientAddrPort(40000)))
}

// TestCountersEndWithTheirRule covers an index that is used again.
func TestCountersEndWithTheirRule(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	f.fromOutside(client.tcp(1, hostAddrPort(published), syn))
	must(t, f.maps.ClearRule(publishTCP))
	f.expectCounters(publishTCP, maps.RuleCounters{})
}
