package datapath_test

import (
	"net/netip"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
)

// TestBridgeFromLoopback covers the host's sockets that are bound to a loopback
// address: the container sees the gateway.
func TestBridgeFromLoopback(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		elsewhere := f.loopback
		if f.cast == ipv4 {
			elsewhere.addr = addr("127.9.9.9")
		}
		for name, sent := range map[string]frame{
			"tcp":       f.loopback.tcp(50000, f.a.at(target), syn),
			"udp":       f.loopback.udp(50000, f.a.at(target)),
			"echo":      f.loopback.echo(50000, f.a.addr),
			"elsewhere": elsewhere.tcp(50001, f.a.at(target), syn),
		} {
			verdict, out := f.fromHost(sent)
			port := sourcePort(out)
			// Not a hop further: to the container the host itself speaks.
			inside := sent.masqueraded(f.gatewayOne, port)
			answer := inside.answer(f.a.station, syn|ack)
			back := answer.to(at(sent.src, sent.sport))
			if sent.isICMP() {
				back = back.echoID(sent.sport)
			}
			f.expect(name+", request", verdict, out, next, inside)
			if port >= 32768 && port <= 60999 {
				t.Errorf("%s: the gateway's port %d is in ip_local_port_range", name, port)
			}
			verdict, out = f.fromContainer(f.a, answer)
			f.expectAtHost(name+", answer", verdict, out, back)
			again, further := sent, inside
			if sent.protocol == layers.IPProtocolTCP { // its third packet: a repeated SYN confirms nothing
				again, further = withFlags(sent, ack), withFlags(inside, ack)
			}
			verdict, out = f.fromHost(again)
			f.expect(name+", request again", verdict, out, next, further)

			expectEqual(t, name+", forward half", withoutTimes(f.half(keyOf(sent, datapath.ZoneHost))), halfOf(inside, datapath.FlowHead{
				State: flowReplied | flowConfirmed, Direction: directionForward, Target: targetStack, BackTarget: targetStack,
				BackZone: networkOne, Endpoint: uint16(f.a.index),
			}))
			expectEqual(t, name+", reply half", withoutTimes(f.half(keyOf(answer, networkOne))), halfOf(back, datapath.FlowHead{
				State: flowReplied | flowConfirmed, Direction: directionReply, Target: targetStack, BackTarget: targetStack,
				BackZone: datapath.ZoneHost, Endpoint: uint16(f.a.index),
			}))
		}
	})
}

// expectAtHost asserts that a packet is left to the host's stack. That takes one for
// ::1 from lo alone (RFC 4291 2.5.3), so there it comes in.
func (f *fixture) expectAtHost(what string, verdict uint32, out []byte, want frame) {
	f.t.Helper()
	leaves := uint32(next)
	if want.dst == netip.IPv6Loopback() {
		leaves, want.srcMAC, want.dstMAC = redirect, make([]byte, 6), make([]byte, 6)
	}
	f.expect(what, verdict, out, leaves, want)
}

// TestBridgePasses covers the host's ordinary traffic to containers.
func TestBridgePasses(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		gateway := station{gatewayMAC, f.a.mac, f.gatewayOne}
		host := station{gatewayMAC, f.a.mac, f.host}
		for name, sent := range map[string]frame{
			"from the gateway": gateway.tcp(1, f.a.at(target), syn),
			"from the host":    host.udp(1, f.a.at(target)),
			"echo":             gateway.echo(1, f.a.addr),
			"fragment":         laterFragment(gateway.udp(1, f.a.at(53))),
			"group":            gateway.udp(67, at(f.groups[0], 68)),
			"other protocol":   withProtocol(gateway.udp(1, f.a.at(53)), layers.IPProtocolGRE),
			"more headers":     withMoreHeaders(gateway.udp(1, f.a.at(53))),
		} {
			verdict, out := f.fromHost(sent)
			f.expect(name, verdict, out, next, sent)
		}
		if verdict, _ := f.run(datapath.HookBridge, skb{Ifindex: uint32(f.bridge)}, arp(f.a)); verdict != next {
			t.Errorf("ARP: verdict %d", int32(verdict))
		}
		f.expectNoFlows()
	})
}

func TestBridgeDrops(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		udp := f.loopback.udp(1, f.a.at(target))
		for _, test := range []struct {
			sent frame
			want reasons.Reason
		}{
			{udp.to(at(f.nobody, 53)), reasons.Martian},
			{udp.to(at(f.groups[1], 53)), reasons.Martian},
			{laterFragment(udp), reasons.Fragment},
			{withProtocol(udp, layers.IPProtocolGRE), reasons.Protocol},
			{f.loopback.icmp(f.cast.icmp.question, 1, f.a.addr), reasons.Icmp},
		} {
			f.dropsFromHost(test.sent, test.want)
		}
		f.expectNoFlows()
	})
}

// TestForwardedByTheStack covers what reached a bridge of ours by the host's own
// forwarding: from a device that is no uplink, or by a source route.
func TestForwardedByTheStack(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		forwarded := skb{Ifindex: uint32(f.bridge), IngressIfindex: uint32(f.uplink)}
		for _, sent := range []frame{
			f.client.tcp(1, f.a.at(target), syn), f.loopback.udp(1, f.a.at(target)), f.client.echo(1, f.a.addr),
		} {
			f.expectDrop(datapath.HookBridge, forwarded, sent.bytes(), reasons.Unpublished)
		}
		f.expectNoFlows()
	})
}
