package datapath_test

import (
	"reflect"
	"testing"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/datapath/model"
	"github.com/sluice-net/sluice/maps"
)

// #defines and enums of bpf/types.h; TestConstants compares them.
const (
	flowReplied    = datapath.FlowReplied
	flowConfirmed  = datapath.FlowConfirmed
	flowFINForward = datapath.FlowFINForward
	flowFINReply   = datapath.FlowFINReply
	flowReset      = datapath.FlowReset
	flowTenured    = datapath.FlowTenured

	targetEndpoint = 1
	targetPeer     = 2
	targetOutside  = 3
	targetStack    = 4

	directionForward = datapath.DirectionForward
	directionReply   = datapath.DirectionReply
)

// conntrack is the conntrack table, of both families.
type conntrack = map[model.Key]model.Half

// keyOf is the key of the half that a frame belongs to where it is seen.
func keyOf(f frame, zone uint16) model.Key {
	key := model.Key{
		Src: f.src, Dst: f.dst, Sport: f.sport, Dport: f.dport,
		Zone: zone, Protocol: uint8(f.protocol),
	}
	if f.isICMP() {
		if f.icmp == castOf(f.src).icmp.reply {
			key.EchoReply, key.Sport = true, 0
		} else {
			key.Dport = 0
		}
	}
	return key
}

// halfOf is a half whose packets become `to`.
func halfOf(to frame, head datapath.FlowHead) model.Half {
	return model.Half{Head: head, To: keyOf(to, 0)}
}

// expectFlows asserts the whole conntrack table, times apart: those must be
// the same in all halves.
func (f *fixture) expectFlows(want conntrack) {
	f.t.Helper()
	got := f.halves()
	var created, seen uint32
	for key, half := range got {
		if created != 0 && (half.Head.Created != created || half.Head.Seen != seen) {
			f.t.Errorf("the halves' times differ: %d and %d, %d and %d", created, half.Head.Created, seen, half.Head.Seen)
		}
		created, seen = half.Head.Created, half.Head.Seen
		got[key] = withoutTimes(half)
	}
	expectEqual(f.t, "flows", got, want)
}

func (f *fixture) expectNoFlows() {
	f.t.Helper()
	f.expectFlows(conntrack{})
}

func withoutTimes(half model.Half) model.Half {
	half.Head.Created, half.Head.Seen = 0, 0
	return half
}

// editHalf changes one half where it is.
func (f *fixture) editHalf(key model.Key, edit func(*model.Half)) {
	f.t.Helper()
	name, half := f.tierOf(key), f.half(key)
	edit(&half)
	if name == "flows" {
		half.Head.State |= flowTenured
	}
	f.writeHalf(name, key, half)
}

// editHeads changes every half in the tables.
func (f *fixture) editHeads(edit func(*datapath.FlowHead)) {
	f.t.Helper()
	for _, name := range conntrackTables {
		for key, half := range f.tier(name) {
			tenured := half.Head.State & flowTenured
			half.Head.State &^= flowTenured
			edit(&half.Head)
			half.Head.State |= tenured
			f.writeHalf(name, key, half)
		}
	}
}

// age makes every half in the table look as if it were last seen so long ago.
func (f *fixture) age(seconds uint32) {
	f.t.Helper()
	f.editHeads(func(head *datapath.FlowHead) { head.Seen -= seconds })
}

func (f *fixture) half(key model.Key) model.Half {
	f.t.Helper()
	half, ok := f.halves()[key]
	if !ok {
		f.t.Fatalf("there is no half of %+v, but %+v", key, f.halves())
	}
	return half
}

// expectState asserts the state of every half in the table.
func (f *fixture) expectState(what string, want uint8) {
	f.t.Helper()
	halves := f.halves()
	if len(halves) != 2 {
		f.t.Errorf("%s: %d halves, want 2", what, len(halves))
	}
	for _, half := range halves {
		if half.Head.State != want {
			f.t.Errorf("%s: state %#x, want %#x (direction %d)", what, half.Head.State, want, half.Head.Direction)
		}
	}
}

func (f *fixture) expectCounters(rule uint32, want maps.RuleCounters) {
	f.t.Helper()
	got, err := f.maps.RuleCounters(rule)
	must(f.t, err)
	expectEqual(f.t, "the rule's counters", got, want)
}

func expectEqual(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\ngot  %+v\nwant %+v", what, got, want)
	}
}
