package maps_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/sluice-net/sluice/internal/datapath"
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
	*maps.Maps
}

// newKernel makes every map of the layout, unpinned and without programs.
func newKernel(t testing.TB) *kernel {
	t.Helper()
	layout, err := datapath.LoadLayout()
	must(t, err)
	k := &kernel{t: t, byName: map[string]*ebpf.Map{}}
	for name, spec := range layout.Maps {
		if strings.HasPrefix(name, ".") {
			continue
		}
		if spec.Type == ebpf.LRUHash {
			spec.MaxEntries = 128 // preallocated: the full size takes long to make
		}
		m, err := ebpf.NewMap(spec)
		must(t, err)
		t.Cleanup(func() { m.Close() })
		k.byName[name] = m
	}
	k.reopen()
	return k
}

// reopen is a daemon that starts anew on the maps that are there.
func (k *kernel) reopen() {
	k.t.Helper()
	m, err := maps.New(k.byName)
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
