package maps_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/maps"
)

const (
	gapPort    = 1005
	gapStable  = 9 // stands behind some of the rules that come and go, and before others
	gapRules   = 12
	gapChanges = 1000
)

var gapAddr = ip("192.0.2.9")

// moment is all that decides which rule a packet to gapPort meets.
type moment struct {
	head  uint32
	rules [gapRules + 1]datapath.Rule
}

func readMoment(k *kernel) (m moment) {
	k.t.Helper()
	m.head = get[uint32](k, "ports_tcp", uint32(gapPort))
	copy(m.rules[:], first[datapath.Rule](k, "rules", len(m.rules)))
	return m
}

func (m moment) hides() bool {
	return walk(m.head, func(index uint32) datapath.Rule { return m.rules[index] }, gapAddr, gapPort) != gapStable
}

// change publishes and withdraws, at random, up to three rules of what shares ports with the
// stable rule, directly or by way of others.
func change(k *kernel, random *rand.Rand) error {
	var indexes []uint32
	var rules []maps.IndexedRule
	for _, i := range random.Perm(gapRules)[:1+random.IntN(3)] {
		index := uint32(1 + i)
		if index == gapStable {
			continue
		}
		port := uint16(990 + random.IntN(25))
		indexes = append(indexes, index)
		rules = append(rules, maps.IndexedRule{
			Index: index, Rule: publish(tcp, fmt.Sprintf("192.0.2.%d", index), port, port+uint16(random.IntN(8))),
		})
	}
	if random.IntN(2) == 0 {
		return k.ClearRules(indexes)
	}
	err := k.SetRules(rules)
	if errors.Is(err, maps.ErrChain) {
		return nil
	}
	return err
}

// A daemon that publishes and withdraws ports must not, not even for a moment,
// hide a rule that shares ports with them: the host would answer in place of
// the container. What is read twice alike was there at one time.
func TestChangesNeverHideOtherRules(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	must(t, k.SetRule(gapStable, publish(tcp, gapAddr.String(), 1000, 1009)))
	done := make(chan error, 1)
	go func() {
		random := rand.New(rand.NewPCG(1, 1))
		for range gapChanges {
			if err := change(k, random); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	looked := 0
	var hidden []moment
	for {
		select {
		case err := <-done:
			must(t, err)
			if len(hidden) > 0 {
				t.Errorf("hidden at %d of %d moments; the first: %+v", len(hidden), looked, hidden[0])
			}
			return
		default:
		}
		seen := readMoment(k)
		if seen != readMoment(k) {
			continue
		}
		looked++
		if seen.hides() {
			hidden = append(hidden, seen)
		}
	}
}
