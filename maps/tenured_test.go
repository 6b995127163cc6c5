package maps_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/maps"
)

// sample is a key and a half of a family, as maps have them.
func sample(t testing.TB, family int, n uint32, seen uint32) (key, half []byte) {
	t.Helper()
	head := datapath.FlowHead{Created: seen, Seen: seen, State: datapath.FlowReplied | datapath.FlowConfirmed | datapath.FlowTenured}
	if family == 4 {
		return raw(t, datapath.FlowKey4{Src: n, Protocol: 6}), raw(t, datapath.Flow4{Head: head, Src: ^n})
	}
	return raw(t, datapath.FlowKey6{Dst: datapath.Addr6{Bytes: [16]byte{byte(n), byte(n >> 8)}}, Protocol: 6}), raw(t, datapath.Flow6{Head: head, Sport: uint16(n)})
}

// contents are a table's halves by their keys, each of which must be there once.
func contents(t testing.TB, table *maps.Tenured) map[string]string {
	t.Helper()
	found := map[string]string{}
	must(t, table.Each(func(key, half []byte) error {
		if _, twice := found[string(key)]; twice {
			t.Errorf("key %x is there twice", key)
		}
		found[string(key)] = string(half)
		return nil
	}))
	return found
}

func TestTenured(t *testing.T) {
	t.Parallel()
	for _, family := range []int{4, 6} {
		k := newKernelOf(t, 512) // sets enough that none is full, whatever the seed
		table, now := k.tenured(family), seconds(t)
		equal(t, "halves of an empty table", len(contents(t, table)), 0)
		want := map[string]string{}
		for n := range uint32(80) {
			key, half := sample(t, family, n, now)
			want[string(key)] = string(half)
			put, err := table.Put(key, half)
			must(t, err)
			equal(t, "a new key is put", put, true)
			_, other := sample(t, family, n+1, now)
			put, err = table.Put(key, other)
			must(t, err)
			equal(t, "a key that is there is put", put, false)
		}
		if got := contents(t, table); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("IPv%d: got %q, want %q", family, got, want)
		}
		for key := range want {
			if key[0]%2 == 0 {
				delete(want, key)
				for _, there := range []bool{true, false} {
					erased, err := table.Erase([]byte(key))
					must(t, err)
					equal(t, "erased", erased, there)
				}
			}
		}
		if got := contents(t, table); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("IPv%d, some erased: got %q, want %q", family, got, want)
		}
	}
}

// Both tables of a family lose a half that is erased.
func TestTenuredErasesTheYoung(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	key, half := sample(t, 4, 1, seconds(t))
	must(t, k.byName["nursery4"].Put(key, half))
	erased, err := k.tenured(4).Erase(key)
	must(t, err)
	equal(t, "erased", erased, true)
	equal(t, "young halves", k.entries("nursery4"), 0)
}

// In a full set the half that is over gives way, and else the one idle for longest.
func TestTenuredFullSet(t *testing.T) {
	t.Parallel()
	k := newKernelOf(t, 1)
	table, now := k.tenured(4), seconds(t)
	put := func(n, seen uint32) {
		t.Helper()
		key, half := sample(t, 4, n, seen)
		put, err := table.Put(key, half)
		must(t, err)
		equal(t, "put", put, true)
	}
	gone := func(n uint32) bool {
		t.Helper()
		key, _ := sample(t, 4, n, 0)
		_, there := contents(t, table)[string(key)]
		return !there
	}
	for n := range uint32(datapath.FlowWays) {
		put(n, now-100-n)
	}
	put(100, now)
	equal(t, "the one idle for longest is gone", gone(15), true)
	equal(t, "halves", len(contents(t, table)), datapath.FlowWays)
	key, _ := sample(t, 4, 3, 0)
	_, err := table.Erase(key)
	must(t, err)
	put(101, now-1_000_000) // over
	put(102, now)
	equal(t, "the one that is over is gone", gone(101), true)
	equal(t, "the one that is now idle for longest, and alive, is gone", gone(14), false)
}

