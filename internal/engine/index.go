package engine

import (
	"fmt"
	"math/bits"

	"github.com/sluice-net/sluice/internal/apierr"
)

// Capacities of the datapath's maps, as bpf/types.h has them; index 0 means none in
// each.
const (
	maxNetworks  = 1024
	maxEndpoints = 16384
	maxAliases   = 4096
	maxRules     = 16384
)

// indexes are the numbers from 1 to capacity-1 that one of the datapath's
// arrays gives out.
type indexes struct {
	what     string // plural, for messages
	capacity uint32
	used     []uint64
}

func newIndexes(what string, capacity uint32) *indexes {
	x := &indexes{what: what, capacity: capacity, used: make([]uint64, capacity/64)}
	x.take(0)
	return x
}

func (x *indexes) take(n uint32)    { x.used[n/64] |= 1 << (n % 64) }
func (x *indexes) release(n uint32) { x.used[n/64] &^= 1 << (n % 64) }

// free returns the lowest count numbers that are free, and does not take them.
func (x *indexes) free(count int) ([]uint32, error) {
	found := make([]uint32, 0, count)
	for i := range x.used {
		for word := ^x.used[i]; word != 0 && len(found) < count; word &= word - 1 {
			found = append(found, uint32(i*64+bits.TrailingZeros64(word)))
		}
	}
	if len(found) < count {
		return nil, apierr.Conflict("there are too many %s: the limit is %d", x.what, x.capacity-1)
	}
	return found, nil
}

// takeStored takes a number that a record holds.
func (x *indexes) takeStored(n uint32) error {
	if n >= x.capacity {
		return fmt.Errorf("a record has the number %d, but %s go up to %d", n, x.what, x.capacity-1)
	}
	x.take(n)
	return nil
}
