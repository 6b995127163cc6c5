package maps

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
)

// ErrChain is returned by SetRule when too many host addresses share a port.
var ErrChain = errors.New("too many rules share a host port")

// SetRule installs a rule, and for a published port the host ports that lead
// to it. The index keeps its generation, so that flows go on. What is there
// already is written again: somebody else may have changed it.
func (m *Maps) SetRule(index uint32, r Rule) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.rules[index]; ok && old == r {
		if r.Kind != RulePublish {
			return m.writeRule(index, r, 0)
		}
		return m.writeGroup(m.overlapping(index))
	}
	if err := m.checkChain(index, r); err != nil {
		return err
	}
	if err := m.clearRule(index); err != nil {
		return err
	}
	if r.Kind != RulePublish {
		if err := m.writeRule(index, r, 0); err != nil {
			return err
		}
		m.rules[index] = r
		return nil
	}
	m.rules[index] = r
	if err := m.writeGroup(m.overlapping(index)); err != nil {
		return errors.Join(err, m.clearRule(index))
	}
	return nil
}

// checkChain refuses a rule that would make a chain longer than the datapath
// walks, before anything of the index's old rule is touched.
func (m *Maps) checkChain(index uint32, r Rule) error {
	old, replaces := m.rules[index]
	m.rules[index] = r
	group := m.overlapping(index)
	delete(m.rules, index)
	if replaces {
		m.rules[index] = old
	}
	if len(group) > datapath.MaxRuleChain {
		return fmt.Errorf("%w: at most %d host addresses can publish port %d", ErrChain, datapath.MaxRuleChain, r.First)
	}
	return nil
}

// ClearRule takes a rule and its ports away and raises the generation of its
// index: every flow that it made ends with its next packet. Its counters
// begin again at zero.
func (m *Maps) ClearRule(index uint32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.clearRule(index)
}

func (m *Maps) clearRule(index uint32) error {
	old, ok := m.rules[index]
	if !ok {
		return nil
	}
	group := m.overlapping(index)
	delete(m.rules, index)
	if old.Kind == RulePublish {
		if err := m.unlink(old, slices.DeleteFunc(group, func(i uint32) bool { return i == index })); err != nil {
			return err
		}
	}
	var value datapath.Rule
	if err := m.byName["rules"].Lookup(index, &value); err != nil {
		return fmt.Errorf("read rule %d: %w", index, err)
	}
	if err := m.put("rules", index, datapath.Rule{Generation: value.Generation + 1}); err != nil {
		return err
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return err
	}
	return m.put("rule_counts", index, make([]datapath.RuleCounters, cpus))
}

// unlink takes a removed rule out of the chain that it shared with rest, which
// may fall apart by that, and frees the ports that nobody else has. Ports come
// first and links after them from the head on, so that whoever walks meanwhile
// finds every rule of rest by the old links.
func (m *Maps) unlink(removed Rule, rest []uint32) error {
	head, next := map[uint32]uint32{}, map[uint32]uint32{}
	for _, index := range rest {
		chain := m.chain(m.overlapping(index))
		head[index] = chain[0]
		if i := slices.Index(chain, index) + 1; i < len(chain) {
			next[index] = chain[i]
		}
	}
	heads := make([]uint32, int(removed.Last)-int(removed.First)+1)
	for _, index := range rest {
		r := m.rules[index]
		if err := m.leadPorts(r, head[index]); err != nil {
			return err
		}
		for port := max(int(r.First), int(removed.First)); port <= min(int(r.Last), int(removed.Last)); port++ {
			heads[port-int(removed.First)] = head[index]
		}
	}
	if err := m.writePorts(removed.Protocol, removed.First, heads); err != nil {
		return err
	}
	for _, index := range m.chain(rest) {
		if err := m.writeRule(index, m.rules[index], next[index]); err != nil {
			return err
		}
	}
	return nil
}

func (r Rule) overlaps(other Rule) bool {
	return r.Kind == RulePublish && other.Kind == RulePublish && r.Protocol == other.Protocol &&
		r.First <= other.Last && other.First <= r.Last
}

// overlapping returns the published ports that share host ports with the rule
// at index, directly or by way of others, itself included.
func (m *Maps) overlapping(index uint32) []uint32 {
	group := []uint32{index}
	for i := 0; i < len(group); i++ {
		for other, r := range m.rules {
			if r.overlaps(m.rules[group[i]]) && !slices.Contains(group, other) {
				group = append(group, other)
			}
		}
	}
	return group
}

