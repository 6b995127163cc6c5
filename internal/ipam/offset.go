package ipam

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
)

// offset is an address's distance from the beginning of its subnet, which is
// the same as its host part. IPv6 needs more than 64 bits of it.
type offset struct{ hi, lo uint64 }

// offsetOf returns an address's place in the subnet that it is in.
func offsetOf(addr netip.Addr, subnet netip.Prefix) offset {
	hi, lo := words(addr)
	last := lastOffset(subnet)
	return offset{hi & last.hi, lo & last.lo}
}

// addrOf returns the subnet's address at an offset.
func addrOf(n offset, subnet netip.Prefix) netip.Addr {
	hi, lo := words(subnet.Masked().Addr())
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], hi|n.hi)
	binary.BigEndian.PutUint64(b[8:], lo|n.lo)
	if subnet.Addr().Is4() {
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return netip.AddrFrom16(b)
}

// words are an address's bits, those of an IPv4 address at the end.
func words(addr netip.Addr) (hi, lo uint64) {
	if addr.Is4() {
		b := addr.As4()
		return 0, uint64(binary.BigEndian.Uint32(b[:]))
	}
	b := addr.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}

// lastOffset is that of the subnet's last address: ones all over.
func lastOffset(subnet netip.Prefix) offset {
	ones := subnet.Addr().BitLen() - subnet.Bits()
	if ones > 64 {
		return offset{1<<(ones-64) - 1, ^uint64(0)}
	}
	return offset{0, 1<<ones - 1}
}

func (n offset) add(count uint64) offset {
	lo, carry := bits.Add64(n.lo, count, 0)
	return offset{n.hi + carry, lo}
}

func (n offset) subtract(count uint64) offset {
	lo, borrow := bits.Sub64(n.lo, count, 0)
	return offset{n.hi - borrow, lo}
}

func (n offset) less(other offset) bool {
	return n.hi < other.hi || n.hi == other.hi && n.lo < other.lo
}

// chunk returns the number of the offset's chunk, as keys have it, and the
// offset's bit in that chunk.
func (n offset) chunk(is4 bool) (number string, bit int) {
	hi, lo := n.hi/chunkBits, n.hi%chunkBits*(1<<64/chunkBits)+n.lo/chunkBits
	if is4 {
		return fmt.Sprintf("%05d", lo), int(n.lo % chunkBits)
	}
	return fmt.Sprintf("%s%x%016x", mark6, hi, lo), int(n.lo % chunkBits)
}
