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
	if _, err := k.RuleCounters(k.byName["rule_counts"].MaxEntries()); err == nil {
		t.Error("counters of a rule that cannot be")
	}
}

// Every pair of hook and verdict has a counter of its own, where the programs
// count it: hook * VERDICTS + verdict.
func TestPackets(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	slot := uint32(0)
	for hook := datapath.HookContainer; hook <= datapath.HookSocket; hook++ {
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

func TestEntries(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	must(t, k.byName["flows4"].Put(datapath.FlowKey4{Src: 1}, datapath.Flow4{}))
	must(t, k.byName["flows4"].Put(datapath.FlowKey4{Src: 2}, datapath.Flow4{}))
	must(t, k.SetNetwork(1, network("172.17.0.0/16", "172.17.0.1")))
	must(t, k.SetEndpoint(5, someEndpoint()))
	counts, err := k.Entries()
	must(t, err)
	want := map[string]int{
		"flows4": 2, "flows6": 0, "devices": 1, "endpoints4": 1, "host_addrs4": 0,
		"uplinks": 0, "subnets4": 1, "subnets6": 0, "socket_origins": 0, "vips4": 0,
	}
	equal(t, "hash maps", len(counts), len(want))
	for name, n := range want {
		equal(t, name, counts[name], n)
	}
}

func TestNewNamesTheMapThatIsMissing(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	for name := range k.byName {
		switch name {
		case "flows6", "subnets6", "snat_cursors", "socket_origins", "events":
			continue // the datapath's alone
		}
		without := map[string]*ebpf.Map{}
		for other, m := range k.byName {
			if other != name {
				without[other] = m
			}
		}
		if _, err := maps.New(without); err == nil || !strings.Contains(err.Error(), "map "+name+" ") {
			t.Errorf("without %s: %v", name, err)
		}
	}
}