// chain orders a group as the datapath walks it: rules for one host address
// before those for every address.
func (m *Maps) chain(group []uint32) []uint32 {
	ordered := slices.Clone(group)
	slices.SortFunc(ordered, func(a, b uint32) int {
		anyA, anyB := m.rules[a].HostAddr.IsUnspecified(), m.rules[b].HostAddr.IsUnspecified()
		if anyA != anyB {
			if anyA {
				return 1
			}
			return -1
		}
		return int(a) - int(b)
	})
	return ordered
}

// writeGroup links rules that share ports into one chain, and lets each of
// their ports lead to its head; a rule's own range then decides. Links come
// first, from the end on, so that whoever walks meanwhile from an old head
// finds what was there before.
func (m *Maps) writeGroup(group []uint32) error {
	ordered := m.chain(group)
	next := uint32(0)
	for _, index := range slices.Backward(ordered) {
		if err := m.writeRule(index, m.rules[index], next); err != nil {
			return err
		}
		next = index
	}
	for _, index := range ordered {
		if err := m.leadPorts(m.rules[index], ordered[0]); err != nil {
			return err
		}
	}
	return nil
}

// leadPorts lets each host port of a rule lead to the head of a chain.
func (m *Maps) leadPorts(r Rule, head uint32) error {
	heads := make([]uint32, int(r.Last)-int(r.First)+1)
	for i := range heads {
		heads[i] = head
	}
	return m.writePorts(r.Protocol, r.First, heads)
}

func (m *Maps) writeRule(index uint32, r Rule, next uint32) error {
	var old datapath.Rule
	if err := m.byName["rules"].Lookup(index, &old); err != nil {
		return fmt.Errorf("read rule %d: %w", index, err)
	}
	return m.put("rules", index, datapath.Rule{
		Generation: old.Generation,
		Next:       next,
		Endpoint:   r.Endpoint,
		Addr4:      raw4(r.HostAddr),
		Addr6:      raw6(r.HostAddr),
		First:      r.First,
		Last:       r.Last,
		Target:     r.Target,
		Network:    r.Network,
		Kind:       uint8(r.Kind),
		Protocol:   r.Protocol,
		Family:     r.family(),
	})
}

// family is that of the packets which a published port is for. Masquerade and
// aliases are for both, and say AF_INET.
func (r Rule) family() uint8 {
	if r.HostAddr.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func portsMap(protocol uint8) string {
	if protocol == unix.IPPROTO_UDP {
		return "ports_udp"
	}
	return "ports_tcp"
}

// writePorts lets the ports from first on lead to heads, in one system call.
func (m *Maps) writePorts(protocol uint8, first uint16, heads []uint32) error {
	name := portsMap(protocol)
	ports := make([]uint32, len(heads))
	for i := range ports {
		ports[i] = uint32(first) + uint32(i)
	}
	if _, err := m.byName[name].BatchUpdate(ports, heads, nil); err != nil {
		return fmt.Errorf("write to %s: %w", name, err)
	}
	return nil
}

// readRules fills the table of installed rules from the kernel. What no rule of
// ours looks like is left to SetRule and Sweep.
func (m *Maps) readRules() error {
	indices := make([]uint32, 1024)
	values := make([]datapath.Rule, 1024)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.byName["rules"].BatchLookup(&cursor, indices, values, nil)
		for i := range n {
			if r := ruleOf(values[i]); r.sane() && indices[i] != 0 {
				m.rules[indices[i]] = r
			}
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read rules: %w", err)
		}
	}
}

func (r Rule) sane() bool {
	switch r.Kind {
	case RuleMasquerade, RuleAlias:
		return true
	case RulePublish:
		return r.HostAddr.IsValid() && r.First != 0 && r.First <= r.Last && (r.Protocol == unix.IPPROTO_TCP || r.Protocol == unix.IPPROTO_UDP)
	}
	return false
}

func ruleOf(v datapath.Rule) Rule {
	r := Rule{Kind: RuleKind(v.Kind), Network: v.Network}
	if r.Kind == RulePublish {
		r.Protocol = v.Protocol
		switch v.Family {
		case unix.AF_INET:
			r.HostAddr = addr4(v.Addr4)
		case unix.AF_INET6:
			r.HostAddr = addr6(v.Addr6)
		}
		r.First, r.Last, r.Target = v.First, v.Last, v.Target
		r.Endpoint = v.Endpoint
	}
	return r
}
