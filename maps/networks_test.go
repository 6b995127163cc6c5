package maps_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/maps"
)

func network(subnet, gateway string) maps.Network {
	return maps.Network{
		Subnet: netip.MustParsePrefix(subnet), Gateway: ip(gateway),
		MAC: mac("02:42:ac:11:00:01"), Bridge: 7, Rule: 9,
	}
}

// networkOf is the network that the datapath takes an address for, 0 for none.
func networkOf(k *kernel, addr string) (index uint32) {
	if k.byName["subnets4"].Lookup(datapath.SubnetKey4{PrefixLen: 32, Addr: wire(addr)}, &index) != nil {
		return 0
	}
	return index
}

func TestNetworkIsStoredAsPacketsHaveIt(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	for _, test := range []struct{ subnet, gateway, first, mask string }{
		{"172.17.0.0/16", "172.17.0.1", "172.17.0.0", "255.255.0.0"},
		{"10.1.2.77/20", "10.1.2.77", "10.1.0.0", "255.255.240.0"}, // host bits are no part of it
		{"192.0.2.8/31", "192.0.2.8", "192.0.2.8", "255.255.255.254"},
		{"192.0.2.8/32", "192.0.2.8", "192.0.2.8", "255.255.255.255"},
		{"128.0.0.0/1", "128.0.0.1", "128.0.0.0", "128.0.0.0"},
	} {
		must(t, k.SetNetwork(3, network(test.subnet, test.gateway)))
		equal(t, test.subnet, get[datapath.Network](k, "networks", uint32(3)), datapath.Network{
			Ifindex: 7, Rule: 9, Subnet4: wire(test.first), Mask4: wire(test.mask), Gateway4: wire(test.gateway),
			Mac: [6]uint8{2, 0x42, 0xac, 0x11, 0, 1},
		})
		equal(t, "network of "+test.gateway, networkOf(k, test.gateway), 3)
		must(t, k.ClearNetwork(3))
		equal(t, "network of "+test.gateway+" once it is gone", networkOf(k, test.gateway), 0)
		equal(t, "subnets", k.entries("subnets4"), 0)
		equal(t, test.subnet+" once it is gone", get[datapath.Network](k, "networks", uint32(3)), datapath.Network{})
	}
}

func TestNetworkInMemory(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	must(t, k.SetNetwork(3, network("172.17.0.0/16", "172.17.0.1")))
	raw, err := k.byName["networks"].LookupBytes(uint32(3))
	must(t, err)
	want := []byte{172, 17, 0, 0, 255, 255, 0, 0, 172, 17, 0, 1}
	if got := raw[8:20]; !bytes.Equal(got, want) {
		t.Errorf("subnet, mask and gateway: got %v, want %v", got, want)
	}
}

func TestSubnetsLeadToTheirNetworks(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	must(t, k.SetNetwork(1, network("172.17.0.0/16", "172.17.0.1")))
	must(t, k.SetNetwork(2, network("172.18.0.0/24", "172.18.0.1")))
	for addr, want := range map[string]uint32{
		"172.17.0.0": 1, "172.17.255.255": 1, "172.16.255.255": 0,
		"172.18.0.255": 2, "172.18.1.0": 0, "17.172.0.1": 0,
	} {
		equal(t, "network of "+addr, networkOf(k, addr), want)
	}
	must(t, k.ClearNetwork(1))
	equal(t, "network of the other's", networkOf(k, "172.18.0.9"), 2)
}

func TestSetAndClearNetworkTwice(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	for range 2 {
		must(t, k.SetNetwork(1, network("172.17.0.0/16", "172.17.0.1")))
		equal(t, "subnets", k.entries("subnets4"), 1)
	}
	for range 2 {
		must(t, k.ClearNetwork(1))
		equal(t, "subnets", k.entries("subnets4"), 0)
	}
}

// networkOf6 is networkOf for IPv6.
func networkOf6(k *kernel, addr string) (index uint32) {
	if k.byName["subnets6"].Lookup(datapath.SubnetKey6{PrefixLen: 128, Addr: wire6(addr)}, &index) != nil {
		return 0
	}
	return index
}

func TestNetworkWithIPv6(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	for _, test := range []struct{ subnet, gateway, first, mask string }{
		{"fd00:1:2:3::/64", "fd00:1:2:3::1", "fd00:1:2:3::", "ffff:ffff:ffff:ffff::"},
		{"fd00::77/115", "fd00::1", "fd00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:e000"},
		{"fd00::8/126", "fd00::9", "fd00::8", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc"},
	} {
		n := network("172.17.0.0/16", "172.17.0.1")
		n.Subnet6, n.Gateway6 = netip.MustParsePrefix(test.subnet), ip(test.gateway)
		must(t, k.SetNetwork(3, n))
		got := get[datapath.Network](k, "networks", uint32(3))
		equal(t, "subnet", got.Subnet6, wire6(test.first))
		equal(t, "mask", got.Mask6, wire6(test.mask))
		equal(t, "gateway", got.Gateway6, wire6(test.gateway))
		equal(t, "network of "+test.gateway, networkOf6(k, test.gateway), 3)
		equal(t, "network of another", networkOf6(k, "fd01::1"), 0)
		equal(t, "network of the IPv4 gateway", networkOf(k, "172.17.0.1"), 3)
		must(t, k.ClearNetwork(3))
		equal(t, "subnets once it is gone", k.entries("subnets4")+k.entries("subnets6"), 0)
	}
	must(t, k.SetNetwork(3, network("172.17.0.0/16", "172.17.0.1")))
	equal(t, "IPv6 subnets of a network without", k.entries("subnets6"), 0)
}
