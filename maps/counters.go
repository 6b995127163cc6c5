package maps

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
)

// RuleCounters returns a rule's counters.
func (m *Maps) RuleCounters(index uint32) (RuleCounters, error) {
	var perCPU []datapath.RuleCounters
	var sum RuleCounters
	if err := m.byName["rule_counts"].Lookup(index, &perCPU); err != nil {
		return sum, fmt.Errorf("read the counters of rule %d: %w", index, err)
	}
	for _, c := range perCPU {
		sum.Flows += c.Flows
		sum.FlowBytes += c.FlowBytes
		sum.Packets += c.Packets
		sum.Bytes += c.Bytes
	}
	return sum, nil
}

// Packets returns how many packets of a hook had a verdict.
func (m *Maps) Packets(hook datapath.Hook, verdict datapath.Verdict) (uint64, error) {
	return m.sum("packet_counts", uint32(hook)*uint32(datapath.Verdicts)+uint32(verdict))
}

// Drops returns how many packets were dropped for a reason.
func (m *Maps) Drops(reason reasons.Reason) (uint64, error) {
	return m.sum("drop_counts", uint32(reason))
}

func (m *Maps) sum(name string, index uint32) (uint64, error) {
	var perCPU []uint64
	if err := m.byName[name].Lookup(index, &perCPU); err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	var sum uint64
	for _, n := range perCPU {
		sum += n
	}
	return sum, nil
}

// Entries counts the entries of every hash map, by name. It walks them.
func (m *Maps) Entries() (map[string]int, error) {
	counts := map[string]int{}
	for name, table := range m.byName {
		switch table.Type() {
		case ebpf.Hash, ebpf.LRUHash, ebpf.LPMTrie:
		default:
			continue
		}
		n, err := entries(table)
		if err != nil {
			return nil, fmt.Errorf("count %s: %w", name, err)
		}
		counts[name] = n
	}
	return counts, nil
}

func entries(table *ebpf.Map) (int, error) {
	key := make([]byte, table.KeySize())
	value := make([]byte, table.ValueSize())
	iterator := table.Iterate()
	n := 0
	for iterator.Next(&key, &value) {
		n++
	}
	return n, iterator.Err()
}
