package e2e

import (
	"flag"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/lab"
)

var soakRestartTimes = flag.Int("soak.restarts", 1, "how often the soak `restarts` replaces the daemon")

// soakRestarts kills the daemon again and again amid established connections and
// such as come and go, sometimes while it starts or upgrades. The next one is of this version
// or another, whose maps may have another layout.
func soakRestarts(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 0))
	l := newLoadLab(t)
	versions := map[string]string{"this version": ""}
	for name, edits := range laterVersions {
		versions[name] = lab.BuildVersion(t, edits...)
	}
	names := slices.Sorted(maps.Keys(versions))
	ways := l.ways(families...)
	kept := l.startLoad(*soakConnections, ways)
	short, long := l.startChurn("20ms", "0s", ways), l.startChurn("100ms", "4s", ways)
	before := residentKB(l.Lab)
	begin := time.Now()
	for i := range *soakRestartTimes {
		if random.IntN(3) == 0 {
			l.StopDaemon(unix.SIGKILL)
			l.Version = versions[names[random.IntN(len(names))]]
			l.LaunchDaemon()
			time.Sleep(time.Duration(random.IntN(1500)) * time.Millisecond)
		}
		l.becomes(versions[names[i%len(names)]])
		time.Sleep(time.Duration(random.IntN(1000)) * time.Millisecond)
	}
	l.becomes("")
	t.Logf("%d daemons in %v: %d KB resident before, %d KB after", *soakRestartTimes+1, time.Since(begin).Round(time.Second), before, residentKB(l.Lab))
	for what, c := range map[string]*churners{"short": short, "of 4 s": long} {
		r := c.stop()
		t.Logf("%s: %v", what, r)
		if 100*r.Failed > r.Tried {
			t.Errorf("%s: more than one in a hundred failed", what)
		}
	}
	kept.expectKept()
	expectInvariants(l.Lab)
}
