package bench

import (
	"net/netip"

	"github.com/sluice-net/sluice/internal/netdev"
)

// family is the addresses that the worlds have in one IP version. Prefixes are
// of an address, and say what is on its link.
type family struct {
	name         string
	bits         int
	host, client netip.Prefix    // the wire
	outside      netip.Prefix    // behind the client
	gateways     [2]netip.Prefix // of the bridges that we make ourselves
	vip          netip.Addr      // before the second bridge's container
	subnet       netip.Prefix    // of sluice's network
}

var (
	ipv4 = family{
		name:     "ipv4",
		bits:     32,
		host:     netip.MustParsePrefix("192.0.2.1/24"),
		client:   netip.MustParsePrefix("192.0.2.2/24"),
		outside:  netip.MustParsePrefix("198.18.0.0/15"),
		gateways: [2]netip.Prefix{netip.MustParsePrefix("172.17.0.1/16"), netip.MustParsePrefix("172.18.0.1/16")},
		vip:      netip.MustParseAddr("10.96.0.10"),
		subnet:   netip.MustParsePrefix("172.20.0.0/16"),
	}
	ipv6 = family{
		name:     "ipv6",
		bits:     128,
		host:     netip.MustParsePrefix("2001:db8:1::1/64"),
		client:   netip.MustParsePrefix("2001:db8:1::2/64"),
		outside:  netip.MustParsePrefix("2001:db8:99::/64"),
		gateways: [2]netip.Prefix{netip.MustParsePrefix("fd00:17::1/64"), netip.MustParsePrefix("fd00:18::1/64")},
		vip:      netip.MustParseAddr("fd00:96::10"),
		subnet:   netip.MustParsePrefix("fd00:20::/64"),
	}
)

// families are those that this kernel has.
func families() []*family {
	if netdev.RequireIPv6() != nil {
		return []*family{&ipv4}
	}
	return []*family{&ipv4, &ipv6}
}

// container is the address of the only container on the i-th bridge.
func (f *family) container(i int) netip.Prefix {
	return netip.PrefixFrom(f.gateways[i].Addr().Next(), f.gateways[i].Bits())
}

// of returns the address of this family; the zero one if there is none.
func (f *family) of(addrs []netip.Addr) netip.Addr {
	for _, addr := range addrs {
		if addr.BitLen() == f.bits && !addr.IsLinkLocalUnicast() {
			return addr
		}
	}
	return netip.Addr{}
}
