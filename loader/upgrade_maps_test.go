package loader_test

import (
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/loader"
	datapathmaps "github.com/sluice-net/sluice/maps"
)

// changeOther replaces a map of the other layout by one whose values have a field
// that ours do not have.
func (h *host) changeOther(name string) {
	h.t.Helper()
	old, err := ebpf.LoadPinnedMap(filepath.Join(h.other(), "maps", name), nil)
	must(h.t, err)
	defer old.Close()
	longer := func(value []byte) []byte { return append(slices.Clone(value), make([]byte, 8)...) }
	changed := h.pinOther(name, func(spec *ebpf.MapSpec) {
		value := &btf.Struct{Name: "changed", Size: spec.ValueSize + 8, Members: []btf.Member{
			{Name: "gone", Type: &btf.Int{Name: "long long", Size: 8}, Offset: btf.Bits(spec.ValueSize * 8)},
		}}
		if had, ok := btf.UnderlyingType(spec.Value).(*btf.Struct); ok {
			value.Members = append(slices.Clone(had.Members), value.Members...)
		} else {
			value.Members = append([]btf.Member{{Type: spec.Value}}, value.Members...) // without a name
		}
		spec.Value, spec.ValueSize, spec.MaxEntries = value, value.Size, old.MaxEntries()
	})
	var key, value []byte
	if old.Type() == ebpf.PerCPUArray {
		var perCPU [][]byte
		for it := old.Iterate(); it.Next(&key, &perCPU); {
			for i := range perCPU {
				perCPU[i] = longer(perCPU[i])
			}
			must(h.t, changed.Put(key, perCPU))
		}
		return
	}
	for it := old.Iterate(); it.Next(&key, &value); {
		must(h.t, changed.Put(key, longer(value)))
	}
}

// pinOther pins a map of the other layout, whose spec `change` has changed.
func (h *host) pinOther(name string, change func(*ebpf.MapSpec)) *ebpf.Map {
	h.t.Helper()
	layout, err := datapath.LoadLayout()
	must(h.t, err)
	spec := layout.Maps[name].Copy()
	if change != nil {
		change(spec)
	}
	m, err := ebpf.NewMap(spec)
	must(h.t, err)
	h.t.Cleanup(func() { must(h.t, m.Close()) })
	must(h.t, os.MkdirAll(filepath.Join(h.other(), "maps"), 0o700))
	pin := filepath.Join(h.other(), "maps", name)
	if err := os.Remove(pin); err != nil && !os.IsNotExist(err) {
		h.t.Fatal(err)
	}
	must(h.t, m.Pin(pin))
	return m
}

// ofLayout4 makes the spec of a table of entries that of layout 4's, a hash table.
func ofLayout4(spec *ebpf.MapSpec) {
	entry := spec.Value.(*btf.Struct)
	for _, m := range entry.Members {
		size, err := btf.Sizeof(m.Type)
		if err != nil {
			panic(err)
		}
		if m.Name == "key" {
			spec.Key, spec.KeySize = m.Type, uint32(size)
		} else {
			spec.Value, spec.ValueSize = m.Type, uint32(size)
		}
	}
	spec.Type, spec.Flags, spec.MaxEntries = ebpf.LRUHash, 0, 4096
}

// moveFields gives a half eight bytes of something else in front, and no dport.
func moveFields(half *btf.Struct) {
	half.Members = slices.DeleteFunc(half.Members, func(m btf.Member) bool { return m.Name == "dport" })
	for i := range half.Members {
		half.Members[i].Offset += 64
	}
	gone := btf.Member{Name: "gone", Type: &btf.Int{Name: "long long", Size: 8}}
	half.Members = append([]btf.Member{gone}, half.Members...)
	half.Size += 8
}

// moved is a half as moveFields has it.
func moved(t *testing.T, f datapath.Flow4) []byte {
	t.Helper()
	return append([]byte("xxxxxxxx"), raw(t, f)...)
}

// withoutDport is what becomes of a half whose dport is not known.
func withoutDport(f datapath.Flow4) datapath.Flow4 {
	f.Dport = 0
	return f
}

