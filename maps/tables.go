package maps

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/cilium/ebpf"
)

// Occupancy is what the maps hold.
type Occupancy struct {
	// Tables has the rules and every map with entries of its own, by name.
	Tables map[string]Table
	// Flows are the halves of flows in the conntrack tables. Those that have
	// timed out count until their place is taken.
	Flows map[FlowKind]int
}

// Table is how full a map is.
type Table struct{ Entries, Capacity int }

// FlowKind is what halves of flows are counted by.
type FlowKind struct {
	Family   int   // 4 or 6
	Protocol uint8 // IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP or IPPROTO_ICMPV6
}

// Occupancy counts what the maps hold. It walks each of them once, in batches:
// some 40 ms for a full conntrack table.
func (m *Maps) Occupancy() (Occupancy, error) {
	o := Occupancy{Tables: map[string]Table{}, Flows: map[FlowKind]int{}}
	for name, table := range m.byName {
		switch table.Type() {
		case ebpf.Hash, ebpf.LRUHash, ebpf.LPMTrie:
		default:
			continue
		}
		if slices.ContainsFunc(flowTables, func(t flowTable) bool { return t.name == name }) {
			continue
		}
		n, err := countEntries(table)
		if err != nil {
			return Occupancy{}, fmt.Errorf("count %s: %w", name, err)
		}
		o.Tables[name] = Table{Entries: n, Capacity: int(table.MaxEntries())}
	}
	for _, t := range flowTables {
		n := 0
		err := t.protocols(m, func(protocol uint8) {
			n++
			o.Flows[FlowKind{Family: t.family, Protocol: protocol}]++
		})
		if err != nil {
			return Occupancy{}, err
		}
		o.Tables[t.name] = Table{Entries: n, Capacity: int(m.byName[t.name].MaxEntries())}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o.Tables["rules"] = Table{Entries: len(m.rules.all), Capacity: int(m.byName["rules"].MaxEntries()) - 1}
	return o, nil
}

func countEntries(table *ebpf.Map) (n int, err error) {
	size := batchSize(table)
	keys, values := blank(table.KeySize(), size), blank(table.ValueSize(), size)
	err = eachBatch(table, keys, values, func(found int) { n += found })
	return n, err
}

// blank is a slice of n keys or values of some bytes, for who wants to count
// them and not to look at them.
func blank(bytes uint32, n int) any {
	element := reflect.ArrayOf(int(bytes), reflect.TypeFor[byte]())
	return reflect.MakeSlice(reflect.SliceOf(element), n, n).Interface()
}

// batchSize is how many entries one system call reads: about 256 KiB of them,
// no more than there can be, and more than a bucket of a hash map ever has.
func batchSize(table *ebpf.Map) int {
	return int(min(table.MaxEntries(), max(256, 256<<10/(table.KeySize()+table.ValueSize()))))
}

// eachBatch reads a map into keys and values, again and again until its end,
// and tells how many are there each time.
func eachBatch(table *ebpf.Map, keys, values any, visit func(n int)) error {
	var cursor ebpf.MapBatchCursor
	for {
		n, err := table.BatchLookup(&cursor, keys, values, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		visit(n)
		if err != nil {
			return nil
		}
	}
}
