package maps

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/portindex"
)

// ruleTable is what is installed.
type ruleTable struct {
	all map[uint32]Rule // by index
	// ports are the indexes of published ports by their host ports.
	tcp, udp portindex.Index[uint32]
	// generations are those of every index, also of those without a rule.
	generations []uint32
}

func (t *ruleTable) ports(protocol uint8) *portindex.Index[uint32] {
	if protocol == unix.IPPROTO_UDP {
		return &t.udp
	}
	return &t.tcp
}

// set puts a rule into the place of the one that the index has; the zero rule
// leaves none.
func (t *ruleTable) set(index uint32, r Rule) {
	t.remove(index)
	if r == (Rule{}) {
		return
	}
	t.all[index] = r
	if r.Kind == RulePublish {
		t.ports(r.Protocol).Add(r.First, r.Last, index)
	}
}

func (t *ruleTable) remove(index uint32) {
	if r, ok := t.all[index]; ok && r.Kind == RulePublish {
		t.ports(r.Protocol).Remove(r.First, r.Last, index)
	}
	delete(t.all, index)
}

// at returns the index of one of the rules that publish a port, 0 for none.
func (t *ruleTable) at(protocol uint8, port uint16) uint32 {
	for index := range t.ports(protocol).Overlapping(port, port) {
		return index
	}
	return 0
}

// group returns the published ports that share host ports with the rule at
// index, directly or by way of others, itself included.
func (t *ruleTable) group(index uint32) []uint32 {
	group := []uint32{index}
	in := map[uint32]bool{index: true}
	for i := 0; i < len(group); i++ {
		r := t.all[group[i]]
		if r.Kind != RulePublish {
			continue
		}
		for other := range t.ports(r.Protocol).Overlapping(r.First, r.Last) {
			if !in[other] {
				in[other] = true
				group = append(group, other)
			}
		}
	}
	return group
}

// chain orders a group as the datapath walks it: rules for one host address
// before those for every address.
func (t *ruleTable) chain(group []uint32) []uint32 {
	slices.SortFunc(group, func(a, b uint32) int {
		anyA, anyB := t.all[a].HostAddr.IsUnspecified(), t.all[b].HostAddr.IsUnspecified()
		if anyA != anyB {
			if anyA {
				return 1
			}
			return -1
		}
		return int(a) - int(b)
	})
	return group
}

// entry is the rule at index as the datapath reads it.
func (t *ruleTable) entry(index, next uint32) datapath.Rule {
	r := t.all[index]
	return datapath.Rule{
		Generation: t.generations[index],
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
	}
}

// family is that of the packets which a published port is for. Masquerade and
// aliases are for both, and say AF_INET.
func (r Rule) family() uint8 {
	if r.HostAddr.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}
