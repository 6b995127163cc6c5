package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/lab"
)

var soakCycleCount = flag.Int("soak.cycles", 40, "how often the soak `cycles` makes something and removes it")

// cycleWorkers do so at once.
const cycleWorkers = 8

// grownKB is more than the daemon's memory varies by itself: what is kept of
// each cycle adds up to more.
const grownKB = 24 << 10

// soakCycles makes and removes things of every kind, and compares what there is
// before and after.
func soakCycles(t *testing.T, seed uint64) {
	l := lab.New(t)
	l.OK("network", "create", "--ipv6", "shared")
	for worker := range cycleWorkers {
		l.OK("run", "-d", fmt.Sprintf("--name=stays%d", worker))
	}
	runCycles(l, seed, cycleWorkers*len(cycles)) // what is made once and kept
	before, memory := footprint(l), residentKB(l)
	begin := time.Now()
	runCycles(l, seed+1, *soakCycleCount)
	took := time.Since(begin)
	expectFootprint(l, before)
	after := residentKB(l)
	t.Logf("%d cycles, %.0f a second, %d at once: the daemon has %d KB, %d before; the same: %v",
		*soakCycleCount, float64(*soakCycleCount)/took.Seconds(), cycleWorkers, after, memory, before)
	if after > memory+grownKB {
		t.Errorf("the daemon has grown by %d KB", after-memory)
	}
	expectInvariants(l)
	l.OK("run", "-d", "--name=next")
	if got, want := addressOf(l, "next", "bridge"), fmt.Sprintf("172.17.0.%d", 2+cycleWorkers); got != want {
		t.Errorf("the next container has %s, want %s: an address is lost", got, want)
	}
}

// cycles are the kinds: verbs of one worker, in this order, all of which succeed.
var cycles = [][]string{
	{"run --rm -p PORT:80 true"},
	{"run --rm --net-alias=rr -p PORT:80 -p 127.0.0.1:PORT:80/udp --net=shared true"},
	{"publish staysWORKER PORT:80", "unpublish staysWORKER PORT:80"},
	{"publish staysWORKER PORT-PORT9:80-89/udp", "unpublish staysWORKER PORT-PORT9:80-89/udp"},
	{"network create netWORKER", "network rm netWORKER"},
	{"network create --ipv6 netWORKER", "run -d --name=cWORKER --net=netWORKER --net-alias=rr -p PORT:80", "exec cWORKER true", "rm -f cWORKER", "network rm netWORKER"},
	{"create --name=cWORKER -p PORT:80", "start cWORKER", "stop -t 0 cWORKER", "start cWORKER", "rm -f cWORKER"},
	{"run -d --name=cWORKER", "run --rm --net=container:cWORKER true", "rm -f cWORKER"},
}

// runCycles does n cycles, each kind as often as the others and in any order.
func runCycles(l *lab.Lab, seed uint64, n int) {
	l.Helper()
	if n == 0 {
		return
	}
	var left atomic.Int64
	left.Store(int64(n))
	var group sync.WaitGroup
	for worker := range cycleWorkers {
		random := rand.New(rand.NewPCG(seed, uint64(worker)))
		group.Go(func() {
			for left.Add(-1) >= 0 && !l.Failed() {
				runCycle(l, worker, cycles[random.IntN(len(cycles))])
			}
		})
	}
	group.Wait()
}

func runCycle(l *lab.Lab, worker int, verbs []string) {
	names := strings.NewReplacer("PORT9", fmt.Sprint(8009+10*worker), "PORT", fmt.Sprint(8000+10*worker), "WORKER", fmt.Sprint(worker))
	for _, verb := range verbs {
		args := strings.Fields(names.Replace(verb))
		if output, err := tryVerb(l, args); err != nil || strings.Contains(output, "sluice:") {
			l.Errorf("%v: %v: %s", args, err, output)
			return
		}
	}
}
