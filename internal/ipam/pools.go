package ipam

import (
	"errors"
	"net/netip"
)

// ErrNoPool is returned by ChoosePool when every default pool is taken.
var ErrNoPool = errors.New("every default subnet overlaps a network or a route of the host: name one with --subnet")

// ChoosePool returns the first default subnet that overlaps none of taken.
func ChoosePool(taken []netip.Prefix) (netip.Prefix, error) {
	for _, pool := range defaultPools() {
		if _, overlaps := Overlap(pool, taken); !overlaps {
			return pool, nil
		}
	}
	return netip.Prefix{}, ErrNoPool
}

// Overlap returns the first of taken that has an address in common with
// subnet.
func Overlap(subnet netip.Prefix, taken []netip.Prefix) (netip.Prefix, bool) {
	for _, t := range taken {
		if t.Overlaps(subnet) {
			return t, true
		}
	}
	return netip.Prefix{}, false
}

// defaultPools begin as Docker's, 172.17.0.0/16 to 172.31.0.0/16 and then /20s of
// 192.168.0.0/16. Its upper half is cut into /24s, where Docker goes on with
// /20s and has had 31 in all: a machine with many small networks runs out of
// those. Addresses of 10.0.0.0/8 are not ours to take: companies route them.
func defaultPools() []netip.Prefix {
	var pools []netip.Prefix
	for second := byte(17); second <= 31; second++ {
		pools = append(pools, netip.PrefixFrom(netip.AddrFrom4([4]byte{172, second}), 16))
	}
	for third := 0; third < 128; third += 16 {
		pools = append(pools, netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(third)}), 20))
	}
	for third := 128; third < 256; third++ {
		pools = append(pools, netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(third)}), 24))
	}
	return pools
}
