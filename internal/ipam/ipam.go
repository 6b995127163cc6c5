// Package ipam hands out the addresses of networks. A network's addresses are
// a bitmap in the store, cut into chunks, so that taking or giving back one
// address writes one chunk; it works inside the caller's transaction, so that
// an address and the record of who has it are committed together.
package ipam

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"strings"

	"github.com/sluice-net/sluice/internal/store"
)

var (
	// ErrExhausted: the network has no free address.
	ErrExhausted = errors.New("no free address in the network")
	// ErrInUse: the requested address is taken or reserved.
	ErrInUse = errors.New("address already in use")
	// ErrOutside: the requested address is not in the network's subnet.
	ErrOutside = errors.New("address outside the subnet")
)

// Reserved is how many addresses of a network no endpoint gets: the network's
// own, the broadcast and the gateway's address.
const Reserved = 3

const (
	bucket     = "ipam"
	chunkBytes = 512
	chunkBits  = chunkBytes * 8
)

// AddNetwork reserves the network, broadcast and gateway addresses of the IPv4
// subnet.
func AddNetwork(tx *store.Tx, network string, subnet netip.Prefix, gateway netip.Addr) error {
	p := pool{tx: tx, network: network, subnet: subnet}
	for _, n := range []uint32{0, p.size() - 1, p.offset(gateway)} {
		if err := p.set(n); err != nil {
			return err
		}
	}
	return nil
}

// RemoveNetwork forgets every address of the network.
func RemoveNetwork(tx *store.Tx, network string) error {
	var keys []string
	err := tx.Each(bucket, func(key string, _ []byte) error {
		if strings.HasPrefix(key, network+"/") {
			keys = append(keys, key)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := tx.Delete(bucket, key); err != nil {
			return err
		}
	}
	return nil
}

// Taken counts the addresses that are taken or reserved, by network.
func Taken(tx *store.Tx) (map[string]int, error) {
	taken := map[string]int{}
	err := tx.Each(bucket, func(key string, chunk []byte) error {
		network, _, _ := strings.Cut(key, "/")
		for i := 0; i+8 <= len(chunk); i += 8 {
			taken[network] += bits.OnesCount64(binary.LittleEndian.Uint64(chunk[i:]))
		}
		return nil
	})
	return taken, err
}

// Allocate takes the lowest free address of the network.
func Allocate(tx *store.Tx, network string, subnet netip.Prefix) (netip.Addr, error) {
	p := pool{tx: tx, network: network, subnet: subnet}
	n, err := p.lowestFree()
	if err != nil {
		return netip.Addr{}, err
	}
	return p.addr(n), p.set(n)
}

// AllocateHigh takes an address in the last quarter of the network, which
// follows from seed, or when that is taken the highest free one.
func AllocateHigh(tx *store.Tx, network string, subnet netip.Prefix, seed uint32) (netip.Addr, error) {
	p := pool{tx: tx, network: network, subnet: subnet}
	n := p.size() - 1 - seed%max(p.size()/4, 1)
	if p.isSet(n) {
		var err error
		if n, err = p.highestFree(); err != nil {
			return netip.Addr{}, err
		}
	}
	return p.addr(n), p.set(n)
}

// Request takes one address of the network.
func Request(tx *store.Tx, network string, subnet netip.Prefix, addr netip.Addr) error {
	if !subnet.Contains(addr) {
		return fmt.Errorf("%s: %w %s", addr, ErrOutside, subnet)
	}
	p := pool{tx: tx, network: network, subnet: subnet}
	n := p.offset(addr)
	if p.isSet(n) {
		return fmt.Errorf("%s: %w", addr, ErrInUse)
	}
	return p.set(n)
}

// Release gives an address back. One that is free stays free.
func Release(tx *store.Tx, network string, subnet netip.Prefix, addr netip.Addr) error {
	p := pool{tx: tx, network: network, subnet: subnet}
	return p.clear(p.offset(addr))
}

// pool is one network's bitmap. Bit n stands for the subnet's nth address;
// chunks without a set bit may be absent.
type pool struct {
	tx      *store.Tx
	network string
	subnet  netip.Prefix
}

// size is the number of addresses of the subnet, the reserved ones included.
func (p pool) size() uint32 { return 1 << (32 - p.subnet.Bits()) }

func (p pool) offset(addr netip.Addr) uint32 {
	return toUint(addr) - toUint(p.subnet.Masked().Addr())
}

func (p pool) addr(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], toUint(p.subnet.Masked().Addr())+n)
	return netip.AddrFrom4(b)
}

func toUint(addr netip.Addr) uint32 {
	b := addr.As4()
	return binary.BigEndian.Uint32(b[:])
}

func (p pool) key(n uint32) string { return fmt.Sprintf("%s/%05d", p.network, n/chunkBits) }

// chunk returns a copy of the chunk that has bit n.
func (p pool) chunk(n uint32) []byte {
	c := make([]byte, chunkBytes)
	copy(c, p.tx.GetRaw(bucket, p.key(n)))
	return c
}

func (p pool) isSet(n uint32) bool {
	c := p.tx.GetRaw(bucket, p.key(n))
	return c != nil && c[n%chunkBits/8]&(1<<(n%8)) != 0
}

func (p pool) set(n uint32) error {
	c := p.chunk(n)
	c[n%chunkBits/8] |= 1 << (n % 8)
	return p.tx.PutRaw(bucket, p.key(n), c)
}

func (p pool) clear(n uint32) error {
	if !p.isSet(n) {
		return nil
	}
	c := p.chunk(n)
	c[n%chunkBits/8] &^= 1 << (n % 8)
	if bytes.Equal(c, make([]byte, chunkBytes)) {
		return p.tx.Delete(bucket, p.key(n))
	}
	return p.tx.PutRaw(bucket, p.key(n), c)
}

func (p pool) highestFree() (uint32, error) {
	for n := p.size(); n > 0; n-- {
		if !p.isSet(n - 1) {
			return n - 1, nil
		}
	}
	return 0, fmt.Errorf("%s: %w", p.subnet, ErrExhausted)
}

func (p pool) lowestFree() (uint32, error) {
	for start := uint32(0); start < p.size(); start += chunkBits {
		c := p.tx.GetRaw(bucket, p.key(start))
		if c == nil {
			return start, nil
		}
		for i := 0; i < chunkBytes; i += 8 {
			word := binary.LittleEndian.Uint64(c[i:])
			if word == ^uint64(0) {
				continue
			}
			n := start + uint32(i*8+bits.TrailingZeros64(^word))
			if n >= p.size() {
				break
			}
			return n, nil
		}
	}
	return 0, fmt.Errorf("%s: %w", p.subnet, ErrExhausted)
}
