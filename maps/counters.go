package maps

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
)

// RuleCounters returns a rule's counters.
func (m *Maps) RuleCounters(index uint32) (RuleCounters, error) {
	var perCPU []datapath.RuleCounters
	if err := m.byName["rule_counts"].Lookup(index, &perCPU); err != nil {
		return RuleCounters{}, fmt.Errorf("read the counters of rule %d: %w", index, err)
	}
	return sumRule(perCPU), nil
}

// AllRuleCounters returns the counters of the rules from 0 to last, by index,
// in a few system calls.
func (m *Maps) AllRuleCounters(last uint32) ([]RuleCounters, error) {
	table := m.byName["rule_counts"]
	if last >= table.MaxEntries() {
		return nil, fmt.Errorf("read the counters of rule %d: the last one is %d", last, table.MaxEntries()-1)
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, err
	}
	sums := make([]RuleCounters, 0, last+1)
	indices := make([]uint32, min(last+1, 1024))
	values := make([]datapath.RuleCounters, len(indices)*cpus)
	var cursor ebpf.MapBatchCursor
	for len(sums) <= int(last) {
		n, err := table.BatchLookup(&cursor, indices, values, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil, fmt.Errorf("read the counters of the rules: %w", err)
		}
		if n == 0 {
			return nil, fmt.Errorf("read the counters of the rules: rule %d is missing", len(sums))
		}
		for i := range min(n, int(last)+1-len(sums)) {
			sums = append(sums, sumRule(values[i*cpus:(i+1)*cpus]))
		}
	}
	return sums, nil
}

func sumRule(perCPU []datapath.RuleCounters) (sum RuleCounters) {
	for _, c := range perCPU {
		sum.Flows += c.Flows
		sum.FlowBytes += c.FlowBytes
		sum.Packets += c.Packets
		sum.Bytes += c.Bytes
	}
	return sum
}

// Packets returns how many packets of a hook had a verdict.
func (m *Maps) Packets(hook datapath.Hook, verdict datapath.Verdict) (uint64, error) {
	return m.sum("packet_counts", uint32(hook)*uint32(datapath.Verdicts)+uint32(verdict))
}

// Drops returns how many packets were dropped for a reason.
func (m *Maps) Drops(reason reasons.Reason) (uint64, error) {
	return m.sum("drop_counts", uint32(reason))
}

// MasqueradeRetries returns how many source ports masquerade has tried and found taken.
func (m *Maps) MasqueradeRetries() (uint64, error) { return m.sum("masquerade_retries", 0) }

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
