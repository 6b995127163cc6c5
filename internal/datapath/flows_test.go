package datapath_test

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"reflect"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/datapath"
	sluicemaps "github.com/sluice-net/sluice/maps"
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

func wire32(addr netip.Addr) uint32 {
	raw := addr.As4()
	return binary.NativeEndian.Uint32(raw[:])
}

func wire16(port uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, port))
}

// keyOf is the key of the half that a frame belongs to where it is seen.
func keyOf(f frame, zone uint16) datapath.FlowKey4 {
	key := datapath.FlowKey4{
		Src: wire32(f.src), Dst: wire32(f.dst), Sport: wire16(f.sport), Dport: wire16(f.dport),
		Zone: zone, Protocol: uint8(f.protocol),
	}
	if f.protocol == layers.IPProtocolICMPv4 {
		if f.icmp == layers.ICMPv4TypeEchoReply {
			key.EchoReply, key.Sport = 1, 0
		} else {
			key.Dport = 0
		}
	}
	return key
}

// halfOf is a half whose packets become `to`.
func halfOf(to frame, head datapath.FlowHead) datapath.Flow4 {
	key := keyOf(to, 0)
	return datapath.Flow4{Head: head, Src: key.Src, Dst: key.Dst, Sport: key.Sport, Dport: key.Dport}
}

// table returns the halves in one of the conntrack tables, as they are.
func (f *fixture) table(name string) map[datapath.FlowKey4]datapath.Flow4 {
	f.t.Helper()
	all := map[datapath.FlowKey4]datapath.Flow4{}
	var key datapath.FlowKey4
	var value datapath.Flow4
	entries := f.loader.Maps()[name].Iterate()
	for entries.Next(&key, &value) {
		all[key] = value
	}
	must(f.t, entries.Err())
	return all
}

// flows returns the halves of all flows, young and tenured. Whether a flow has
// lived long enough for a move depends on the machine's speed: the mark is left out.
func (f *fixture) flows() map[datapath.FlowKey4]datapath.Flow4 {
	f.t.Helper()
	all := f.table("nursery4")
	maps.Copy(all, f.table("flows4"))
	for key, half := range all {
		half.Head.State &^= flowTenured
		all[key] = half
	}
	return all
}

// tableOf names the conntrack table that a half is in.
func (f *fixture) tableOf(key datapath.FlowKey4) string {
	if _, ok := f.table("flows4")[key]; ok {
		return "flows4"
	}
	return "nursery4"
}

// evict removes a half as a full table does.
func (f *fixture) evict(key datapath.FlowKey4) {
	f.t.Helper()
	must(f.t, f.loader.Maps()[f.tableOf(key)].Delete(key))
}

// expectFlows asserts the whole conntrack table, times apart: those must be
// the same in all halves.
func (f *fixture) expectFlows(want map[datapath.FlowKey4]datapath.Flow4) {
	f.t.Helper()
	got := f.flows()
	var created, seen uint32
	for key, flow := range got {
		if created != 0 && (flow.Head.Created != created || flow.Head.Seen != seen) {
			f.t.Errorf("the halves' times differ: %d and %d, %d and %d", created, flow.Head.Created, seen, flow.Head.Seen)
		}
		created, seen = flow.Head.Created, flow.Head.Seen
		flow.Head.Created, flow.Head.Seen = 0, 0
		got[key] = flow
	}
	expectEqual(f.t, "flows", got, want)
}

// editFlow changes one half in the table.
func (f *fixture) editFlow(key datapath.FlowKey4, edit func(*datapath.Flow4)) {
	f.t.Helper()
	name := f.tableOf(key)
	flow, ok := f.table(name)[key]
	if !ok {
		f.t.Fatalf("there is no flow of %+v", key)
	}
	edit(&flow)
	if name == "flows4" {
		flow.Head.State |= flowTenured
	}
	must(f.t, f.loader.Maps()[name].Put(key, flow))
}

// editFlows changes every half in the table.
func (f *fixture) editFlows(edit func(*datapath.Flow4)) {
	f.t.Helper()
	for key := range f.flows() {
		f.editFlow(key, edit)
	}
}

// age makes every half in the table look as if it were last seen so long ago.
func (f *fixture) age(seconds uint32) {
	f.t.Helper()
	f.editFlows(func(flow *datapath.Flow4) { flow.Head.Seen -= seconds })
}

func (f *fixture) flow(key datapath.FlowKey4) datapath.Flow4 {
	f.t.Helper()
	flow, ok := f.flows()[key]
	if !ok {
		f.t.Fatalf("there is no flow of %+v, but %+v", key, f.flows())
	}
	return flow
}

// expectState asserts the state of every half in the table.
func (f *fixture) expectState(what string, want uint8) {
	f.t.Helper()
	if len(f.flows()) != 2 {
		f.t.Errorf("%s: %d halves, want 2", what, len(f.flows()))
	}
	for _, flow := range f.flows() {
		if flow.Head.State != want {
			f.t.Errorf("%s: state %#x, want %#x (direction %d)", what, flow.Head.State, want, flow.Head.Direction)
		}
	}
}

func (f *fixture) expectCounters(rule uint32, want sluicemaps.RuleCounters) {
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
