package maps

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/sluice-net/sluice/internal/datapath"
)

// Tenured is a family's table of the halves that have proved themselves: an array
// of entries, which have the half and then its key, in sets of datapath.FlowWays, and
// one of the sets' tags (bpf/family/tenured.h). Keys and halves are the bytes of
// datapath.FlowKey4 and Flow4, or FlowKey6 and Flow6. Entries change by the datapath's
// own steps, so that it may change others meanwhile.
type Tenured struct {
	family        uint32
	entries, tags *ebpf.Map
	keySize       int
	program       *ebpf.Program
}

// NewTenured takes a loader's maps by name, and the program that changes their entries
// (loader.FlowTable). The family is 4 or 6.
func NewTenured(byName map[string]*ebpf.Map, family int, program *ebpf.Program) *Tenured {
	return &Tenured{
		family:  uint32(family),
		entries: byName[fmt.Sprintf("flows%d", family)],
		tags:    byName[fmt.Sprintf("flow_tags%d", family)],
		keySize: int(byName[fmt.Sprintf("nursery%d", family)].KeySize()),
		program: program,
	}
}

// FlowCapacity is how many halves a conntrack table holds. An array has twice as many
// entries: few of its sets are full before all together have so many halves.
func FlowCapacity(table *ebpf.Map) int {
	if table.Type() == ebpf.Array {
		return int(table.MaxEntries()) / 2
	}
	return int(table.MaxEntries())
}

// Each calls visit for every half that is there before and after, whatever the
// datapath does to others meanwhile. The bytes are good until visit returns.
func (t *Tenured) Each(visit func(key, half []byte) error) error {
	return EachTenured(t.entries, t.tags, func(entry []byte) error {
		return visit(entry[t.halfSize():], entry[:t.halfSize()])
	})
}

// putTries is how often Put is tried while packets take the entries of its set.
const putTries = 100

// Put inserts a half, and reports false when there is one of its key. In a full set
// it takes the place of one that is over, or else of the one idle for longest.
func (t *Tenured) Put(key, half []byte) (bool, error) {
	for range putTries {
		switch done, err := t.ask(datapath.FlowPut, key, half); {
		case err != nil:
			return false, err
		case done == datapath.FlowDone:
			return true, nil
		case done == datapath.FlowThere:
			return false, nil
		}
	}
	return false, fmt.Errorf("change flows%d: other CPUs were faster %d times", t.family, putTries)
}

// Erase removes the half of a key from this table and from the nursery, and reports
// whether one had it.
func (t *Tenured) Erase(key []byte) (bool, error) {
	done, err := t.ask(datapath.FlowErase, key, make([]byte, t.halfSize()))
	return done == datapath.FlowDone, err
}

// ask runs the program on a request. A frame of its own carries it, so that any number
// may ask at once.
func (t *Tenured) ask(operation uint32, key, half []byte) (done uint32, err error) {
	if len(key) != t.keySize || len(half) != t.halfSize() {
		return 0, fmt.Errorf("change flows%d: a key of %d bytes and a half of %d", t.family, len(key), len(half))
	}
	head, err := binary.Append(nil, binary.NativeEndian, datapath.FlowRequest{Operation: operation, Family: t.family})
	if err != nil {
		return 0, err
	}
	done, err = t.program.Run(&ebpf.RunOptions{Data: slices.Concat(head, half, key)})
	if err != nil {
		return 0, fmt.Errorf("change flows%d: %w", t.family, err)
	}
	return done, nil
}

// halfSize is how many bytes a half has.
func (t *Tenured) halfSize() int { return int(t.entries.ValueSize()) - t.keySize }
