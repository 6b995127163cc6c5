package datapath_test

import (
	"fmt"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/datapath/model"
	"github.com/sluice-net/sluice/internal/reasons"
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
	young, tenured := f.tier("nursery"), conntrack{}
	for key, half := range halves {
		half.Head.Seen, half.Head.Created = now-ago, now-1000
		tenured[key] = half
		if _, ok := young[key]; ok {
			f.evict(key)
		}
	}
	f.writeHalves("flows", tenured)
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

// sight is where a frame is seen.
type sight struct {
	hook    datapath.Hook
	ifindex int
	gso     int // the size of the segments that a packet is to be cut into
}

// meets sends a frame, when the flows were seen so many seconds ago.
func (f *fixture) meets(at sight, flags uint32, halves conntrack, ago uint32, rule uint32, raw []byte) outcome {
	f.t.Helper()
	f.seen(halves, ago)
	packets, drops := f.packets(), f.drops()
	before, err := f.maps.RuleCounters(rule)
	must(f.t, err)
	got := f.execute(flags, at.hook, skb{Ifindex: uint32(at.ifindex), GSOSize: uint32(at.gso)}, raw)
	o := outcome{code: got.code, raw: fmt.Sprintf("%x", got.raw), drops: f.drops(), packets: f.packets(), states: map[model.Key]uint8{}}
	o.rule, err = f.maps.RuleCounters(rule)
	must(f.t, err)
	o.rule.Flows -= before.Flows
	o.rule.FlowBytes -= before.FlowBytes
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

// expectOneWay asserts that a frame's fast path, in the second in which its flow
// was seen, and the long one, when the other half has to be told, are the same but for
// the time.
func (f *fixture) expectOneWay(what string, at sight, halves conntrack, rule uint32, sent frame) {
	f.t.Helper()
	raw := sent.bytes()
	if !f.expectBothWays(what, at, 0, halves, rule, raw).answered() {
		f.expectBothWays(what+", with a sum beside it", at, checksumComplete(), halves, rule, raw)
	}
	raw[len(raw)-1] ^= 1
	f.expectBothWays(what+", damaged", at, 0, halves, rule, raw)
}

func (f *fixture) expectBothWays(what string, at sight, flags uint32, halves conntrack, rule uint32, raw []byte) outcome {
	f.t.Helper()
	short, long := f.meets(at, flags, halves, 0, rule, raw), f.meets(at, flags, halves, model.SeenTogether, rule, raw)
	expectEqual(f.t, what, short, long)
	return short
}

// answered says whether another packet, which has no sum beside it, answers a frame.
func (o outcome) answered() bool {
	for _, n := range o.drops {
		if n > 0 {
			return o.code == redirect
		}
	}
	return false
}
