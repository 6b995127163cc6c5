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
)

// other is the directory of a layout that is not ours.
func (h *host) other() string { return filepath.Join(h.root, "v1") }

// becomesOther makes what is pinned that of another layout.
func (h *host) becomesOther() {
	h.t.Helper()
	must(h.t, os.Rename(loader.PinsDir(h.root), h.other()))
}

func (h *host) wantNoOther() {
	h.t.Helper()
	layouts, err := filepath.Glob(filepath.Join(h.root, "v*"))
	must(h.t, err)
	if !slices.Equal(layouts, []string{loader.PinsDir(h.root)}) {
		h.t.Errorf("what is below the bpffs: %q", layouts)
	}
}

func flowKey(n uint16) datapath.FlowKey4 {
	return datapath.FlowKey4{Src: 0x0100000a, Dst: 0x0200000a, Sport: n, Dport: 80, Protocol: 6}
}

func flow(seen uint32) datapath.Flow4 {
	f := datapath.Flow4{Src: 0x0300000a, Dst: 0x0400000a, Sport: 7, Dport: 8}
	f.Head.Created, f.Head.Seen, f.Head.State, f.Head.Rule, f.Head.RuleGeneration = 5, seen, 3, 9, 11
	return f
}

// Pins of another layout give way to ours: maps that are the same in both stay, the
// entries of another are carried over, and links have the new programs at once.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	uplink, bridge := h.veth("up0"), h.veth("br0")
	first := h.open("")
	must(t, first.AttachUplink("up0", uplink))
	must(t, first.AttachBridge("br0", bridge))
	must(t, first.Maps()["flows4"].Put(flowKey(1), flow(6)))
	must(t, first.Maps()["nursery4"].Put(flowKey(2), flow(6)))
	must(t, first.Maps()["devices"].Put(uint32(7), uint32(9)))
	must(t, first.Maps()["ports_tcp"].Put(uint32(8080), uint32(3)))
	perCPU := make([]uint64, ebpf.MustPossibleCPU())
	perCPU[0] = 70
	must(t, first.Maps()["drop_counts"].Put(uint32(3), perCPU))
	must(t, first.Maps()["subnets4"].Put(datapath.SubnetKey4{PrefixLen: 16, Addr: 0x11ac}, uint32(4)))
	before := mapIDs(t, first)
	first.Close()
	h.becomesOther()
	changed := []string{"nursery4", "ports_tcp", "subnets4", "drop_counts"}
	for _, name := range changed {
		h.changeOther(name)
	}

	second := h.open("")
	u := second.Upgraded()
	want := map[string]int{"nursery4": 1, "ports_tcp": 1, "subnets4": 1, "drop_counts": 1}
	if u == nil || !slices.Equal(u.From, []string{"v1"}) || !maps.Equal(u.Carried, want) || len(u.Lost) != 0 {
		t.Errorf("upgraded: %+v", u)
	}
	for name, number := range mapIDs(t, second) {
		if same := number == before[name]; same == slices.Contains(changed, name) {
			t.Errorf("%s is the same map: %v", name, same)
		}
	}
	h.wantNoOther()
	h.wantTCX(uplink, ebpf.AttachTCXIngress, id(t, second, datapath.HookUplink))
	h.wantTCX(bridge, ebpf.AttachTCXEgress, id(t, second, datapath.HookBridge))
	h.wantPins("bridge@br0", "uplink@up0")
	equal(t, "packets passed by the new program", h.send(second, datapath.HookUplink, "up0"), 1)
	var f datapath.Flow4
	for n, table := range map[uint16]string{1: "flows4", 2: "nursery4"} {
		must(t, second.Maps()[table].Lookup(flowKey(n), &f))
		equal(t, "a flow in "+table, f, flow(6))
	}
	var number uint32
	must(t, second.Maps()["devices"].Lookup(uint32(7), &number))
	equal(t, "a device", number, 9)
	must(t, second.Maps()["ports_tcp"].Lookup(uint32(8080), &number))
	equal(t, "a port", number, 3)
	must(t, second.Maps()["subnets4"].Lookup(datapath.SubnetKey4{PrefixLen: 16, Addr: 0x11ac}, &number))
	equal(t, "a subnet", number, 4)
	var counts []uint64
	must(t, second.Maps()["drop_counts"].Lookup(uint32(3), &counts))
	equal(t, "counts", counts[0], 70)
	second.Close()
	if u := h.open("").Upgraded(); u != nil {
		t.Errorf("upgraded again: %+v", u)
	}
}

