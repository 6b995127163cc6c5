package maps_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	maputil "maps"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/maps"
)

// The model's world is small, so that rules meet often.
const (
	modelFirstPort = 1000
	modelPorts     = 18
	modelIndices   = 32
	modelSteps     = 100
)

var (
	modelAddrs = []string{"0.0.0.0", "192.0.2.1", "192.0.2.2", "::", "2001:db8::1"}
	// what packets are sent to; the last of each family have no rule of their own
	modelTargets = []netip.Addr{ip("192.0.2.1"), ip("192.0.2.2"), ip("203.0.113.1"), ip("2001:db8::1"), ip("2001:db8::2")}
)

// model says, without chains, what the maps must say.
type model struct {
	rules       map[uint32]maps.Rule
	generations map[uint32]uint32
}

func covers(r maps.Rule, protocol uint8, port uint16) bool {
	return r.Protocol == protocol && r.First <= port && port <= r.Last
}

// meets is the rule for a packet: the first for its address, else the first
// for every address.
func (m model) meets(protocol uint8, addr netip.Addr, port uint16) uint32 {
	indices := slices.Sorted(maputil.Keys(m.rules))
	every := netip.IPv4Unspecified()
	if addr.Is6() {
		every = netip.IPv6Unspecified()
	}
	for _, wanted := range []netip.Addr{addr, every} {
		for _, index := range indices {
			if r := m.rules[index]; covers(r, protocol, port) && r.HostAddr == wanted {
				return index
			}
		}
	}
	return 0
}

// fits reports whether the rules that share ports with the one at index,
// directly or by way of others, are few enough for a chain.
func (m model) fits(index uint32) bool {
	reached := map[uint32]bool{index: true}
	for grown := true; grown; {
		grown = false
		for a, ruleA := range m.rules {
			for b, ruleB := range m.rules {
				shares := ruleA.Protocol == ruleB.Protocol && ruleA.First <= ruleB.Last && ruleB.First <= ruleA.Last
				if reached[a] && !reached[b] && shares {
					reached[b], grown = true, true
				}
			}
		}
	}
	return len(reached) <= datapath.MaxRuleChain
}

func (m model) clear(index uint32) {
	if _, ok := m.rules[index]; ok {
		delete(m.rules, index)
		m.generations[index]++
	}
}

// set reports whether the rules are ones that the maps must take: all or none.
func (m model) set(rules []maps.IndexedRule) bool {
	before := maputil.Clone(m.rules)
	for _, r := range rules {
		m.rules[r.Index] = r.Rule
	}
	for _, r := range rules {
		if before[r.Index] != r.Rule && !m.fits(r.Index) {
			clear(m.rules)
			maputil.Copy(m.rules, before)
			return false
		}
	}
	for _, r := range rules {
		if old, replaces := before[r.Index]; replaces && old != r.Rule {
			m.generations[r.Index]++
		}
	}
	return true
}

// compare looks every port up as the datapath would.
func (m model) compare(k *kernel, step string) {
	k.t.Helper()
	rules := first[datapath.Rule](k, "rules", modelIndices+1)
	ruleAt := func(index uint32) datapath.Rule { return rules[index] }
	for _, protocol := range []uint8{tcp, udp} {
		heads := first[uint32](k, portsMap(protocol), modelFirstPort+modelPorts+1)
		for port := uint16(modelFirstPort - 1); port <= modelFirstPort+modelPorts; port++ {
			for _, addr := range modelTargets {
				got, want := walk(heads[port], ruleAt, addr, port), m.meets(protocol, addr, port)
				if got != want {
					k.t.Fatalf("%s: protocol %d, %s:%d meets rule %d, want %d", step, protocol, addr, port, got, want)
				}
			}
		}
	}
	for index, rule := range rules {
		if got, want := rule.Generation, m.generations[uint32(index)]; got != want {
			k.t.Fatalf("%s: generation %d of rule %d, want %d", step, got, index, want)
		}
	}
}

func randomRule(random *rand.Rand) maps.Rule {
	first := modelFirstPort + random.IntN(modelPorts)
	last := min(first+random.IntN(1+random.IntN(8)), modelFirstPort+modelPorts-1)
	protocol := []uint8{tcp, udp}[random.IntN(2)]
	return publish(protocol, modelAddrs[random.IntN(len(modelAddrs))], uint16(first), uint16(last))
}

// randomIndexes are up to four different ones.
func randomIndexes(random *rand.Rand) (indexes []uint32) {
	for _, i := range random.Perm(modelIndices)[:1+random.IntN(1+random.IntN(4))] {
		indexes = append(indexes, uint32(1+i))
	}
	return indexes
}

// TestRulesAgreeWithTheModel sets and clears rules at random, some together, and
// after every step asks the maps and the model which rule each packet meets.
func TestRulesAgreeWithTheModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 0))
			k := newKernel(t)
			m := model{map[uint32]maps.Rule{}, map[uint32]uint32{}}
			refused := 0
			for i := range modelSteps {
				indexes := randomIndexes(random)
				step := fmt.Sprintf("step %d: clear %d", i, indexes)
				switch random.IntN(8) {
				case 0:
					k.reopen()
					step = fmt.Sprintf("step %d: reopen", i)
				case 1, 2:
					must(t, k.ClearRules(indexes))
					for _, index := range indexes {
						m.clear(index)
					}
				default:
					var rules []maps.IndexedRule
					for _, index := range indexes {
						rules = append(rules, maps.IndexedRule{Index: index, Rule: randomRule(random)})
					}
					step = fmt.Sprintf("step %d: set %+v", i, rules)
					err := k.SetRules(rules)
					switch fits := m.set(rules); {
					case fits && err != nil:
						t.Fatalf("%s: %v", step, err)
					case !fits && !errors.Is(err, maps.ErrChain):
						t.Fatalf("%s: %v, want ErrChain", step, err)
					case !fits:
						refused++
					}
				}
				m.compare(k, step)
			}
			if refused == 0 || refused > modelSteps/2 {
				t.Errorf("%d of %d steps were refused: the model's world has the wrong size", refused, modelSteps)
			}
			must(t, k.ClearRules(slices.Collect(maputil.Keys(m.rules))))
			if used := k.usedPorts(tcp) + k.usedPorts(udp); used != 0 {
				t.Errorf("%d ports lead somewhere at the end", used)
			}
		})
	}
}
