package maps

import (
	"encoding/binary"
	"net/netip"

	"github.com/sluice-net/sluice/internal/datapath"
)

// raw4 is an IPv4 address as the datapath holds it: network byte order in memory.
// Of anything else it is 0.
func raw4(addr netip.Addr) uint32 {
	if !addr.Is4() {
		return 0
	}
	bytes := addr.As4()
	return binary.NativeEndian.Uint32(bytes[:])
}

func addr4(raw uint32) netip.Addr {
	var bytes [4]byte
	binary.NativeEndian.PutUint32(bytes[:], raw)
	return netip.AddrFrom4(bytes)
}

// raw6 is an IPv6 address as the datapath holds it. A zone is left out; of
// anything else it is ::.
func raw6(addr netip.Addr) datapath.Addr6 {
	if !addr.Is6() {
		return datapath.Addr6{}
	}
	return datapath.Addr6{Bytes: addr.As16()}
}

func addr6(raw datapath.Addr6) netip.Addr { return netip.AddrFrom16(raw.Bytes) }

// mask4 is the netmask of an IPv4 prefix, in network byte order.
func mask4(prefix netip.Prefix) uint32 {
	var bytes [4]byte
	binary.BigEndian.PutUint32(bytes[:], ^uint32(0)<<(32-prefix.Bits()))
	return binary.NativeEndian.Uint32(bytes[:])
}

// mask6 is the netmask of an IPv6 prefix; :: of none.
func mask6(prefix netip.Prefix) (mask datapath.Addr6) {
	for i := range max(0, prefix.Bits()) {
		mask.Bytes[i/8] |= 0x80 >> (i % 8)
	}
	return mask
}
