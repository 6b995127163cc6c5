package maps_test

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/maps"
)

// TestSweep takes away what a crash may have left, of both families, and spares
// what is in use.
func TestSweep(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	for i, last := range []string{"1", "2"} {
		index := uint32(i + 1)
		n := network("172.1"+last+".0.0/16", "172.1"+last+".0.1")
		n.Subnet6, n.Gateway6 = netip.MustParsePrefix("fd00:"+last+"::/64"), ip("fd00:"+last+"::1")
		must(t, k.SetNetwork(uint16(index), n))
		must(t, k.SetEndpoint(index, maps.Endpoint{
			Network: uint16(index), Addr: ip("172.1" + last + ".0.2"), Addr6: ip("fd00:" + last + "::2"), Ifindex: 10 + index,
		}))
		must(t, k.SetAlias(index, maps.Alias{Addr: ip("172.1" + last + ".255.1"), Addr6: ip("fd00:" + last + "::ffff"), Rule: index}))
		for j, addr := range []string{"0.0.0.0", "::"} {
			must(t, k.SetRule(index*10+uint32(j), publish(tcp, addr, uint16(8000+index), uint16(8000+index))))
		}
	}
	use := maps.InUse{
		Networks: map[uint32]bool{1: true}, Endpoints: map[uint32]bool{1: true}, Rules: map[uint32]bool{10: true, 11: true},
		Aliases: map[netip.Addr]bool{ip("172.11.255.1"): true, ip("fd00:1::ffff"): true},
	}
	// What leads to another index than the right one goes too.
	must(t, k.byName["endpoints6"].Put(wire6("fd00:1::3"), uint32(1)))
	must(t, k.byName["subnets6"].Put(datapath.SubnetKey6{PrefixLen: 64, Addr: wire6("fd00:3::")}, uint32(1)))
	must(t, k.Sweep(use))
	for _, name := range []string{"subnets4", "subnets6", "devices", "endpoints4", "endpoints6", "vips4", "vips6"} {
		equal(t, name, k.entries(name), 1)
	}
	equal(t, "the network in use", networkOf6(k, "fd00:1::9"), 1)
	equal(t, "the other network", networkOf6(k, "fd00:2::9"), 0)
	equal(t, "the endpoint in use", get[uint32](k, "endpoints6", wire6("fd00:1::2")), 1)
	equal(t, "the rule in use", k.published(unix.IPPROTO_TCP, ip("2001:db8::1"), 8001), 11)
	equal(t, "the other rule", k.published(unix.IPPROTO_TCP, ip("2001:db8::1"), 8002), 0)
}
