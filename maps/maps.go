package maps

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
)

// Maps writes the control plane's entries and reads the datapath's counters.
// It is safe for concurrent use.
type Maps struct {
	byName  map[string]*ebpf.Map
	tenured map[string]*Tenured // by the name of its entries' map

	mu    sync.Mutex
	rules ruleTable
}

// New takes the maps of a loader by name, and its FlowTable, and reads the rules
// that are installed already.
func New(byName map[string]*ebpf.Map, flowTable *ebpf.Program) (*Maps, error) {
	for _, name := range []string{
		"flows4", "flows6", "flow_tags4", "flow_tags6", "nursery4", "nursery6", "networks", "endpoints", "rules", "devices", "endpoints4", "endpoints6", "ports_tcp", "ports_udp",
		"host_addrs4", "host_addrs6", "uplinks", "vips4", "vips6", "alias_turns", "subnets4", "subnets6",
		"rule_counts", "masquerade_retries", "packet_counts", "drop_counts", "report_lease", "socket_origins", "report_budgets", "events",
	} {
		if byName[name] == nil {
			return nil, fmt.Errorf("map %s is missing", name)
		}
	}
	m := &Maps{byName: byName, tenured: map[string]*Tenured{
		"flows4": NewTenured(byName, 4, flowTable),
		"flows6": NewTenured(byName, 6, flowTable),
	}}
	return m, m.readRules()
}

// delete removes a key; one that is not there is no error.
func (m *Maps) delete(name string, key any) error {
	err := m.byName[name].Delete(key)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("delete from %s: %w", name, err)
	}
	return nil
}

func (m *Maps) put(name string, key, value any) error {
	if err := m.byName[name].Put(key, value); err != nil {
		return fmt.Errorf("write to %s: %w", name, err)
	}
	return nil
}

// replace makes a hash map hold exactly the entries of want.
func replace[K comparable, V any](m *Maps, name string, want map[K]V) error {
	var key K
	var value V
	var stale []K
	entries := m.byName[name].Iterate()
	for entries.Next(&key, &value) {
		if _, ok := want[key]; !ok {
			stale = append(stale, key)
		}
	}
	if err := entries.Err(); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	for key, value := range want {
		if err := m.put(name, key, value); err != nil {
			return err
		}
	}
	for _, key := range stale {
		if err := m.delete(name, key); err != nil {
			return err
		}
	}
	return nil
}
