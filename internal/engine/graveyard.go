package engine

import (
	"os"
	"slices"
	"sync"
	"time"
)

// Deleting a device takes the kernel 15 to 50 ms, a part of it under the lock
// that every change of a device needs. So a verb that has taken away all that
// anybody can see of an endpoint or a network leaves the device to this.
const (
	// burialQuiet is how long no verb came before devices are deleted: whoever
	// takes things away one by one is not held up by the ones before.
	burialQuiet = 50 * time.Millisecond
	// burialPatience is how long a device waits at most, and burialRoom how
	// many may wait.
	burialPatience = time.Second
	burialRoom     = 64
)

// burial is a device that no record knows any more. A daemon that dies before
// it is deleted leaves a stray that carries our mark.
type burial struct {
	device string
	// detach forgets the attachment of the device's program.
	detach func(device string) error
	// The endpoint that it was of, whose record may still be there, and its
	// network's bridge, which has a neighbour entry for it; "" for none.
	endpoint Endpoint
	bridge   string
	// The sandbox would take the device with it when it ends, under the lock
	// that the verbs need.
	sandbox *os.File
}

// graveyard deletes devices behind the answers of verbs.
type graveyard struct {
	engine *Engine
	ended  chan struct{}

	mu     sync.Mutex
	change *sync.Cond
	queue  []burial
	batch  []burial  // what is being deleted
	since  time.Time // when the first of the queue came
	verbs  time.Time // when the last verb came
	hurry  int       // who waits for the queue to be empty
	closed bool
	held   bool // for tests
}

func newGraveyard(e *Engine) *graveyard {
	g := &graveyard{engine: e, ended: make(chan struct{})}
	g.change = sync.NewCond(&g.mu)
	go g.work()
	return g
}

// disturb notes that a verb came.
func (g *graveyard) disturb() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.verbs = time.Now()
}

// bury leaves a device to the graveyard. It stays ours until it is deleted.
func (g *graveyard) bury(b burial) {
	g.engine.registry.setDying(b.device, true)
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if len(g.queue) == 0 {
		g.since = now
	}
	g.verbs = now
	g.queue = append(g.queue, b)
	g.change.Broadcast()
}

// settle returns when everything that was buried so far is deleted.
func (g *graveyard) settle() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hurry++
	g.change.Broadcast()
	for len(g.queue)+len(g.batch) > 0 {
		g.change.Wait()
	}
	g.hurry--
}

// settleIn returns when no device waits in the sandbox, the path of a network
// namespace: the name that it has in there is taken until then.
func (g *graveyard) settleIn(sandbox string) {
	if g.holds(sandbox) {
		g.settle()
	}
}

func (g *graveyard) holds(sandbox string) bool {
	wanted, err := os.Stat(sandbox)
	if err != nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, b := range slices.Concat(g.queue, g.batch) {
		if b.sandbox == nil {
			continue
		}
		if held, err := b.sandbox.Stat(); err == nil && os.SameFile(held, wanted) {
			return true
		}
	}
	return false
}

// close settles and ends the worker.
func (g *graveyard) close() {
	g.settle()
	g.mu.Lock()
	g.closed = true
	g.change.Broadcast()
	g.mu.Unlock()
	<-g.ended
}

func (g *graveyard) work() {
	defer close(g.ended)
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		for len(g.queue) == 0 && !g.closed {
			g.change.Wait()
		}
		if g.closed {
			return
		}
		if wait := g.due(); wait > 0 {
			alarm := time.AfterFunc(wait, g.change.Broadcast)
			g.change.Wait()
			alarm.Stop()
			continue
		}
		g.batch, g.queue = g.queue, nil
		g.mu.Unlock()
		g.engine.deleteBuried(g.batch)
		g.mu.Lock()
		g.batch = nil
		g.change.Broadcast()
	}
}

// due is how long the queue still waits; g.mu is held.
func (g *graveyard) due() time.Duration {
	if g.held {
		return time.Hour
	}
	if g.hurry > 0 || len(g.queue) >= burialRoom {
		return 0
	}
	now := time.Now()
	return min(g.verbs.Add(burialQuiet).Sub(now), g.since.Add(burialPatience).Sub(now))
}