// Of what an array has, the tags alone say what is valid: not a free entry, which may
// have what it had, nor one that somebody is writing.
func TestTenuredTags(t *testing.T) {
	t.Parallel()
	k := newKernelOf(t, 4096) // several batches
	table := k.tenured(4)
	const ways = 2*datapath.FlowWays + 7
	entry := func(index uint32) datapath.FlowEntry4 { return datapath.FlowEntry4{Key: datapath.FlowKey4{Src: index}} }
	indexes := []uint32{0, 5, 16 * 3, 16*3 + 1, 16*3 + 15, 16 * 4, 16*1000 + 9, 16*4095 + 15}
	for index := range k.byName["flows4"].MaxEntries() {
		if index < ways || slices.Contains(indexes, index) {
			must(t, k.byName["flows4"].Put(index, entry(index)))
		}
	}
	tags := map[uint32]*datapath.FlowTags{}
	tag := func(index uint32, tag uint64) {
		set, way := index/datapath.FlowWays, index%datapath.FlowWays
		if tags[set] == nil {
			tags[set] = &datapath.FlowTags{}
		}
		tags[set].Words[way%4] |= tag << (way / 4 * 16)
		must(t, k.byName["flow_tags4"].Put(set, tags[set]))
	}
	for _, index := range indexes {
		tag(index, 2+uint64(index%1000))
	}
	tag(7, 1)
	tag(16*9, 1)
	var got []uint32
	must(t, table.Each(func(key, _ []byte) error {
		at := slices.IndexFunc(indexes, func(index uint32) bool { return bytes.Equal(key, raw(t, entry(index).Key)) })
		if at < 0 {
			t.Fatalf("key %x is not valid", key)
		}
		got = append(got, indexes[at])
		return nil
	}))
	if !slices.Equal(got, indexes) {
		t.Errorf("got %v, want %v", got, indexes)
	}
	enough := errors.New("enough")
	visited := 0
	err := table.Each(func(_, _ []byte) error { visited++; return enough })
	if !errors.Is(err, enough) || visited != 1 {
		t.Errorf("%v after %d visits", err, visited)
	}
}

// Where the program puts a half is where its tag says.
func TestTenuredTagsAgree(t *testing.T) {
	t.Parallel()
	k := newKernelOf(t, 64)
	now := seconds(t)
	for n := range uint32(500) {
		key, half := sample(t, 6, n, now)
		_, err := k.tenured(6).Put(key, half)
		must(t, err)
	}
	for set := range k.byName["flow_tags6"].MaxEntries() {
		tags := get[datapath.FlowTags](k, "flow_tags6", set)
		for way := range uint32(datapath.FlowWays) {
			tag := uint16(tags.Words[way%4] >> (way / 4 * 16))
			e := get[datapath.FlowEntry6](k, "flows6", set*datapath.FlowWays+way)
			if written := e != (datapath.FlowEntry6{}); written != (tag > 1) {
				t.Errorf("set %d, way %d: tag %#x, written %v", set, way, tag, written)
			}
		}
	}
	equal(t, "halves", len(contents(t, k.tenured(6))), k.entries("flows6"))
}

func TestTenuredRefusesOtherSizes(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	key, half := sample(t, 4, 1, 0)
	if _, err := k.tenured(6).Put(key, half); err == nil {
		t.Error("a half of IPv4 was put where those of IPv6 are")
	}
	if _, err := k.tenured(6).Erase(key); err == nil {
		t.Error("a half of IPv4 was erased where those of IPv6 are")
	}
}

// The seed is chosen once, and the masks are those of the tables' sizes.
func TestFlowConstants(t *testing.T) {
	t.Parallel()
	k := newKernelOf(t, 64)
	constants, err := maps.FlowConstants(k.byName)
	must(t, err)
	equal(t, "mask", constants["flow_sets_mask4"], any(uint32(63)))
	equal(t, "seed", constants["flow_seed"], any(get[datapath.FlowSeed](k, "flow_seeds", uint32(0)).Words))
	if constants["flow_seed"] == any(datapath.FlowSeed{}.Words) {
		t.Error("there is no seed")
	}
	again, err := maps.FlowConstants(k.byName)
	must(t, err)
	equal(t, "again", fmt.Sprint(again), fmt.Sprint(constants))
}