// The tables of layout 4 were hash tables.
func TestUpgradeFromLayout4(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	old := h.pinOther("flows4", ofLayout4)
	young := h.pinOther("nursery4", nil)
	const n = 1000 // in sets for 2000 flows: with as many, one in 2,300 seeds fills a set
	for i := range uint16(n) {
		must(t, old.Put(flowKey(i), flow(6)))
	}
	must(t, young.Put(flowKey(n), flow(6)))
	l := h.openMaps(2000)
	if u := l.Upgraded(); u == nil || u.Carried["flows4"] != n || u.Carried["nursery4"] != 0 || len(u.Lost) != 0 {
		t.Errorf("upgraded: %+v", u)
	}
	h.wantNoOther()
	got := flowsOf(t, l)
	for i := range uint16(n) {
		if got[flowKey(i)] != flow(6) {
			t.Fatalf("half %d: %+v", i, got[flowKey(i)])
		}
	}
	var f datapath.Flow4
	must(t, l.Maps()["nursery4"].Lookup(flowKey(n), &f))
	// The old one's size is not kept, and the asked one is made a power of two.
	equal(t, "room for halves", datapathmaps.FlowCapacity(l.Maps()["flows4"]), 4096)
}

// Fields go by their names: one that has moved is found, one that is new is zero,
// and one that is gone is forgotten.
func TestUpgradeOfAnotherValue(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	old := h.pinOther("flows4", func(spec *ebpf.MapSpec) {
		ofLayout4(spec)
		moveFields(spec.Value.(*btf.Struct))
		spec.ValueSize += 8
	})
	must(t, old.Put(flowKey(1), moved(t, flow(6))))
	l := h.openMaps(128)
	if u := l.Upgraded(); u == nil || u.Carried["flows4"] != 1 || len(u.Lost) != 0 {
		t.Errorf("upgraded: %+v", u)
	}
	wantFlow(t, "the flow", l, 1, withoutDport(flow(6)))
}

// So do those of an array's entries, of which the tags say which there are.
func TestUpgradeOfAnotherEntry(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	old := h.pinOther("flows4", func(spec *ebpf.MapSpec) {
		entry := spec.Value.(*btf.Struct)
		half, key := entry.Members[0], entry.Members[1]
		moveFields(half.Type.(*btf.Struct))
		key.Offset, half.Offset = 0, 16*8
		entry.Members = []btf.Member{key, half}
		entry.Size += 8
		spec.ValueSize += 8
		spec.MaxEntries = 8 * datapath.FlowWays
	})
	tags := h.pinOther("flow_tags4", func(spec *ebpf.MapSpec) { spec.MaxEntries = 8 })
	put := func(index uint32, key uint16, tag uint64) {
		t.Helper()
		must(t, old.Put(index, slices.Concat(raw(t, flowKey(key)), moved(t, flow(6)))))
		setTag(t, tags, index, tag)
	}
	put(0, 1, 0xffff)
	put(5*datapath.FlowWays+14, 2, 2)
	put(5*datapath.FlowWays+15, 3, 1) // somebody writes it
	put(7, 4, 0)                      // it is free
	l := h.openMaps(128)
	if u := l.Upgraded(); u == nil || u.Carried["flows4"] != 2 || len(u.Lost) != 0 {
		t.Errorf("upgraded: %+v", u)
	}
	equal(t, "halves", len(flowsOf(t, l)), 2)
	wantFlow(t, "the first", l, 1, withoutDport(flow(6)))
	wantFlow(t, "the second", l, 2, withoutDport(flow(6)))
}

func setTag(t *testing.T, tags *ebpf.Map, index uint32, tag uint64) {
	t.Helper()
	set, way := index/datapath.FlowWays, index%datapath.FlowWays
	var words datapath.FlowTags
	must(t, tags.Lookup(set, &words))
	words.Words[way%4] |= tag << (way / 4 * 16)
	must(t, tags.Put(set, words))
}

