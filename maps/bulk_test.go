package maps_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sluice-net/sluice/maps"
)

// many are single ports from 10,000 on, each with a rule of its own.
func many(n int) (rules []maps.IndexedRule, indexes []uint32) {
	for i := range n {
		index := uint32(1 + i)
		rules = append(rules, maps.IndexedRule{Index: index, Rule: publish(tcp, "0.0.0.0", uint16(10000+i), uint16(10000+i))})
		indexes = append(indexes, index)
	}
	return rules, indexes
}

// TestManyRules sets and clears 10,000 together, and one by one.
func TestManyRules(t *testing.T) {
	t.Parallel()
	const n = 10000
	rules, indexes := many(n)
	k := newKernel(t)
	for _, way := range []struct {
		name       string
		set, clear func() error
	}{
		{"together", func() error { return k.SetRules(rules) }, func() error { return k.ClearRules(indexes) }},
		{"one by one", func() error {
			var errs []error
			for _, r := range rules {
				errs = append(errs, k.SetRule(r.Index, r.Rule))
			}
			return errors.Join(errs...)
		}, func() error {
			var errs []error
			for _, index := range indexes {
				errs = append(errs, k.ClearRule(index))
			}
			return errors.Join(errs...)
		}},
	} {
		began := time.Now()
		must(t, way.set())
		t.Logf("set %d rules %s: %v", n, way.name, time.Since(began))
		equal(t, "ports in use", k.usedPorts(tcp), n)
		equal(t, "rule of the last port", k.published(tcp, ip("192.0.2.1"), 10000+n-1), n)
		began = time.Now()
		must(t, way.clear())
		t.Logf("clear them: %v", time.Since(began))
		equal(t, "ports in use", k.usedPorts(tcp), 0)
	}
}

// TestRulesThatDoNotFitTogether: what is refused leaves nothing of the others.
func TestRulesThatDoNotFitTogether(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	must(t, k.SetRule(20, publish(udp, "0.0.0.0", 53, 53)))
	rules := []maps.IndexedRule{{Index: 20, Rule: publish(tcp, "0.0.0.0", 81, 81)}}
	for i := range uint32(9) {
		rules = append(rules, maps.IndexedRule{Index: 1 + i, Rule: publish(tcp, fmt.Sprintf("192.0.2.%d", 1+i), 80, 80)})
	}
	if err := k.SetRules(rules); !errors.Is(err, maps.ErrChain) {
		t.Errorf("nine addresses at a port: %v", err)
	}
	equal(t, "ports in use", k.usedPorts(tcp), 0)
	equal(t, "rule that was there", k.published(udp, ip("192.0.2.1"), 53), 20)
	equal(t, "its generation", k.generation(20), 0)
}
