package datapath_test

import (
	"testing"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
)

// TestHairpin covers containers that use a published port of the host: the
// client's address stays.
func TestHairpin(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		for name, test := range map[string]struct {
			sender endpoint
			sent   frame
			rule   uint32
		}{
			"own network, tcp":     {f.b, f.b.tcp(40000, at(f.host, published), syn), publishTCP},
			"own network, udp":     {f.b, f.b.udp(40000, at(f.host, published)), publishUDP},
			"own gateway, tcp":     {f.b, f.b.tcp(40001, at(f.gatewayOne, published), syn), publishTCP},
			"another network, tcp": {f.c, f.c.tcp(40000, at(f.host, published), syn), publishTCP},
			"another network, udp": {f.c, f.c.udp(40000, at(f.host, published)), publishUDP},
			"by its own gateway":   {f.c, f.c.tcp(40001, at(f.gatewayTwo, published), syn), publishTCP},
		} {
			verdict, out := f.fromContainer(test.sender, test.sent)
			inside := test.sent.hop().to(f.a.at(target)).delivered(f.a)
			f.expect(name+", request", verdict, out, redirect, inside)

			answer := inside.answer(f.a.station, syn|ack)
			verdict, out = f.fromContainer(f.a, answer)
			back := answer.hop().from(at(test.sent.dst, published)).delivered(test.sender)
			f.expect(name+", answer", verdict, out, redirect, back)

			flow := f.half(keyOf(test.sent, test.sender.network))
			expectEqual(t, name+", forward half", withoutTimes(flow), halfOf(inside, datapath.FlowHead{
				State: flowReplied, Direction: directionForward, Target: targetEndpoint, BackTarget: targetPeer, Hops: 1,
				BackZone: networkOne, Endpoint: uint16(f.a.index), Peer: uint16(test.sender.index), Rule: uint16(test.rule),
			}))
			flow = f.half(keyOf(answer, networkOne))
			expectEqual(t, name+", reply half", withoutTimes(flow), halfOf(back, datapath.FlowHead{
				State: flowReplied, Direction: directionReply, Target: targetPeer, BackTarget: targetEndpoint, Hops: 1,
				BackZone: test.sender.network, Endpoint: uint16(f.a.index), Peer: uint16(test.sender.index), Rule: uint16(test.rule),
			}))
		}
	})
}

// TestHairpinToItself covers a container that uses its own published port: it
// sees its gateway as the client, or it would answer itself directly.
func TestHairpinToItself(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		for name, sent := range map[string]frame{
			"tcp":         f.a.tcp(40000, at(f.host, published), syn),
			"udp":         f.a.udp(40000, at(f.host, published)),
			"own gateway": f.a.tcp(40001, at(f.gatewayOne, published), syn),
		} {
			verdict, out := f.fromContainer(f.a, sent)
			port := sourcePort(out)
			inside := sent.hop().from(at(f.gatewayOne, port)).to(f.a.at(target)).delivered(f.a)
			f.expect(name+", request", verdict, out, redirect, inside)
			if port >= 32768 && port <= 60999 {
				t.Errorf("%s: the gateway's port %d is in ip_local_port_range", name, port)
			}
			answer := inside.answer(f.a.station, syn|ack)
			verdict, out = f.fromContainer(f.a, answer)
			back := answer.hop().from(at(sent.dst, published)).to(f.a.at(sent.sport)).delivered(f.a)
			f.expect(name+", answer", verdict, out, redirect, back)

			head := f.half(keyOf(answer, networkOne)).Head
			if head.Target != targetPeer || head.Peer != uint16(f.a.index) || head.Endpoint != uint16(f.a.index) {
				t.Errorf("%s: the reply half is %+v", name, head)
			}
		}
	})
}

// TestHairpinEndsWithItsClient covers the client's endpoint being removed: an
// endpoint that takes its place must not get the answers.
func TestHairpinEndsWithItsClient(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		sent := f.b.udp(40000, at(f.host, published))
		_, out := f.fromContainer(f.b, sent)
		answer := sent.to(f.a.at(target)).answer(f.a.station, 0)
		f.expect("request", redirect, out, redirect, sent.hop().to(f.a.at(target)).delivered(f.a))
		must(t, f.maps.ClearEndpoint(f.b.index))
		f.dropsFrom(f.a, answer, reasons.NoEndpoint)
		f.expectNoFlows()
		f.set(f.b, true, false)
		verdict, out := f.fromContainer(f.a, answer)
		f.expect("answer to a new endpoint", verdict, out, redirect, answer.delivered(f.b))
	})
}

// TestHairpinDrops covers hairpins to what is not there yet.
func TestHairpinDrops(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		context := skb{Ifindex: uint32(f.b.ifindex)}
		f.set(f.a, false, true)
		f.expectDrop(datapath.HookContainer, context, f.b.udp(1, at(f.host, published)).bytes(), reasons.NotReady)
	})
}

// TestHairpinOfInternalNetworks covers published ports as a way out of a network
// that has none: only those of its own containers are one.
func TestHairpinOfInternalNetworks(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		f.networkOne(0)
		sent := f.b.udp(1, at(f.host, published))
		verdict, out := f.fromContainer(f.b, sent)
		f.expect("to its own network", verdict, out, redirect, sent.hop().to(f.a.at(target)).delivered(f.a))
		f.publishRange(50, f.unspecified, 9000, 9000, target, f.c)
		f.dropsFrom(f.b, f.b.tcp(1, at(f.host, 9000), syn), reasons.Internal)
		f.dropsFrom(f.b, f.b.tcp(1, at(f.gatewayOne, 9000), syn), reasons.Internal)
	})
}
