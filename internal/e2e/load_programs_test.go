package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	loadBeat    = time.Second      // between two bytes of a kept connection
	stallLimit  = time.Second      // what a user would notice
	loadTimeout = 15 * time.Second // how long the last answers may take
	loadDialing = 10 * time.Second
)

// loadResult is what `load-keep` prints of its connections.
type loadResult struct {
	Connections, Lost int
	Bytes             uint64            // that came back
	Longest           float64           // seconds from a byte to its answer
	When              time.Time         // that answer came
	Stalled           int               // connections of which one took longer than stallLimit
	Errors            map[string]uint64 // why they were lost
}

// loadServe sends back what every connection to ADDR:PORT says.
func loadServe(args []string) error { return serveTCP(args[0], sendBack) }

// loadKeep keeps N connections to a load-serve at ADDR:PORT, each of which says a
// byte a second. It prints "ready" when all have their first answers, and a
// loadResult when standard input has ended and the last answers are there.
func loadKeep(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	k := &keeper{addr: args[0], stop: stop, result: loadResult{Connections: n, Errors: map[string]uint64{}}}
	var ready, group sync.WaitGroup
	ready.Add(n)
	for i := range n {
		group.Go(func() { k.keep(i, n, ready.Done) })
	}
	ready.Wait()
	k.measured.Store(true)
	fmt.Println("ready")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	close(stop)
	group.Wait()
	return json.NewEncoder(os.Stdout).Encode(k.result)
}

// keeper is what the connections of a load-keep share.
type keeper struct {
	addr     string
	stop     <-chan struct{}
	measured atomic.Bool // all are there: stalls count from now on

	mu     sync.Mutex
	result loadResult
}

// keep is one connection from its first byte to its last.
func (k *keeper) keep(i, n int, ready func()) {
	once := sync.OnceFunc(ready)
	defer once()
	time.Sleep(loadBeat * time.Duration(i) / time.Duration(n)) // so that they do not all speak at once
	conn, err := net.DialTimeout("tcp", k.addr, loadDialing)
	if err != nil {
		k.add(beatResult{err: err})
		return
	}
	defer conn.Close()
	b := &beats{conn: conn.(*net.TCPConn), seed: byte(i), answered: func(n int) {
		if n == 2 {
			once()
		}
	}, measured: &k.measured}
	k.add(b.until(k.stop, loadBeat))
}

func (r *loadResult) longer(seconds float64, when time.Time) {
	if seconds > r.Longest {
		r.Longest, r.When = seconds, when
	}
}

func (k *keeper) add(r beatResult) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.result.Bytes += uint64(r.answers)
	k.result.longer(r.longest.Seconds(), r.when)
	if r.longest > stallLimit {
		k.result.Stalled++
	}
	if r.err != nil {
		k.result.Lost++
		k.result.Errors[withoutAddresses(r.err)]++
	}
}

// plus adds two results.
func (r churnResult) plus(o churnResult) churnResult {
	r.Tried, r.Failed, r.Slow, r.Longest = r.Tried+o.Tried, r.Failed+o.Failed, r.Slow+o.Slow, max(r.Longest, o.Longest)
	r.Errors = sumOf(r.Errors, o.Errors)
	return r
}

func (r loadResult) plus(o loadResult) loadResult {
	r.Connections, r.Lost, r.Stalled = r.Connections+o.Connections, r.Lost+o.Lost, r.Stalled+o.Stalled
	r.Bytes += o.Bytes
	r.longer(o.Longest, o.When)
	r.Errors = sumOf(r.Errors, o.Errors)
	return r
}

func sumOf(a, b map[string]uint64) map[string]uint64 {
	sum := map[string]uint64{}
	maps.Copy(sum, a)
	for key, n := range b {
		sum[key] += n
	}
	return sum
}
