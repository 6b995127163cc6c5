package ipam

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/sluice-net/sluice/internal/store"
)

// ErrNoPool6 is returned by ChoosePool6 when every default subnet is taken.
var ErrNoPool6 = errors.New("every default IPv6 subnet overlaps a network or a route of the host: name one with --subnet")

const (
	poolBucket = "pools"
	localKey   = "ula"
)

// UniqueLocal returns the /48 that the instance's default IPv6 subnets are cut
// from, and chooses it the first time. It is a unique local prefix with a random
// global ID of 40 bits (RFC 4193, 3.2), so that two hosts whose networks meet
// one day most likely have different ones.
func UniqueLocal(db *store.DB) (prefix netip.Prefix, err error) {
	err = db.Get(poolBucket, localKey, &prefix)
	if !errors.Is(err, store.ErrNotFound) {
		return prefix, err
	}
	bytes := [16]byte{0xfd}
	rand.Read(bytes[1:6]) // never fails
	prefix = netip.PrefixFrom(netip.AddrFrom16(bytes), 48)
	if err := db.Put(poolBucket, localKey, prefix); err != nil {
		return netip.Prefix{}, fmt.Errorf("note the unique local prefix: %w", err)
	}
	return prefix, nil
}

// ChoosePool6 returns the first /64 of a /48 that overlaps none of taken.
func ChoosePool6(local netip.Prefix, taken []netip.Prefix) (netip.Prefix, error) {
	bytes := local.Addr().As16()
	for subnetID := range 1 << 16 {
		binary.BigEndian.PutUint16(bytes[6:], uint16(subnetID))
		pool := netip.PrefixFrom(netip.AddrFrom16(bytes), 64)
		if _, overlaps := Overlap(pool, taken); !overlaps {
			return pool, nil
		}
	}
	return netip.Prefix{}, ErrNoPool6
}
