package e2e

import (
	"flag"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// soaks are what TestSoak can do, each for as long as its own flags say.
var soaks = map[string]func(t *testing.T, seed uint64){
	"kills":     soakKills,
	"integrity": soakIntegrity,
	"cycles":    soakCycles,
	"floods":    soakFloods,
	"restarts":  soakRestarts,
	"suspend":   soakSuspended,
	"uplinks":   soakUplinks,
}

// Which ones, and in which order of random things: `make soak` does them all, and
// much more of each than the defaults here, and a failure can be repeated with its
// seed. Left out are those whose events have short tests of their own:
// TestConntrackOfAFullTable, TestUpgrade, TestUplinksComeAndGo.
var (
	soakNames = flag.String("soak", "cycles,integrity,kills,suspend", "what TestSoak does")
	soakSeed  = flag.Uint64("soak.seed", 0, "seed of TestSoak; 0 for a new one")
)

// TestSoak does what needs many repetitions, or much traffic, to go wrong.
func TestSoak(t *testing.T) {
	t.Parallel()
	seed := *soakSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d: repeat with -soak.seed=%d", seed, seed)
	for name := range strings.SplitSeq(*soakNames, ",") {
		soak := soaks[name]
		if soak == nil {
			t.Fatalf("there is no soak %q, only %v", name, slices.Sorted(maps.Keys(soaks)))
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			soak(t, seed)
		})
	}
}
