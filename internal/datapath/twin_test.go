package datapath_test

import (
	"net/netip"
	"testing"
)

// six is the twin in IPv6 of an address of the cast: what one means in IPv4 the
// other means in IPv6. Addresses of hosts become 2001:db8:AABB::CCDD.
func six(addr netip.Addr) netip.Addr {
	if addr.Is6() || !addr.IsValid() {
		return addr
	}
	b := addr.As4()
	switch {
	case addr == loopback.addr:
		return netip.IPv6Loopback()
	case addr.IsLoopback():
		return netip.AddrFrom16(addr.As16()) // IPv4's in disguise
	case b[0] == 0:
		return netip.IPv6Unspecified()
	case addr.IsMulticast():
		return netip.MustParseAddr("ff02::1")
	}
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, b[0], b[1], 14: b[2], b[3]})
}

// sixPrefix is the twin of a prefix: of the twins of all its addresses.
func sixPrefix(prefix netip.Prefix) netip.Prefix {
	bits := 32 + prefix.Bits()
	if prefix.Bits() > 16 {
		bits = 96 + prefix.Bits()
	}
	return netip.PrefixFrom(six(prefix.Masked().Addr()), bits)
}

func TestTwins(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"172.17.0.2": "2001:db8:ac11::2", "192.0.2.1": "2001:db8:c000::201", "127.0.0.1": "::1", "127.0.0.11": "::ffff:127.0.0.11",
		"0.0.0.0": "::", "224.0.0.1": "ff02::1",
	} {
		expectEqual(t, addr, six(netip.MustParseAddr(addr)), netip.MustParseAddr(want))
	}
	for _, prefix := range []netip.Prefix{subnetOne, sideways, chosenSource, netip.MustParsePrefix("192.0.2.0/24")} {
		for _, addr := range []netip.Addr{prefix.Addr(), remoteAddr, hostAddr, sideways.Addr().Prev()} {
			expectEqual(t, prefix.String()+" contains "+addr.String(), sixPrefix(prefix).Contains(six(addr)), prefix.Contains(addr))
		}
	}
}
