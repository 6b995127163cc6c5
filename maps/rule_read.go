package maps

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
)

// readRules fills the table of installed rules from the kernel. What no rule of
// ours looks like is left to SetRules and Sweep.
func (m *Maps) readRules() error {
	m.rules = ruleTable{all: map[uint32]Rule{}, generations: make([]uint32, m.byName["rules"].MaxEntries())}
	indices := make([]uint32, 1024)
	values := make([]datapath.Rule, 1024)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.byName["rules"].BatchLookup(&cursor, indices, values, nil)
		for i := range n {
			m.rules.generations[indices[i]] = values[i].Generation
			if r := ruleOf(values[i]); r.sane() && indices[i] != 0 {
				m.rules.set(indices[i], r)
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
