package maps_test

import (
	"testing"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/maps"
)

func TestAlias(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	alias := maps.Alias{Network: 3, Addr: ip("172.20.255.254"), Rule: 9, Members: []uint32{5, 7}}
	must(t, k.SetAlias(4, alias))
	want := datapath.Vip{Alias: 4, Rule: 9, Network: 3, Count: 2}
	want.Members[0], want.Members[1] = 5, 7
	equal(t, "the alias", get[datapath.Vip](k, "vips4", wire("172.20.255.254")), want)

	must(t, k.byName["alias_turns"].Put(uint32(4), datapath.Turns{Turn4: 10, Turn6: 1}))
	alias.Members = []uint32{7}
	must(t, k.SetAlias(4, alias))
	want.Count, want.Members[0], want.Members[1] = 1, 7, 0
	equal(t, "with a member less", get[datapath.Vip](k, "vips4", wire("172.20.255.254")), want)
	selections, err := k.AliasSelections(4)
	must(t, err)
	equal(t, "selections", selections, 11)

	for range 2 { // what is gone is no error
		must(t, k.ClearAlias(4, ip("172.20.255.254")))
		equal(t, "entries", k.entries("vips4"), 0)
	}
	selections, err = k.AliasSelections(4)
	must(t, err)
	equal(t, "selections of a new alias", selections, 0)
}

// TestClearAliasLeavesOthers covers an address that has gone to another alias.
func TestClearAliasLeavesOthers(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	must(t, k.SetAlias(2, maps.Alias{Addr: ip("172.20.255.254"), Addr6: ip("fd00::ffff")}))
	must(t, k.ClearAlias(1, ip("172.20.255.254"), ip("fd00::ffff")))
	equal(t, "entries", k.entries("vips4")+k.entries("vips6"), 2)
	must(t, k.ClearAlias(2, ip("172.20.255.254"), ip("fd00::ffff")))
	equal(t, "entries", k.entries("vips4")+k.entries("vips6"), 0)
}

func TestAliasWithIPv6(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	must(t, k.SetAlias(4, maps.Alias{Network: 3, Addr: ip("172.20.255.254"), Addr6: ip("fd00::ffff"), Rule: 9, Members: []uint32{5, 7}}))
	equal(t, "of both families", get[datapath.Vip](k, "vips6", wire6("fd00::ffff")), get[datapath.Vip](k, "vips4", wire("172.20.255.254")))
}

func TestTooManyMembers(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	if err := k.SetAlias(1, maps.Alias{Addr: ip("172.20.0.9"), Members: make([]uint32, maps.MaxAliasMembers+1)}); err == nil {
		t.Error("an alias took more members than it has room for")
	}
	equal(t, "entries", k.entries("vips4"), 0)
}
