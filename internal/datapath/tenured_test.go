package datapath_test

import (
	"encoding/binary"
	"errors"

	"github.com/cilium/ebpf"

	"github.com/sluice-net/sluice/internal/datapath"
)

// tenured is a family's table of halves that have proved themselves: as the maps
// have it, while no packet is on its way.
type tenured[K comparable, V, E any] struct {
	f             *fixture
	family        string
	entries, tags *ebpf.Map
	split         func(E) (K, V)
	join          func(K, V) E
}

func tenured4(f *fixture) tenured[datapath.FlowKey4, datapath.Flow4, datapath.FlowEntry4] {
	return tenured[datapath.FlowKey4, datapath.Flow4, datapath.FlowEntry4]{
		f, "4", f.loader.Maps()["flows4"], f.loader.Maps()["flow_tags4"],
		func(e datapath.FlowEntry4) (datapath.FlowKey4, datapath.Flow4) { return e.Key, e.Flow },
		func(k datapath.FlowKey4, v datapath.Flow4) datapath.FlowEntry4 {
			return datapath.FlowEntry4{Flow: v, Key: k}
		},
	}
}

func tenured6(f *fixture) tenured[datapath.FlowKey6, datapath.Flow6, datapath.FlowEntry6] {
	return tenured[datapath.FlowKey6, datapath.Flow6, datapath.FlowEntry6]{
		f, "6", f.loader.Maps()["flows6"], f.loader.Maps()["flow_tags6"],
		func(e datapath.FlowEntry6) (datapath.FlowKey6, datapath.Flow6) { return e.Key, e.Flow },
		func(k datapath.FlowKey6, v datapath.Flow6) datapath.FlowEntry6 {
			return datapath.FlowEntry6{Flow: v, Key: k}
		},
	}
}

// lane is where a way's tag is: the word and the first bit.
func lane(way uint32) (word, shift uint32) { return way % 4, way / 4 * 16 }

// indexes returns where each key's entry is, and what it says.
func (t tenured[K, V, E]) indexes() (at map[K]uint32, all map[K]V) {
	t.f.t.Helper()
	at, all = map[K]uint32{}, map[K]V{}
	sets, tags := make([]uint32, t.tags.MaxEntries()), make([]datapath.FlowTags, t.tags.MaxEntries())
	n, err := t.tags.BatchLookup(new(ebpf.MapBatchCursor), sets, tags, nil)
	if !errors.Is(err, ebpf.ErrKeyNotExist) {
		must(t.f.t, err)
	}
	for i := range n {
		if tags[i] == (datapath.FlowTags{}) {
			continue
		}
		for way := range uint32(datapath.FlowWays) {
			word, shift := lane(way)
			if uint16(tags[i].Words[word]>>shift) < 2 {
				continue
			}
			var e E
			index := sets[i]*datapath.FlowWays + way
			must(t.f.t, t.entries.Lookup(index, &e))
			key, value := t.split(e)
			if _, twice := at[key]; twice {
				t.f.t.Errorf("flows%s has %+v twice", t.family, key)
			}
			at[key], all[key] = index, value
		}
	}
	return at, all
}

func (t tenured[K, V, E]) read() map[K]V {
	t.f.t.Helper()
	_, all := t.indexes()
	return all
}

// write puts halves where they are, or where the datapath would.
func (t tenured[K, V, E]) write(halves map[K]V) {
	t.f.t.Helper()
	if len(halves) == 0 {
		return
	}
	at, _ := t.indexes()
	for key, value := range halves {
		if index, ok := at[key]; ok {
			must(t.f.t, t.entries.Put(index, t.join(key, value)))
		} else if got := t.do(datapath.FlowPut, key, value); got != datapath.FlowDone {
			t.f.t.Fatalf("flows%s has no room for %+v", t.family, key)
		}
	}
}

// erase takes an entry out, as another one that takes its place does.
func (t tenured[K, V, E]) erase(key K) {
	t.f.t.Helper()
	at, _ := t.indexes()
	index, ok := at[key]
	if !ok {
		return
	}
	var tags datapath.FlowTags
	set := index / datapath.FlowWays
	must(t.f.t, t.tags.Lookup(set, &tags))
	word, shift := lane(index % datapath.FlowWays)
	tags.Words[word] &^= 0xffff << shift
	must(t.f.t, t.tags.Put(set, tags))
}

// do runs the program that changes the tables for the daemon.
func (t tenured[K, V, E]) do(operation uint32, key K, value V) uint32 {
	t.f.t.Helper()
	request := datapath.FlowRequest{Operation: operation, Family: uint32(t.family[0] - '0')}
	raw, err := binary.Append(nil, binary.NativeEndian, request)
	must(t.f.t, err)
	raw, err = binary.Append(raw, binary.NativeEndian, t.join(key, value))
	must(t.f.t, err)
	code, _, err := t.f.loader.FlowTable().Test(raw)
	must(t.f.t, err)
	return code
}
