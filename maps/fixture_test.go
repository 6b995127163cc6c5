package maps_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests need root: they make BPF maps")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// kernel is a set of maps that nobody else has, by name, and what writes them.
type kernel struct {
	t      testing.TB
	byName map[string]*ebpf.Map
	table  *ebpf.Program // that changes the tenured tables
	*maps.Maps
}

// newKernel makes every map of the layout, unpinned and without the hooks' programs.
func newKernel(t testing.TB) *kernel {
	t.Helper()
	return newKernelOf(t, 16)
}

// newKernelOf makes tenured tables of so many sets.
func newKernelOf(t testing.TB, sets uint32) *kernel {
	t.Helper()
	layout, err := datapath.LoadLayout()
	must(t, err)
	k := &kernel{t: t, byName: map[string]*ebpf.Map{}}
	for name, spec := range layout.Maps {
		if strings.HasPrefix(name, ".") {
			continue
		}
		switch { // preallocated: the full size takes long to make
		case spec.Type == ebpf.LRUHash:
			spec.MaxEntries = 128
		case strings.HasPrefix(name, "flow_tags"):
			spec.MaxEntries = sets
		case strings.HasPrefix(name, "flows"):
			spec.MaxEntries = sets * datapath.FlowWays
		}
		m, err := ebpf.NewMap(spec)
		must(t, err)
		t.Cleanup(func() { m.Close() })
		k.byName[name] = m
	}
	k.table, err = loader.LoadFlowTable(loader.Config{}, k.byName)
	must(t, err)
	t.Cleanup(func() { k.table.Close() })
	k.reopen()
	return k
}

// reopen is a daemon that starts anew on the maps that are there.
func (k *kernel) reopen() {
	k.t.Helper()
	m, err := maps.New(k.byName, k.table)
	must(k.t, err)
	k.Maps = m
}

// get reads the value of a key that must be there.
func get[V any](k *kernel, name string, key any) (value V) {
	k.t.Helper()
	if err := k.byName[name].Lookup(key, &value); err != nil {
		k.t.Fatalf("%s[%v]: %v", name, key, err)
	}
	return value
}

// has reports whether a hash map has a key.
func (k *kernel) has(name string, key any) bool {
	value := make([]byte, k.byName[name].ValueSize())
	return k.byName[name].Lookup(key, &value) == nil
}

// entries is the number of entries of a hash map.
func (k *kernel) entries(name string) int {
	k.t.Helper()
	o, err := k.Occupancy()
	must(k.t, err)
	return o.Tables[name].Entries
}

// tenured is the table of a family.
func (k *kernel) tenured(family int) *maps.Tenured { return maps.NewTenured(k.byName, family, k.table) }

// putHalf inserts a half that is not there.
func (k *kernel) putHalf(family int, key, half any) {
	k.t.Helper()
	put, err := k.tenured(family).Put(raw(k.t, key), raw(k.t, half))
	must(k.t, err)
	if !put {
		k.t.Fatalf("a half of %+v is there already", key)
	}
}

// eraseHalf removes a half that is there.
func (k *kernel) eraseHalf(family int, key any) {
	k.t.Helper()
	erased, err := k.tenured(family).Erase(raw(k.t, key))
	must(k.t, err)
	if !erased {
		k.t.Fatalf("no half of %+v", key)
	}
}

// hasHalf reports whether a tenured table has a key.
func (k *kernel) hasHalf(family int, key any) (found bool) {
	k.t.Helper()
	want := raw(k.t, key)
	must(k.t, k.tenured(family).Each(func(key, _ []byte) error {
		found = found || bytes.Equal(key, want)
		return nil
	}))
	return found
}

// raw is a key or value as maps have it.
func raw(t testing.TB, of any) []byte {
	t.Helper()
	bytes, err := binary.Append(nil, binary.NativeEndian, of)
	must(t, err)
	return bytes
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func mac(s string) net.HardwareAddr {
	hardware, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return hardware
}

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// wire6 is wire for IPv6.
func wire6(s string) datapath.Addr6 { return datapath.Addr6{Bytes: ip(s).As16()} }

// wire is an address as it stands in a packet, which is how maps hold it.
func wire(s string) uint32 {
	bytes := ip(s).As4()
	return binary.NativeEndian.Uint32(bytes[:])
}
