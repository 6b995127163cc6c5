package datapath_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/datapath/model"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

// settle gives every flow the state of one that has proved itself, and moves it
// to where those are. It returns what they are then.
func (f *fixture) settle() conntrack {
	f.t.Helper()
	settled := conntrack{}
	for _, name := range conntrackTables {
		for key, half := range f.tier(name) {
			half.Head.State = flowReplied | flowConfirmed | flowTenured
			settled[key] = half
			f.evict(key)
		}
	}
	f.seen(settled, 0)
	return settled
}

// seen writes tenured halves whose last packet came so many seconds ago.
func (f *fixture) seen(halves conntrack, ago uint32) {
	f.t.Helper()
	now := uptime(f.t)
	for key, half := range halves {
		half.Head.Seen, half.Head.Created = now-ago, now-1000
		f.evict(key)
		f.writeHalf("flows", key, half)
	}
}

// setState adds to the state of a flow that has proved itself.
func setState(halves conntrack, more uint8) {
	for key, half := range halves {
		half.Head.State = flowReplied | flowConfirmed | flowTenured | more
		halves[key] = half
	}
}

// withPortsFirst has a frame's ports where they are without more headers, in an
// option of IPv4.
func withPortsFirst(f frame) frame {
	if f.src.Is6() {
		return f
	}
	return withOptions(f, byte(f.sport>>8), byte(f.sport), byte(f.dport>>8), byte(f.dport))
}

// outcome is what becomes of a frame, and what it moves.
type outcome struct {
	code    uint32
	raw     string
	drops   map[reasons.Reason]uint64
	packets map[count]uint64
	rule    maps.RuleCounters
	states  map[model.Key]uint8
}

// arrives sends a frame to the uplink, where the flows were seen so many seconds ago.
func (f *fixture) arrives(flags uint32, halves conntrack, ago uint32, rule uint32, raw []byte) outcome {
	f.t.Helper()
	f.seen(halves, ago)
	packets, drops := f.packets(), f.drops()
	before, err := f.maps.RuleCounters(rule)
	must(f.t, err)
	got := f.execute(flags, datapath.HookUplink, skb{Ifindex: uint32(f.uplink)}, raw)
	o := outcome{code: got.code, raw: fmt.Sprintf("%x", got.raw), drops: f.drops(), packets: f.packets(), states: map[model.Key]uint8{}}
	o.rule, err = f.maps.RuleCounters(rule)
	must(f.t, err)
	o.rule.Packets -= before.Packets
	o.rule.Bytes -= before.Bytes
	for reason, n := range drops {
		o.drops[reason] -= n
	}
	for kind, n := range packets {
		o.packets[kind] -= n
	}
	for key, half := range f.halves() {
		o.states[key] = half.Head.State
	}
	return o
}

// TestShortWayIsTheLongWay sends packets of flows that have proved themselves
// in the second in which the flow was seen, which is the short way for most of
// them, and in another one: both must be the same but for the time.
func TestShortWayIsTheLongWay(t *testing.T) {
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
			raw := test.sent.bytes()
			for name, flags := range map[string]uint32{"": 0, ", with a sum beside it": checksumComplete()} {
				if flags != 0 && test.sent.ttl <= 1 {
					continue // it is answered by another packet, without a sum
				}
				short, long := f.arrives(flags, halves, 0, test.rule, raw), f.arrives(flags, halves, 1, test.rule, raw)
				expectEqual(t, test.name+name, short, long)
			}
			wrong := test.sent.bytes()
			wrong[len(wrong)-1] ^= 1
			expectEqual(t, test.name+", damaged", f.arrives(0, halves, 0, test.rule, wrong), f.arrives(0, halves, 1, test.rule, wrong))
		}
	})
}

// TestShortWayOfCutPackets covers packets that end anywhere in their transport headers.
func TestShortWayOfCutPackets(t *testing.T) {
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
					short, long := f.arrives(0, halves, 0, rule, frame), f.arrives(0, halves, 1, rule, frame)
					expectEqual(t, fmt.Sprintf("%s, %d bytes, %s", sent.protocol, end, what), short, long)
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

// TestShortWayOut is what the short way makes of a packet, byte by byte.
func TestShortWayOut(t *testing.T) {
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
