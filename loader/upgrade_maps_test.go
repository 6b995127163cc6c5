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
