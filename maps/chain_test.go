package maps_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/maps"
)

// fullChain publishes one port by as many host addresses as can share it:
// rule i+1 for 192.0.2.i+1.
func fullChain(k *kernel) {
	for i := range uint32(datapath.MaxRuleChain) {
		must(k.t, k.SetRule(i+1, publish(tcp, chainAddr(i), 8080, 8080)))
	}
}

func chainAddr(i uint32) string { return fmt.Sprintf("192.0.2.%d", i+1) }

func checkFullChain(k *kernel) {
	k.t.Helper()
	for i := range uint32(datapath.MaxRuleChain) {
		equal(k.t, "rule for "+chainAddr(i), k.published(tcp, ip(chainAddr(i)), 8080), i+1)
		equal(k.t, "generation", k.generation(i+1), 0)
	}
}

func TestChainOfSpecificAddresses(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	fullChain(k)
	checkFullChain(k)
	equal(t, "rule for an address without one", k.published(tcp, ip("198.51.100.1"), 8080), 0)
}

func TestSpecificAddressGoesFirst(t *testing.T) {
	t.Parallel()
	for _, order := range [][]uint32{{1, 2}, {2, 1}} {
		k := newKernel(t)
		for _, index := range order {
			must(t, k.SetRule(index, map[uint32]maps.Rule{
				1: publish(tcp, "0.0.0.0", 8000, 8999),
				2: publish(tcp, "192.0.2.1", 8080, 8080),
			}[index]))
		}
		equal(t, "rule for the address", k.published(tcp, ip("192.0.2.1"), 8080), 2)
		equal(t, "rule for its other ports", k.published(tcp, ip("192.0.2.1"), 8081), 1)
		equal(t, "rule for other addresses", k.published(tcp, ip("192.0.2.2"), 8080), 1)
		must(t, k.ClearRule(2))
		equal(t, "rule for the address in the end", k.published(tcp, ip("192.0.2.1"), 8080), 1)
	}
}

func TestTooLongAChainChangesNothing(t *testing.T) {
	t.Parallel()
	const other = 20
	for name, before := range map[string]*maps.Rule{
		"by a free index":              nil,
		"by one that publishes":        {Kind: maps.RulePublish, Protocol: tcp, HostAddr: ip("192.0.2.200"), First: 9000, Last: 9001, Target: 1, Endpoint: 6},
		"by one that masquerades":      {Kind: maps.RuleMasquerade, Network: 4},
		"by one of the other protocol": {Kind: maps.RulePublish, Protocol: udp, HostAddr: ip("0.0.0.0"), First: 8080, Last: 8080, Target: 1, Endpoint: 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKernel(t)
			fullChain(k)
			if before != nil {
				must(t, k.SetRule(other, *before))
			}
			fill(k, "rule_counts", other, datapath.RuleCounters{Flows: 1})
			rule := get[datapath.Rule](k, "rules", uint32(other))
			used := k.usedPorts(tcp)

			err := k.SetRule(other, publish(tcp, "192.0.2.100", 8070, 8090))
			if !errors.Is(err, maps.ErrChain) {
				t.Fatalf("%v, want ErrChain", err)
			}
			checkFullChain(k)
			equal(t, "rule at the index", get[datapath.Rule](k, "rules", uint32(other)), rule)
			equal(t, "ports in use", k.usedPorts(tcp), used)
			counters, err := k.RuleCounters(other)
			must(t, err)
			if counters.Flows == 0 {
				t.Error("the counters of the index were cleared")
			}
			must(t, k.ClearRule(1))
			must(t, k.SetRule(other, publish(tcp, "192.0.2.100", 8080, 8080)))
		})
	}
}

// A rule of a full chain can change in its place: it is no ninth.
func TestFullChainTakesAChange(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	fullChain(k)
	must(t, k.SetRule(1, publish(tcp, "192.0.2.99", 8080, 8081)))
	equal(t, "rule for the new address", k.published(tcp, ip("192.0.2.99"), 8081), 1)
	equal(t, "rule for the old address", k.published(tcp, ip(chainAddr(0)), 8080), 0)
}

// The rule in the middle alone holds the others together.
func TestChainSplits(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	must(t, k.SetRule(1, publish(tcp, "192.0.2.1", 10, 19)))
	must(t, k.SetRule(2, publish(tcp, "192.0.2.2", 30, 39)))
	must(t, k.SetRule(3, publish(tcp, "192.0.2.3", 15, 35)))
	must(t, k.ClearRule(3))
	for port, want := range map[uint32]uint32{9: 0, 10: 1, 15: 1, 19: 1, 20: 0, 29: 0, 30: 2, 35: 2, 39: 2, 40: 0} {
		equal(t, fmt.Sprint("rule of port ", port), get[uint32](k, "ports_tcp", port), want)
	}
	for _, index := range []uint32{1, 2} {
		equal(t, "rule behind", get[datapath.Rule](k, "rules", index).Next, 0)
	}
}
