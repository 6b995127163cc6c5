package maps_test

import (
	"net/netip"
	"testing"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/maps"
)

func TestHostAddrsReplaceEachOther(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	for _, addrs := range [][]maps.HostAddr{
		{{Addr: ip("192.0.2.1")}, {Addr: ip("172.17.0.1"), Network: 4}},
		{{Addr: ip("172.17.0.1"), Network: 5}, {Addr: ip("198.51.100.1")}},
		{{Addr: ip("198.51.100.1")}},
		nil,
	} {
		must(t, k.SetHostAddrs(addrs))
		equal(t, "addresses", k.entries("host_addrs4"), len(addrs))
		for _, a := range addrs {
			got := get[datapath.HostAddr](k, "host_addrs4", a.Addr.As4())
			equal(t, a.Addr.String(), got, datapath.HostAddr{Network: a.Network})
		}
	}
}

// An IPv6 address has no place in the map of IPv4 ones, not even as 0.0.0.0.
func TestHostAddrsOfIPv6AreLeftOut(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	must(t, k.SetHostAddrs([]maps.HostAddr{{Addr: ip("2001:db8::1")}, {Addr: ip("192.0.2.1")}}))
	equal(t, "addresses", k.entries("host_addrs4"), 1)
	equal(t, "0.0.0.0 is there", k.has("host_addrs4", wire("0.0.0.0")), false)
}

func TestUplinksReplaceEachOther(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	for _, uplinks := range []map[uint32]netip.Addr{
		{2: ip("192.0.2.1"), 3: ip("198.51.100.1")},
		{3: ip("198.51.100.2"), 4: {}}, // one without an address of its own
		{},
	} {
		must(t, k.SetUplinks(uplinks))
		equal(t, "uplinks", k.entries("uplinks"), len(uplinks))
		for ifindex, source := range uplinks {
			want := uint32(0)
			if source.IsValid() {
				want = wire(source.String())
			}
			equal(t, "source", get[datapath.Uplink](k, "uplinks", ifindex).Addr4, want)
		}
	}
}
