package e2e

import (
	"flag"
	"fmt"
	"testing"

	"github.com/sluice-net/sluice/internal/lab"
)

var soakConnections = flag.Int("soak.connections", 60, "established connections that soaks keep, of all ways together")

// stallBound is the stall, in seconds, that fails a soak. stallLimit is what is
// wished for: a machine that does other things too may take longer without our doing.
const stallBound = 10

// loadLab is a lab with a server behind a published port and an alias, a container
// beside it, and a server outside.
type loadLab struct {
	*lab.Lab
	beside *lab.Namespace // the container's
}

func newLoadLab(t *testing.T, daemonArgs ...string) *loadLab {
	t.Helper()
	l := lab.New(t, daemonArgs...)
	l.OK("network", "create", "--ipv6", "--subnet=172.20.0.0/16", "--subnet=fd00:20::/64", "dual")
	runServer(l, "web", "load-serve", ":80", "--net=dual", "--net-alias=rr", "-p", "8080:80")
	runServer(l, "web2", "load-serve", ":80", "--net=dual", "--net-alias=rr")
	l.OK("run", "-d", "--name=beside", "--net=dual")
	l.Client.Background(selfPath, "load-serve", ":7000")
	return &loadLab{Lab: l, beside: lab.NamespaceAt(t, sandboxOf(l, "beside"))}
}

// loadWay is one that connections of a load take.
type loadWay struct {
	name, addr string
	from       *lab.Namespace
}

// ways are the three that are translated, of each family.
func (l *loadLab) ways(of ...family) (ways []loadWay) {
	l.Helper()
	for _, f := range of {
		ways = append(ways,
			loadWay{"published, " + f.name, port(f.host, "8080"), l.Client},
			loadWay{"masqueraded, " + f.name, port(f.far, "7000"), l.beside},
			loadWay{"alias, " + f.name, port(f.vip(l.Lab, "rr"), "80"), l.beside})
	}
	return ways
}

// load is connections that are kept by several ways.
type load struct {
	*loadLab
	keepers []*worker
}

// startLoad shares n connections among the ways, and returns when all are at work.
func (l *loadLab) startLoad(n int, ways []loadWay) *load {
	l.Helper()
	kept := &load{loadLab: l}
	for i, w := range ways {
		l.Host.Eventually("a connection to "+w.addr, func() error {
			if r := ask(w.from, "tcp-peer", w.addr); r.Code != 0 {
				return fmt.Errorf("%s", r.Stderr)
			}
			return nil
		})
		share := (n + i) / len(ways)
		kept.keepers = append(kept.keepers, startWorker(l.T, w.from, w.name, "load-keep", w.addr, fmt.Sprint(share)))
	}
	for _, k := range kept.keepers {
		k.awaitReady()
	}
	return kept
}

// stop ends the load and returns what became of it, by way and together.
func (k *load) stop() (all loadResult) {
	k.Helper()
	for _, keeper := range k.keepers {
		var r loadResult
		keeper.stop(&r)
		k.Logf("%-20s %4d connections, %6d bytes each way, longest stall %5.2f s until %s (%d over %v), lost %d %v",
			keeper.what, r.Connections, r.Bytes, r.Longest, r.When.Format("15:04:05.0"), r.Stalled, stallLimit, r.Lost, named(r.Errors))
		all = all.plus(r)
	}
	return all
}

// expectKept ends the load, of which nothing may be lost.
func (k *load) expectKept() {
	k.Helper()
	r := k.stop()
	if r.Lost > 0 {
		k.Errorf("%d of %d established connections are lost: %v", r.Lost, r.Connections, r.Errors)
	}
	if r.Longest > stallBound {
		k.Errorf("an established connection stood still for %.1f s", r.Longest)
	}
}

// startChurn opens connections by every way, one after each pause, which live for hold.
func (l *loadLab) startChurn(pause, hold string, ways []loadWay) *churners {
	l.Helper()
	c := &churners{t: l.T}
	for _, w := range ways {
		c.workers = append(c.workers, startWorker(l.T, w.from, w.name, "load-churn", w.addr, pause, hold))
	}
	for _, w := range c.workers {
		w.awaitReady()
	}
	return c
}

// churners are connections that come and go by several ways.
type churners struct {
	t       testing.TB
	workers []*worker
}

// stop ends them and returns what became of all.
func (c *churners) stop() (all churnResult) {
	c.t.Helper()
	for _, w := range c.workers {
		var r churnResult
		w.stop(&r)
		all = all.plus(r)
	}
	return all
}

func (r churnResult) String() string {
	return fmt.Sprintf("%d of %d new connections succeeded (%.2f %%), %d took over %v, the longest %.2f s %v",
		r.Tried-r.Failed, r.Tried, 100*float64(r.Tried-r.Failed)/float64(max(r.Tried, 1)), r.Slow, stallLimit, r.Longest, named(r.Errors))
}