// A daemon of before may have been killed before the maps were filled, or when
// links had programs of both layouts.
func TestUpgradeAfterAKill(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	uplink, bridge := h.veth("up0"), h.veth("br0")
	first := h.open("")
	must(t, first.AttachUplink("up0", uplink))
	must(t, first.AttachBridge("br0", bridge))
	must(t, first.Maps()["flows4"].Put(flowKey(1), flow(6)))
	first.Close()
	h.becomesOther()
	unfinished := loader.PinsDir(h.root) + "+"
	must(t, os.MkdirAll(filepath.Join(unfinished, "maps"), 0o700))

	second := h.open("")
	h.wantNoOther()
	must(t, second.Maps()["flows4"].Put(flowKey(1), flow(8)))
	second.Close()
	// As it was before the last of the links was moved.
	must(t, os.MkdirAll(filepath.Join(h.other(), "links"), 0o700))
	must(t, os.MkdirAll(filepath.Join(h.other(), "maps"), 0o700))
	must(t, os.Rename(filepath.Join(loader.PinsDir(h.root), "links", "bridge@br0"), filepath.Join(h.other(), "links", "bridge@br0")))
	old := h.pinOther("flows4", nil)
	must(t, old.Put(flowKey(1), flow(6)))
	must(t, old.Put(flowKey(2), flow(6)))

	third := h.open("")
	h.wantNoOther()
	h.wantPins("bridge@br0", "uplink@up0")
	h.wantTCX(uplink, ebpf.AttachTCXIngress, id(t, third, datapath.HookUplink))
	h.wantTCX(bridge, ebpf.AttachTCXEgress, id(t, third, datapath.HookBridge))
	var f datapath.Flow4
	must(t, third.Maps()["flows4"].Lookup(flowKey(1), &f))
	equal(t, "the flow that both had", f, flow(8))
	must(t, third.Maps()["flows4"].Lookup(flowKey(2), &f))
	equal(t, "the flow that only the old one had", f, flow(6))
}

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

// Fields go by their names: one that has moved is found, one that is new is zero,
// and one that is gone is forgotten.
func TestUpgradeOfAnotherValue(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	old := h.pinOther("flows4", func(spec *ebpf.MapSpec) {
		value := spec.Value.(*btf.Struct)
		members := slices.DeleteFunc(value.Members, func(m btf.Member) bool { return m.Name == "dport" })
		for i := range members {
			members[i].Offset += 64 // eight bytes of what is gone
		}
		gone := btf.Member{Name: "gone", Type: &btf.Int{Name: "long long", Size: 8}}
		value.Members = append([]btf.Member{gone}, members...)
		value.Size += 8
		spec.ValueSize += 8
	})
	raw := make([]byte, old.ValueSize())
	f := flow(6)
	f.Dport = 0
	copy(raw, "xxxxxxxx")
	_, err := binary.Encode(raw[8:], binary.NativeEndian, f)
	must(t, err)
	must(t, old.Put(flowKey(1), raw))

	l := h.open("")
	if u := l.Upgraded(); u == nil || u.Carried["flows4"] != 1 || len(u.Lost) != 0 {
		t.Errorf("upgraded: %+v", u)
	}
	var got datapath.Flow4
	must(t, l.Maps()["flows4"].Lookup(flowKey(1), &got))
	equal(t, "the flow", got, f)
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
			key := spec.Key.(*btf.Struct)
			key.Members = slices.DeleteFunc(key.Members, func(m btf.Member) bool { return m.Name == "zone" })
		}, "zone", []string{"flows4"}},
		"a key that has more": {"flows4", func(spec *ebpf.MapSpec) {
			key := spec.Key.(*btf.Struct)
			key.Members = append(key.Members, btf.Member{Name: "mark", Type: &btf.Int{Name: "unsigned int", Size: 4}, Offset: btf.Bits(key.Size * 8)})
			key.Size += 4
			spec.KeySize += 4
		}, "mark", []string{"flows4"}},
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
			h.pinOther("flows4", nil)
			h.pinOther(test.changed, test.change)
			if test.changed != "flows4" {
				flows, err := ebpf.LoadPinnedMap(filepath.Join(h.other(), "maps", "flows4"), nil)
				must(t, err)
				must(t, flows.Put(flowKey(1), flow(6)))
				must(t, flows.Close())
			}
			l := h.open("")
			h.wantNoOther()
			u := l.Upgraded()
			if got := slices.Sorted(maps.Keys(u.Lost)); !slices.Equal(got, test.lost) || !strings.Contains(u.Lost[test.changed].Error(), test.says) {
				t.Errorf("lost %v, want %v and %q", u.Lost, test.lost, test.says)
			}
			var f datapath.Flow4
			err := l.Maps()["flows4"].Lookup(flowKey(1), &f)
			if kept := !slices.Contains(test.lost, "flows4"); kept != (err == nil) {
				t.Errorf("the flow: %v", err)
			}
		})
	}
}
