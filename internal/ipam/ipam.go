// Package ipam hands out the addresses of networks. A network has a subnet of
// IPv4 and may have one of IPv6. The addresses of a subnet are a bitmap in the
// store, cut into chunks, so that taking or giving back one address writes one
// chunk, and a subnet of 2^64 addresses costs as little as a small one. It works
// inside the caller's transaction, so that an address and the record of who has
// it are committed together.
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

const (
	bucket     = "ipam"
	chunkBytes = 512
	chunkBits  = chunkBytes * 8
	// mark6 begins the chunk numbers of IPv6 subnets, in hexadecimal; those of
	// IPv4 are decimal.
	mark6 = "v6-"
)

// Reserved is how many addresses of a subnet no endpoint gets: of IPv4 the
// network's own, the broadcast and the gateway's address; of IPv6, which has no
// broadcast, the anycast address of its routers (RFC 4291, 2.6.1) and the
// gateway's.
func Reserved(subnet netip.Prefix) int {
	if subnet.Addr().Is4() {
		return 3
	}
	return 2
}

// AddSubnet gives a network a subnet and reserves the addresses that no
// endpoint gets.
func AddSubnet(tx *store.Tx, network string, subnet netip.Prefix, gateway netip.Addr) error {
	p := pool{tx: tx, network: network, subnet: subnet}
	reserved := []offset{{}, offsetOf(gateway, subnet)}
	if subnet.Addr().Is4() {
		reserved = append(reserved, lastOffset(subnet))
	}
	for _, n := range reserved {
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

// Count is how many addresses of a network's subnets are taken or reserved.
type Count struct{ IPv4, IPv6 int }

// Taken counts the addresses that are taken or reserved, by network.
func Taken(tx *store.Tx) (map[string]Count, error) {
	taken := map[string]Count{}
	err := tx.Each(bucket, func(key string, chunk []byte) error {
		network, number, _ := strings.Cut(key, "/")
		ones := 0
		for i := 0; i+8 <= len(chunk); i += 8 {
			ones += bits.OnesCount64(binary.LittleEndian.Uint64(chunk[i:]))
		}
		count := taken[network]
		if strings.HasPrefix(number, mark6) {
			count.IPv6 += ones
		} else {
			count.IPv4 += ones
		}
		taken[network] = count
		return nil
	})
	return taken, err
}

// Allocate takes the lowest free address of the subnet.
func Allocate(tx *store.Tx, network string, subnet netip.Prefix) (netip.Addr, error) {
	p := pool{tx: tx, network: network, subnet: subnet}
	n, err := p.lowestFree()
	if err != nil {
		return netip.Addr{}, err
	}
	return addrOf(n, subnet), p.set(n)
}

// AllocateHigh takes an address in the last quarter of the subnet, which
// follows from seed, or when that is taken the highest free one.
func AllocateHigh(tx *store.Tx, network string, subnet netip.Prefix, seed uint32) (netip.Addr, error) {
	p := pool{tx: tx, network: network, subnet: subnet}
	last := lastOffset(subnet)
	n := last.subtract(uint64(seed) % (last.lo/4 + 1))
	if p.isSet(n) {
		var err error
		if n, err = p.highestFree(); err != nil {
			return netip.Addr{}, err
		}
	}
	return addrOf(n, subnet), p.set(n)
}

// Request takes one address of the subnet.
func Request(tx *store.Tx, network string, subnet netip.Prefix, addr netip.Addr) error {
	if !subnet.Contains(addr) {
		return fmt.Errorf("%s: %w %s", addr, ErrOutside, subnet)
	}
	p := pool{tx: tx, network: network, subnet: subnet}
	n := offsetOf(addr, subnet)
	if p.isSet(n) {
		return fmt.Errorf("%s: %w", addr, ErrInUse)
	}
	return p.set(n)
}

// Release gives an address back. One that is free stays free.
func Release(tx *store.Tx, network string, subnet netip.Prefix, addr netip.Addr) error {
	p := pool{tx: tx, network: network, subnet: subnet}
	return p.clear(offsetOf(addr, subnet))
}

// pool is the bitmap of one of a network's subnets. Bit n stands for the
// subnet's nth address; chunks without a set bit may be absent.
type pool struct {
	tx      *store.Tx
	network string
	subnet  netip.Prefix
}

// locate returns the key of the chunk that has bit n, and the bit in it.
func (p pool) locate(n offset) (key string, bit int) {
	number, bit := n.chunk(p.subnet.Addr().Is4())
	return p.network + "/" + number, bit
}

func (p pool) isSet(n offset) bool {
	key, bit := p.locate(n)
	c := p.tx.GetRaw(bucket, key)
	return c != nil && c[bit/8]&(1<<(bit%8)) != 0
}

func (p pool) set(n offset) error {
	key, bit := p.locate(n)
	c := p.chunk(key)
	c[bit/8] |= 1 << (bit % 8)
	return p.tx.PutRaw(bucket, key, c)
}

func (p pool) clear(n offset) error {
	if !p.isSet(n) {
		return nil
	}
	key, bit := p.locate(n)
	c := p.chunk(key)
	c[bit/8] &^= 1 << (bit % 8)
	if bytes.Equal(c, make([]byte, chunkBytes)) {
		return p.tx.Delete(bucket, key)
	}
	return p.tx.PutRaw(bucket, key, c)
}

// chunk returns a copy of a chunk.
func (p pool) chunk(key string) []byte {
	c := make([]byte, chunkBytes)
	copy(c, p.tx.GetRaw(bucket, key))
	return c
}

// highestFree looks from the subnet's end on. What is taken there is little.
func (p pool) highestFree() (offset, error) {
	for n := lastOffset(p.subnet); ; n = n.subtract(1) {
		if !p.isSet(n) {
			return n, nil
		}
		if n == (offset{}) {
			return n, fmt.Errorf("%s: %w", p.subnet, ErrExhausted)
		}
	}
}

func (p pool) lowestFree() (offset, error) {
	last := lastOffset(p.subnet)
	for start := (offset{}); !last.less(start); start = start.add(chunkBits) {
		key, _ := p.locate(start)
		c := p.tx.GetRaw(bucket, key)
		if c == nil {
			return start, nil
		}
		for i := 0; i < chunkBytes; i += 8 {
			word := binary.LittleEndian.Uint64(c[i:])
			if word == ^uint64(0) {
				continue
			}
			n := start.add(uint64(i*8 + bits.TrailingZeros64(^word)))
			if last.less(n) {
				break
			}
			return n, nil
		}
	}
	return offset{}, fmt.Errorf("%s: %w", p.subnet, ErrExhausted)
}
