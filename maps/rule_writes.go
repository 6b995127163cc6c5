package maps

import (
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
)

// ruleWrites collects entries, which one system call for each map writes in
// their order.
type ruleWrites struct {
	indexes   []uint32
	rules     []datapath.Rule
	tcp, udp  portWrites
	uncounted []uint32 // whose counters are to begin anew
}

type portWrites struct{ ports, heads []uint32 }

func (w *ruleWrites) rule(index uint32, r datapath.Rule) {
	w.indexes, w.rules = append(w.indexes, index), append(w.rules, r)
}

// lead lets each host port of a rule lead to the head of a chain.
func (w *ruleWrites) lead(r Rule, head uint32) {
	w.leadTo(r, func(uint16) uint32 { return head })
}

func (w *ruleWrites) leadTo(r Rule, head func(port uint16) uint32) {
	to := &w.tcp
	if r.Protocol == unix.IPPROTO_UDP {
		to = &w.udp
	}
	for port := int(r.First); port <= int(r.Last); port++ {
		to.ports, to.heads = append(to.ports, uint32(port)), append(to.heads, head(uint16(port)))
	}
}

func (w *ruleWrites) writeRules(m *Maps) error {
	return putAll(m, "rules", w.indexes, w.rules)
}

func (w *ruleWrites) writePorts(m *Maps) error {
	if err := putAll(m, portsMap(unix.IPPROTO_TCP), w.tcp.ports, w.tcp.heads); err != nil {
		return err
	}
	return putAll(m, portsMap(unix.IPPROTO_UDP), w.udp.ports, w.udp.heads)
}

func (w *ruleWrites) clearCounters(m *Maps) error {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return err
	}
	return putAll(m, "rule_counts", w.uncounted, make([]datapath.RuleCounters, len(w.uncounted)*cpus))
}

// putAll writes entries in their order, in one system call.
func putAll[K, V any](m *Maps, name string, keys []K, values []V) error {
	if len(keys) == 0 {
		return nil
	}
	if _, err := m.byName[name].BatchUpdate(keys, values, nil); err != nil {
		return fmt.Errorf("write to %s: %w", name, err)
	}
	return nil
}

func portsMap(protocol uint8) string {
	if protocol == unix.IPPROTO_UDP {
		return "ports_udp"
	}
	return "ports_tcp"
}
