package datapath_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

// TestFastPathIsTheSlowPath sends packets from outside of flows that have proved
// themselves by both ways.
func TestFastPathIsTheSlowPath(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		tcp, udp := f.client.tcp(40000, at(f.host, published), syn), f.client.udp(40000, at(f.host, published))
		high := f.client.udp(40001, at(f.host, 50000)) // where the host's own connections are
		must(t, f.maps.SetRule(10, maps.Rule{
			Kind: maps.RulePublish, Protocol: uint8(layers.IPProtocolUDP), HostAddr: f.host, First: 50000, Last: 50000, Target: target, Endpoint: f.a.index,
		}))
		for _, sent := range []frame{tcp, udp, high} {
			if verdict, _ := f.fromOutside(sent); verdict != redirect {
				t.Fatalf("%s: verdict %d", sent.protocol, int32(verdict))
			}
		}
		masqueraded := f.converseTCP()
		halves := f.settle()
		tcp.flags, masqueraded.answer.flags = ack, ack|psh

		for _, test := range []struct {
			name    string
			rule    uint32
			sent    frame
			prepare func()
		}{
			{"tcp", publishTCP, tcp, nil},
			{"udp", publishUDP, udp, nil},
			{"udp, to a port in ip_local_port_range", 10, high, nil},
			{"udp, no checksum", publishUDP, withoutChecksum(udp), nil},
			{"an answer", masqueradeOne, masqueraded.answer, nil},
			{"no payload", publishTCP, withPayload(tcp, nil), nil},
			{"odd payload", publishUDP, withPayload(udp, []byte{1, 2, 3}), nil},
			{"padded", publishUDP, udp.with(func(f *frame) { f.padding = make([]byte, 18) }), nil},
			{"last hop but one", publishTCP, withTTL(tcp, 2), nil},
			{"last hop", publishTCP, withTTL(tcp, 1), nil},
			{"no hop", publishTCP, withTTL(tcp, 0), nil},
			{"FIN", publishTCP, withFlags(tcp, fin|ack), nil},
			{"RST", publishTCP, withFlags(tcp, rst), nil},
			{"SYN", publishTCP, withFlags(tcp, syn), nil},
			{"more headers", publishTCP, withMoreHeaders(tcp), nil},
			{"a header that looks like ports", publishUDP, withPortsFirst(udp), nil},
			{"first fragment", publishUDP, firstFragment(udp), nil},
			{"of nobody", publishTCP, tcp.from(f.client.at(40099)), nil},
			{"not ready", publishTCP, tcp, func() { f.set(f.a, false, true) }},
			{"ready again", publishTCP, tcp, func() { f.set(f.a, true, true) }},
			{"another MAC address", publishTCP, tcp, func() { f.a.mac = mustMAC("02:42:ac:11:00:99"); f.set(f.a, true, true) }},
			{"reset before", publishTCP, tcp, func() { setState(halves, flowReset) }},
			{"closing", publishTCP, tcp, func() { setState(halves, flowFINForward|flowFINReply) }},
			{"without its rule", publishTCP, tcp, func() { must(t, f.maps.ClearRule(publishTCP)) }},
			{"without its endpoint", publishUDP, udp, func() { must(t, f.maps.ClearEndpoint(f.a.index)) }},
		} {
			if test.prepare != nil {
				test.prepare()
			}
			f.expectOneWay(test.name, sight{hook: datapath.HookUplink, ifindex: f.uplink}, halves, test.rule, test.sent)
		}
	})
}

// TestFastPathOfCutPackets covers packets that end anywhere in their transport headers.
func TestFastPathOfCutPackets(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		for rule, sent := range map[uint32]frame{
			publishTCP: f.client.tcp(40000, at(f.host, published), syn), publishUDP: f.client.udp(40000, at(f.host, published)),
		} {
			f.fromOutside(sent)
			halves := f.settle()
			sent.flags = ack
			raw := sent.bytes()
			for end := transportAt(raw); end < len(raw); end++ {
				fits, padded := slices.Clone(raw[:end]), slices.Clone(raw)
				setIPLength(fits, end-14)
				setIPLength(padded, end-14)
				for what, frame := range map[string][]byte{"cut": raw[:end], "of that length": fits, "padded": padded} {
					f.expectBothWays(fmt.Sprintf("%s, %d bytes, %s", sent.protocol, end, what), sight{hook: datapath.HookUplink, ifindex: f.uplink}, 0, halves, rule, frame)
				}
			}
		}
	})
}

// setIPLength changes the length in a frame's IP header, from that header on.
func setIPLength(raw []byte, length int) {
	if raw[14]>>4 == 4 {
		binary.BigEndian.PutUint16(raw[16:], uint16(length))
		return
	}
	binary.BigEndian.PutUint16(raw[18:], uint16(max(length-40, 0)))
}

// TestFastPathOut is what the fast path makes of a packet, byte by byte.
func TestFastPathOut(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		for name, sent := range map[string]frame{
			"tcp": f.client.tcp(40000, at(f.host, published), syn), "udp": f.client.udp(40000, at(f.host, published)),
			"udp, no checksum": withoutChecksum(f.client.udp(40001, at(f.host, published))),
		} {
			f.fromOutside(sent)
			f.settle()
			sent.flags = ack
			got := f.execute(0, datapath.HookUplink, skb{Ifindex: uint32(f.uplink)}, sent.bytes())
			f.expect(name, got.code, got.raw, redirect, sent.hop().to(f.a.at(target)).delivered(f.a))
		}
	})
}
