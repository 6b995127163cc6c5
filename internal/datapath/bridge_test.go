package datapath_test

import (
	"net/netip"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
)

// TestBridgeFromLoopback covers the host's sockets that are bound to an
// address of 127.0.0.0/8: the container sees the gateway.
func TestBridgeFromLoopback(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	elsewhere := loopback
	elsewhere.addr = netip.MustParseAddr("127.9.9.9")
	for name, sent := range map[string]frame{
		"tcp":       loopback.tcp(50000, f.a.at(target), syn),
		"udp":       loopback.udp(50000, f.a.at(target)),
		"echo":      loopback.echo(50000, f.a.addr),
		"127.9.9.9": elsewhere.tcp(50001, f.a.at(target), syn),
	} {
		verdict, out := f.fromHost(sent)
		port := sourcePort(out)
		// Not a hop further: to the container the host itself speaks.
		inside := sent.from(netip.AddrPortFrom(gatewayOne, port))
		answer := inside.answer(f.a.station, syn|ack)
		back := answer.to(netip.AddrPortFrom(sent.src, sent.sport))
		if sent.protocol == layers.IPProtocolICMPv4 {
			inside, answer, back = inside.id(port), answer.id(port), back.id(sent.sport)
		}
		f.expect(name+", request", verdict, out, next, inside)
		if port >= 32768 && port <= 60999 {
			t.Errorf("%s: the gateway's port %d is in ip_local_port_range", name, port)
		}
		verdict, out = f.fromContainer(f.a, answer)
		f.expect(name+", answer", verdict, out, next, back)
		verdict, out = f.fromHost(sent)
		f.expect(name+", request again", verdict, out, next, inside)

		expectEqual(t, name+", forward half", withoutTimes(f.flow(keyOf(sent, datapath.ZoneHost))), halfOf(inside, datapath.FlowHead{
			State: flowReplied | flowConfirmed, Direction: directionForward, Target: targetStack, BackTarget: targetStack,
			BackZone: networkOne, Endpoint: f.a.index,
		}))
		expectEqual(t, name+", reply half", withoutTimes(f.flow(keyOf(answer, networkOne))), halfOf(back, datapath.FlowHead{
			State: flowReplied | flowConfirmed, Direction: directionReply, Target: targetStack, BackTarget: targetStack,
			BackZone: datapath.ZoneHost, Endpoint: f.a.index,
		}))
	}
}

// TestBridgePasses covers the host's ordinary traffic to containers.
func TestBridgePasses(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	gateway := station{gatewayMAC, f.a.mac, gatewayOne}
	host := station{gatewayMAC, f.a.mac, hostAddr}
	later := gateway.udp(1, f.a.at(53))
	later.offset = 8
	for name, sent := range map[string]frame{
		"from the gateway": gateway.tcp(1, f.a.at(target), syn),
		"from the host":    host.udp(1, f.a.at(target)),
		"echo":             gateway.echo(1, f.a.addr),
		"fragment":         later,
		"broadcast":        gateway.udp(67, netip.MustParseAddrPort("255.255.255.255:68")),
	} {
		verdict, out := f.fromHost(sent)
		f.expect(name, verdict, out, next, sent)
	}
	if verdict, _ := f.run(datapath.HookBridge, skb{Ifindex: uint32(f.bridge)}, arp(f.a)); verdict != next {
		t.Errorf("ARP: verdict %d", int32(verdict))
	}
	f.expectFlows(map[datapath.FlowKey4]datapath.Flow4{})
}

func TestBridgeDrops(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	fragment := loopback.udp(1, f.a.at(target))
	fragment.offset = 8
	other := loopback.udp(1, f.a.at(target))
	other.protocol = layers.IPProtocolGRE
	timestamp := loopback.echo(1, f.a.addr)
	timestamp.icmp = layers.ICMPv4TypeTimestampRequest
	for _, test := range []struct {
		sent frame
		want reasons.Reason
	}{
		{loopback.udp(1, netip.MustParseAddrPort("172.17.9.9:53")), reasons.Martian},
		{loopback.udp(1, netip.MustParseAddrPort("172.17.255.255:53")), reasons.Martian},
		{fragment, reasons.Fragment},
		{other, reasons.Protocol},
		{timestamp, reasons.Icmp},
	} {
		f.expectDrop(datapath.HookBridge, skb{Ifindex: uint32(f.bridge)}, test.sent.bytes(), test.want)
	}
	f.expectFlows(map[datapath.FlowKey4]datapath.Flow4{})
}
