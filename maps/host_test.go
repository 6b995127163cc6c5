package maps_test

import (
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

func TestHostAddrsOfBothFamilies(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	must(t, k.SetHostAddrs([]maps.HostAddr{{Addr: ip("2001:db8::1")}, {Addr: ip("fe80::1")}, {Addr: ip("192.0.2.1")}, {Addr: ip("fd00::1"), Network: 4}}))
	equal(t, "IPv4 addresses", k.entries("host_addrs4"), 1)
	equal(t, "IPv6 addresses", k.entries("host_addrs6"), 3)
	equal(t, "0.0.0.0 is there", k.has("host_addrs4", wire("0.0.0.0")), false)
	equal(t, "network of a gateway", get[datapath.HostAddr](k, "host_addrs6", wire6("fd00::1")).Network, 4)
	must(t, k.SetHostAddrs([]maps.HostAddr{{Addr: ip("fe80::1")}}))
	equal(t, "addresses that are left", k.entries("host_addrs4")+k.entries("host_addrs6"), 1)
}

func TestUplinksReplaceEachOther(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	for _, uplinks := range []map[uint32]maps.Uplink{
		{2: {IPv4: ip("192.0.2.1")}, 3: {IPv4: ip("198.51.100.1"), IPv6: ip("2001:db8::1"), Ethernet: true}},
		{3: {IPv6: ip("2001:db8::2")}, 4: {}}, // one without an address of its own
		{},
	} {
		must(t, k.SetUplinks(uplinks))
		equal(t, "uplinks", k.entries("uplinks"), len(uplinks))
		for ifindex, source := range uplinks {
			want := datapath.Uplink{}
			if source.IPv4.IsValid() {
				want.Addr4 = wire(source.IPv4.String())
			}
			if source.IPv6.IsValid() {
				want.Addr6 = wire6(source.IPv6.String())
			}
			if source.Ethernet {
				want.Flags = datapath.UplinkEthernet
			}
			equal(t, "sources", get[datapath.Uplink](k, "uplinks", ifindex), want)
		}
	}
}
