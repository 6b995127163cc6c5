package loader_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/loader"
	datapathmaps "github.com/sluice-net/sluice/maps"
)

// mapIDs are the kernel's numbers of a loader's maps, by name.
func mapIDs(t *testing.T, l *loader.Loader) map[string]ebpf.MapID {
	t.Helper()
	ids := map[string]ebpf.MapID{}
	for name, m := range l.Maps() {
		info, err := m.Info()
		must(t, err)
		ids[name], _ = info.ID()
	}
	return ids
}

func (h *host) mapPin(name string) string { return filepath.Join(loader.PinsDir(h.root), "maps", name) }

func TestOpenPinsEveryMap(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	l, err := loader.Open(h.root, loader.Config{})
	must(t, err)
	defer l.Close()
	for _, name := range []string{"flows4", "flows6", "nursery4", "nursery6"} {
		equal(t, "halves in "+name, datapathmaps.FlowCapacity(l.Maps()[name]), 2*loader.DefaultConntrackMax)
	}
	equal(t, "entries", l.Maps()["flows4"].MaxEntries(), 4*loader.DefaultConntrackMax)
	layout, err := datapath.LoadLayout()
	must(t, err)
	var want []string
	for name := range layout.Maps {
		if !strings.HasPrefix(name, ".") {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(l.Maps())); !slices.Equal(got, want) {
		t.Errorf("maps: got %q, want %q", got, want)
	}
	entries, err := os.ReadDir(filepath.Dir(h.mapPin("rules")))
	must(t, err)
	var pins []string
	for _, entry := range entries {
		pins = append(pins, entry.Name())
	}
	if !slices.Equal(pins, want) {
		t.Errorf("pins: got %q, want %q", pins, want)
	}
	h.wantPins() // links are for attach to make
}

// A daemon that starts again finds the maps with all that is in them, and keeps
// a table of another size: its flows are worth more than the wish.
func TestOpenAdoptsMaps(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	first := h.open("")
	before := mapIDs(t, first)
	equal(t, "the first made the maps", first.MadeMaps(), true)
	must(t, first.Maps()["devices"].Put(uint32(7), uint32(9)))
	putFlow(t, first, 1, flow(6))
	first.Close()

	second, err := loader.Open(h.root, loader.Config{ConntrackMax: 1000})
	must(t, err)
	defer second.Close()
	equal(t, "the second made the maps", second.MadeMaps(), false)
	equal(t, "size of the conntrack table", second.Maps()["flows4"].MaxEntries(), first.Maps()["flows4"].MaxEntries())
	kept := second.KeptSizes()
	want := []loader.KeptSize{{Name: "flows4", Has: 128, Asked: 1000}, {Name: "flows6", Has: 128, Asked: 1000}}
	if !slices.Equal(kept, want) {
		t.Errorf("kept sizes %+v, want %+v", kept, want)
	}
	equal(t, "sets of the conntrack table", second.Maps()["flow_tags4"].MaxEntries()*datapath.FlowWays, second.Maps()["flows4"].MaxEntries())
	wantFlow(t, "a flow", second, 1, flow(6))
	if after := mapIDs(t, second); !maps.Equal(before, after) {
		t.Errorf("maps: got %v, want %v", after, before)
	}
	var index uint32
	must(t, second.Maps()["devices"].Lookup(uint32(7), &index))
	equal(t, "entry", index, 9)

	used := map[ebpf.MapID]bool{}
	info, err := second.Program(datapath.HookContainer).Info()
	must(t, err)
	ids, _ := info.MapIDs()
	for _, id := range ids {
		used[id] = true
	}
	for _, name := range []string{"flows4", "rules", "endpoints"} {
		equal(t, "the program uses the pinned "+name, used[before[name]], true)
	}
}

// An older daemon knew fewer reasons to drop and fewer endpoints: the arrays grow,
// with all that is in them.
func TestOpenGrowsArrays(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	layout, err := datapath.LoadLayout()
	must(t, err)
	must(t, os.MkdirAll(filepath.Dir(h.mapPin("drop_counts")), 0o700))
	perCPU := make([]uint64, ebpf.MustPossibleCPU())
	for i := range perCPU {
		perCPU[i] = uint64(i) + 7
	}
	entry := bytes.Repeat([]byte{9}, int(layout.Maps["endpoints"].ValueSize))
	for name, value := range map[string]any{"drop_counts": perCPU, "endpoints": entry} {
		spec := layout.Maps[name].Copy()
		spec.MaxEntries = 4
		small, err := ebpf.NewMap(spec)
		must(t, err)
		must(t, small.Put(uint32(3), value))
		must(t, small.Pin(h.mapPin(name)))
		must(t, small.Close())
	}
	h.open("").Close()
	l := h.open("") // who comes later finds the larger ones
	for _, name := range []string{"drop_counts", "endpoints"} {
		equal(t, "size of "+name, l.Maps()[name].MaxEntries(), layout.Maps[name].MaxEntries)
	}
	var counts []uint64
	must(t, l.Maps()["drop_counts"].Lookup(uint32(3), &counts))
	equal(t, "counts", fmt.Sprint(counts), fmt.Sprint(perCPU))
	var kept []byte
	must(t, l.Maps()["endpoints"].Lookup(uint32(3), &kept))
	equal(t, "entry", string(kept), string(entry))
	if left, _ := filepath.Glob(h.mapPin("*") + "+"); left != nil {
		t.Errorf("pins that are left: %q", left)
	}
}

// A daemon that was killed while it made the maps may have left tags without entries:
// those are made to fit. Entries that other tags belong to are not used.
func TestOpenFitsEntriesToTags(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	layout, err := datapath.LoadLayout()
	must(t, err)
	must(t, os.MkdirAll(filepath.Dir(h.mapPin("flows4")), 0o700))
	pin := func(name string, entries uint32) {
		t.Helper()
		spec := layout.Maps[name].Copy()
		spec.MaxEntries = entries
		m, err := ebpf.NewMap(spec)
		must(t, err)
		must(t, m.Pin(h.mapPin(name)))
		must(t, m.Close())
	}
	pin("flow_tags4", 8)
	l := h.openMaps(128)
	equal(t, "entries", l.Maps()["flows4"].MaxEntries(), 8*datapath.FlowWays)
	putFlow(t, l, 1, flow(6))
	wantFlow(t, "a flow", l, 1, flow(6))
	l.Close()
	must(t, os.Remove(h.mapPin("flow_tags4")))
	pin("flow_tags4", 16)
	if _, err := loader.Open(h.root, loader.Config{}); !errors.Is(err, loader.ErrLayout) || !strings.Contains(err.Error(), "flows4") {
		t.Errorf("%v, want ErrLayout", err)
	}
}

// A map that has changed without a new layout number is not used either.
func TestOpenRefusesAMapThatDiffers(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	must(t, os.MkdirAll(filepath.Dir(h.mapPin("uplinks")), 0o700))
	other, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 8})
	must(t, err)
	defer other.Close()
	must(t, other.Pin(h.mapPin("uplinks")))
	_, err = loader.Open(h.root, loader.Config{})
	if !errors.Is(err, loader.ErrLayout) || !strings.Contains(err.Error(), "uplinks") || !strings.Contains(err.Error(), "sluice system reset") {
		t.Errorf("%v, want ErrLayout, the map and what to do", err)
	}
}

func TestOpenRefusesAnUnknownMode(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	_, err := loader.Open(h.root, loader.Config{Attach: "xdp"})
	if err == nil || !strings.Contains(err.Error(), `"xdp" is neither tcx nor clsact`) {
		t.Error(err)
	}
}

func TestOpenWithoutADirectory(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	missing := filepath.Join(h.root, "no", "such")
	if _, err := loader.Open(missing, loader.Config{}); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Error(err)
	}
}
