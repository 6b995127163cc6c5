package maps

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sluice-net/sluice/internal/datapath"
)

// ErrChain is in what SetRules returns when too many host addresses share a port.
var ErrChain = errors.New("too many rules share a host port")

// ChainError is ErrChain for a rule.
type ChainError struct{ Rule Rule }

func (e *ChainError) Error() string {
	return fmt.Sprintf("%v: at most %d host addresses can publish port %d", ErrChain, datapath.MaxRuleChain, e.Rule.First)
}

// Unwrap implements errors.Is for ErrChain.
func (e *ChainError) Unwrap() error { return ErrChain }

// IndexedRule is a rule and its place in the datapath's array.
type IndexedRule struct {
	Index uint32
	Rule
}

// SetRule is SetRules for one.
func (m *Maps) SetRule(index uint32, r Rule) error {
	return m.SetRules([]IndexedRule{{index, r}})
}

// SetRules installs rules of different indexes, and for published ports the host
// ports that lead to them. An index keeps its generation, so that flows go on,
// unless another rule had it. What is there already is written again: somebody
// else may have changed it. It takes a few system calls, however many there are.
// With an error none of the new ones is there; after ErrChain nothing has
// changed.
func (m *Maps) SetRules(rules []IndexedRule) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var replaced, fresh []uint32
	for _, r := range rules {
		if int(r.Index) >= len(m.rules.generations) {
			return fmt.Errorf("rule %d: the last one is %d", r.Index, len(m.rules.generations)-1)
		}
		if old, ok := m.rules.all[r.Index]; !ok || old != r.Rule {
			fresh = append(fresh, r.Index)
			if ok {
				replaced = append(replaced, r.Index)
			}
		}
	}
	if len(fresh) > 0 {
		if err := m.checkChains(rules); err != nil {
			return err
		}
	}
	if err := m.clearRules(replaced); err != nil {
		return err
	}
	for _, r := range rules {
		m.rules.set(r.Index, r.Rule)
	}
	if err := m.install(rules); err != nil {
		return errors.Join(err, m.clearRules(fresh))
	}
	return nil
}

// checkChains refuses rules that would make a chain longer than the datapath
// walks. The table is as it was afterwards.
func (m *Maps) checkChains(rules []IndexedRule) error {
	before := make([]IndexedRule, 0, len(rules)) // the zero rule for none
	for _, r := range rules {
		before = append(before, IndexedRule{r.Index, m.rules.all[r.Index]})
		m.rules.set(r.Index, r.Rule)
	}
	defer func() {
		for _, r := range before {
			m.rules.set(r.Index, r.Rule)
		}
	}()
	for _, r := range rules {
		if len(m.rules.group(r.Index)) > datapath.MaxRuleChain {
			return &ChainError{r.Rule}
		}
	}
	return nil
}

// install writes rules, and the chains that they are in, each linked from its
// end on, and lets each port lead to the head of its chain; a rule's own range
// then decides. Links come before ports, so that whoever walks meanwhile from an
// old head finds what was there before.
func (m *Maps) install(rules []IndexedRule) error {
	var w ruleWrites
	done := map[uint32]bool{}
	for _, r := range rules {
		if r.Kind != RulePublish {
			w.rule(r.Index, m.rules.entry(r.Index, 0))
			continue
		}
		if done[r.Index] {
			continue
		}
		chain := m.rules.chain(m.rules.group(r.Index))
		next := uint32(0)
		for _, index := range slices.Backward(chain) {
			w.rule(index, m.rules.entry(index, next))
			next = index
			done[index] = true
		}
		for _, index := range chain {
			w.lead(m.rules.all[index], chain[0])
		}
	}
	if err := w.writeRules(m); err != nil {
		return err
	}
	return w.writePorts(m)
}

// ClearRule is ClearRules for one.
func (m *Maps) ClearRule(index uint32) error { return m.ClearRules([]uint32{index}) }

// ClearRules takes rules and their ports away and raises the generations of
// their indexes: every flow that they made ends with its next packet. Their
// counters begin again at zero. It takes a few system calls, however many there
// are.
func (m *Maps) ClearRules(indexes []uint32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.clearRules(indexes)
}

// clearRules takes rules out of the chains that they share with others, which
// may fall apart by that, and frees the ports that nobody else has. Ports come
// first and links after them from the heads on, so that whoever walks meanwhile
// finds every rule that stays by the old links.
func (m *Maps) clearRules(indexes []uint32) error {
	removed := map[uint32]Rule{}
	touched := map[uint32]bool{} // in a chain with one that is removed
	for _, index := range indexes {
		r, ok := m.rules.all[index]
		if !ok {
			continue
		}
		removed[index] = r
		if r.Kind == RulePublish {
			for _, other := range m.rules.group(index) {
				touched[other] = true
			}
		}
	}
	if len(removed) == 0 {
		return nil
	}
	for index := range removed {
		delete(touched, index)
		m.rules.remove(index)
		m.rules.generations[index]++
	}
	var w ruleWrites
	heads := map[uint32]uint32{}
	for index := range touched {
		if heads[index] != 0 {
			continue
		}
		chain := m.rules.chain(m.rules.group(index))
		for i, member := range chain {
			heads[member] = chain[0]
			next := uint32(0)
			if i+1 < len(chain) {
				next = chain[i+1]
			}
			w.rule(member, m.rules.entry(member, next))
			w.lead(m.rules.all[member], chain[0])
		}
	}
	for index, r := range removed {
		if r.Kind == RulePublish {
			w.leadTo(r, func(port uint16) uint32 { return heads[m.rules.at(r.Protocol, port)] })
		}
		w.rule(index, datapath.Rule{Generation: m.rules.generations[index]})
		w.uncounted = append(w.uncounted, index)
	}
	if err := w.writePorts(m); err != nil {
		return err
	}
	if err := w.writeRules(m); err != nil {
		return err
	}
	return w.clearCounters(m)
}
