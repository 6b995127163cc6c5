package maps_test

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/maps"
)

// fill gives each CPU's slot of a per-CPU map the value.
func fill[V any](k *kernel, name string, index uint32, value V) (cpus uint64) {
	k.t.Helper()
	n, err := ebpf.PossibleCPU()
	must(k.t, err)
	values := make([]V, n)
	for i := range values {
		values[i] = value
	}
	must(k.t, k.byName[name].Put(index, values))
	return uint64(n)
}

func TestCountersAreSummedOverCPUs(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	cpus := fill(k, "rule_counts", 9, datapath.RuleCounters{Flows: 1, FlowBytes: 20, Packets: 300, Bytes: 4000})
	counters, err := k.RuleCounters(9)
	must(t, err)
	equal(t, "rule 9", counters, maps.RuleCounters{Flows: cpus, FlowBytes: 20 * cpus, Packets: 300 * cpus, Bytes: 4000 * cpus})
	counters, err = k.RuleCounters(8)
	must(t, err)
	equal(t, "rule 8", counters, maps.RuleCounters{})
	all, err := k.AllRuleCounters(9)
	must(t, err)
	equal(t, "rules from 0 to 9", len(all), 10)
	equal(t, "rule 9 of all", all[9], maps.RuleCounters{Flows: cpus, FlowBytes: 20 * cpus, Packets: 300 * cpus, Bytes: 4000 * cpus})
	equal(t, "rule 8 of all", all[8], maps.RuleCounters{})
	last := k.byName["rule_counts"].MaxEntries() - 1
	fill(k, "rule_counts", last, datapath.RuleCounters{Flows: 1})
	all, err = k.AllRuleCounters(last)
	must(t, err)
	equal(t, "every rule", len(all), int(last)+1)
	equal(t, "the last rule of all", all[last], maps.RuleCounters{Flows: cpus})
	if _, err := k.AllRuleCounters(last + 1); err == nil {
		t.Error("counters up to a rule that cannot be")
	}
	if _, err := k.RuleCounters(last + 1); err == nil {
		t.Error("counters of a rule that cannot be")
	}
}

// Every pair of hook and verdict has a counter of its own, where the programs
// count it: hook * VERDICTS + verdict.
func TestPackets(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	slot := uint32(0)
	for hook := datapath.HookContainer; hook <= datapath.HookResolver; hook++ {
		for verdict := range datapath.Verdicts {
			cpus := fill(k, "packet_counts", slot, uint64(slot)+1)
			got, err := k.Packets(hook, verdict)
			must(t, err)
			equal(t, "packets", got, cpus*(uint64(slot)+1))
			slot++
		}
	}
	equal(t, "counters", slot, k.byName["packet_counts"].MaxEntries())
}

func TestDrops(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	last := k.byName["drop_counts"].MaxEntries() - 1
	for _, slot := range []uint32{0, 1, last} {
		cpus := fill(k, "drop_counts", slot, uint64(slot)+7)
		got, err := k.Drops(reasons.Reason(slot))
		must(t, err)
		equal(t, "drops", got, cpus*(uint64(slot)+7))
	}
	if _, err := k.Drops(reasons.Reason(last + 1)); err == nil {
		t.Error("drops for a reason that is none")
	}
}

func TestNewNamesTheMapThatIsMissing(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	for name := range k.byName {
		switch name {
		case "fragments4", "fragments6", "scratch_flows6", "workspaces", "snat_cursors", "answer_limits", "scratch_flows4", "socket_origins",
			"next_hops4", "next_hops6", "device_hints", "waiting4", "waiting6", "waiting_ends", "carrying_until", "flow_seeds":
			continue // the datapath's alone
		}
		without := map[string]*ebpf.Map{}
		for other, m := range k.byName {
			if other != name {
				without[other] = m
			}
		}
		if _, err := maps.New(without, k.table); err == nil || !strings.Contains(err.Error(), "map "+name+" ") {
			t.Errorf("without %s: %v", name, err)
		}
	}
}