// ofLayout5 makes the spec of a table of entries one as layout 5 had, with indexes of 32
// bits: here, behind the head.
func ofLayout5(spec *ebpf.MapSpec) {
	entry := spec.Value.(*btf.Struct)
	half := entry.Members[0].Type.(*btf.Struct)
	head := half.Members[0].Type.(*btf.Struct)
	for i, name := range []string{"endpoint", "peer", "rule"} {
		head.Members = slices.DeleteFunc(head.Members, func(m btf.Member) bool { return m.Name == name })
		head.Members = append(head.Members, btf.Member{
			Name: name, Type: &btf.Int{Name: "unsigned int", Size: 4}, Offset: btf.Bits(head.Size*8) + btf.Bits(i*32),
		})
	}
	for i := range half.Members[1:] {
		half.Members[1+i].Offset += 96
	}
	entry.Members[1].Offset += 96
	for _, of := range []*btf.Struct{head, half, entry} {
		of.Size += 12
	}
	spec.ValueSize += 12
	spec.Flags, spec.MaxEntries = 0, datapath.FlowWays
}

// entryOfLayout5 is one whose rule's index has what more there is room for.
func entryOfLayout5(t *testing.T, key uint16, more uint32) []byte {
	t.Helper()
	f := flow(6)
	half := raw(t, f)
	head := binary.Size(f.Head)
	indexes := raw(t, []uint32{uint32(f.Head.Endpoint), uint32(f.Head.Peer), uint32(f.Head.Rule) | more<<16})
	return slices.Concat(half[:head], indexes, half[head:], raw(t, flowKey(key)))
}

// A number becomes narrower if it fits, and is never cut off.
func TestUpgradeFromLayout5(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	old := h.pinOther("flows4", ofLayout5)
	tags := h.pinOther("flow_tags4", func(spec *ebpf.MapSpec) { spec.Flags, spec.MaxEntries = 0, 1 })
	must(t, old.Put(uint32(3), entryOfLayout5(t, 1, 0)))
	must(t, old.Put(uint32(7), entryOfLayout5(t, 2, 1)))
	setTag(t, tags, 3, 0xffff)
	setTag(t, tags, 7, 0xfffe)
	if _, err := loader.Open(h.root, loader.Config{OnDemand: true}); err == nil || !strings.Contains(err.Error(), "head.rule is too large") {
		t.Fatalf("a rule's index that has no room: %v", err)
	}
	must(t, old.Put(uint32(7), entryOfLayout5(t, 2, 0)))
	l := h.openMaps(128)
	if u := l.Upgraded(); u == nil || u.Carried["flows4"] != 2 || len(u.Lost) != 0 {
		t.Errorf("upgraded: %+v", u)
	}
	wantFlow(t, "the first", l, 1, flow(6))
	wantFlow(t, "the second", l, 2, flow(6))
}

// Tags beside the entries of another layout, or a hash of another seed, would be a
// catastrophe: a tenured table's maps are all those of the other layout, or all new.
func TestUpgradeSharesTenuredTablesTogether(t *testing.T) {
	t.Parallel()
	all := []string{"flow_seeds", "flow_tags4", "flow_tags6", "flows4", "flows6"}
	for _, changed := range append([]string{"", "nursery4"}, all...) {
		h := newHost(t)
		first := h.openMaps(128)
		putFlow(t, first, 1, flow(6))
		before := mapIDs(t, first)
		first.Close()
		h.becomesOther()
		if changed != "" {
			h.changeOther(changed)
		}
		l := h.openMaps(1024)
		after := mapIDs(t, l)
		for _, name := range all {
			if kept := before[name] == after[name]; kept == slices.Contains(all, changed) {
				t.Errorf("%q has changed: %s is the other layout's: %v", changed, name, kept)
			}
		}
		equal(t, "entries for the tags", l.Maps()["flows4"].MaxEntries(), l.Maps()["flow_tags4"].MaxEntries()*datapath.FlowWays)
		lost := l.Upgraded().Lost
		for _, family := range []string{"4", "6"} {
			why := lost["flows"+family]
			if unknown := changed == "flow_tags"+family; unknown != (why != nil && strings.Contains(why.Error(), "tags")) {
				t.Errorf("another %s: lost %v", changed, lost)
			}
		}
		if changed == "flow_tags4" {
			equal(t, "halves with unknown tags", len(flowsOf(t, l)), 0)
		} else {
			wantFlow(t, "the flow when there is another "+changed, l, 1, flow(6))
		}
	}
}

// What the old programs change meanwhile harms nobody else's halves.
func TestUpgradeOfATableThatChanges(t *testing.T) {
	t.Parallel()
	for _, changed := range []string{"", "flows6"} { // by which flows4 is new too
		h := newHost(t)
		first := h.openMaps(128)
		for i := range uint16(100) {
			putFlow(t, first, i, flow(6))
		}
		h.becomesOther()
		if changed != "" {
			h.changeOther(changed)
		}
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			table := tenured(first)
			for i := uint16(0); ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				_, _ = table.Put(raw(t, flowKey(1000+i%16)), raw(t, flow(6)))
				_, _ = table.Erase(raw(t, flowKey(1000+(i+8)%16)))
			}
		}()
		l := h.openMaps(128)
		close(stop)
		<-stopped
		got := flowsOf(t, l)
		for i := range uint16(100) {
			if got[flowKey(i)] != flow(6) {
				t.Errorf("half %d: %+v", i, got[flowKey(i)])
			}
		}
	}
}

// What cannot become an entry of ours begins empty, and so do flows when what they
// refer to does.
func TestUpgradeThatLoses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		changed string
		change  func(*ebpf.MapSpec)
		says    string
		lost    []string
	}{
		"a key without the zone": {"flows4", func(spec *ebpf.MapSpec) {
			ofLayout4(spec)
			key := spec.Key.(*btf.Struct)
			key.Members = slices.DeleteFunc(key.Members, func(m btf.Member) bool { return m.Name == "zone" })
		}, "zone", []string{"flows4"}},
		"a key that has more": {"flows4", func(spec *ebpf.MapSpec) {
			ofLayout4(spec)
			key := spec.Key.(*btf.Struct)
			key.Members = append(key.Members, btf.Member{Name: "mark", Type: &btf.Int{Name: "unsigned int", Size: 4}, Offset: btf.Bits(key.Size * 8)})
			key.Size += 4
			spec.KeySize += 4
		}, "mark", []string{"flows4"}},
		"entries without a key": {"flows4", func(spec *ebpf.MapSpec) {
			entry := spec.Value.(*btf.Struct)
			entry.Members = slices.DeleteFunc(entry.Members, func(m btf.Member) bool { return m.Name == "key" })
		}, "entries have no key", []string{"flows4"}},
		"fewer tags than entries": {"flow_tags4", func(spec *ebpf.MapSpec) { spec.MaxEntries = 1 }, "no tags", []string{"flows4"}},
		"endpoints of another size": {"endpoints", func(spec *ebpf.MapSpec) {
			value := spec.Value.(*btf.Struct)
			for i, m := range value.Members {
				if m.Name == "mac" {
					value.Members[i].Type = &btf.Array{Type: &btf.Int{Size: 1}, Index: &btf.Int{Size: 4}, Nelems: 4}
				}
			}
		}, "mac had 4 bytes and has 6", []string{"endpoints", "flows4", "flows6", "nursery4", "nursery6"}},
		"another kind of map": {"devices", func(spec *ebpf.MapSpec) { spec.Type, spec.Flags = ebpf.LRUHash, 0 }, "LRUHash", []string{"devices"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			first := h.openMaps(128)
			putFlow(t, first, 1, flow(6))
			first.Close()
			h.becomesOther()
			h.pinOther(test.changed, test.change)
			l := h.openMaps(128)
			h.wantNoOther()
			u := l.Upgraded()
			if got := slices.Sorted(maps.Keys(u.Lost)); !slices.Equal(got, test.lost) || !strings.Contains(u.Lost[test.lost[0]].Error(), test.says) {
				t.Errorf("lost %v, want %v and %q", u.Lost, test.lost, test.says)
			}
			if kept := !slices.Contains(test.lost, "flows4"); kept != (len(flowsOf(t, l)) == 1) {
				t.Errorf("the flow is kept: %v, want %v", !kept, kept)
			}
		})
	}
}
