package e2e

import (
	"encoding/json"
	"errors"
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
func loadServe(args []string) error {
	listener, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			buffer := make([]byte, 64)
			for {
				n, err := conn.Read(buffer)
				if err != nil {
					return
				}
				if _, err := conn.Write(buffer[:n]); err != nil {
					return
				}
			}
		}()
	}
}

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

// withoutAddresses is an error that is the same for all connections.
func withoutAddresses(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}

// beats says bytes on a connection and listens to the answers.
type beats struct {
	conn     *net.TCPConn
	seed     byte
	answered func(n int) // called with each answer; may be nil
	measured *atomic.Bool

	sent chan time.Time
}

type beatResult struct {
	answers int
	longest time.Duration
	when    time.Time
	err     error
}

// until says a byte at once and after each pause, until stop is closed; then it
// waits for the answers, which have to be the bytes that were sent.
func (b *beats) until(stop <-chan struct{}, pause time.Duration) beatResult {
	b.sent = make(chan time.Time, 1024)
	done := make(chan beatResult, 1)
	go func() { done <- b.listen() }()
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for n := 0; ; n++ {
		b.sent <- time.Now()
		if _, err := b.conn.Write([]byte{b.at(n)}); err != nil {
			close(b.sent)
			r := <-done
			r.err = errors.Join(r.err, err)
			return r
		}
		select {
		case r := <-done: // the connection has ended
			return r
		case <-ticker.C:
			continue
		case <-stop:
		}
		_ = b.conn.SetReadDeadline(time.Now().Add(loadTimeout))
		close(b.sent)
		return <-done
	}
}

func (b *beats) at(n int) byte { return byte(n)*7 + b.seed }

func (b *beats) listen() (r beatResult) {
	one := make([]byte, 1)
	for sent := range b.sent {
		if _, r.err = b.conn.Read(one); r.err != nil {
			return r
		}
		if one[0] != b.at(r.answers) {
			r.err = fmt.Errorf("byte %d is %d", r.answers, one[0])
			return r
		}
		r.answers++
		if took := time.Since(sent); b.measured.Load() && took > r.longest {
			r.longest, r.when = took, time.Now()
		}
		if b.answered != nil {
			b.answered(r.answers)
		}
	}
	return r
}

// churnResult is what `load-churn` prints of its connections.
type churnResult struct {
	Tried, Failed int
	Slow          int     // that took longer than stallLimit to be there
	Longest       float64 // seconds until one was there
	Errors        map[string]uint64
}

// loadChurn opens connections to a load-serve at ADDR:PORT, one after each PAUSE,
// which say two bytes a second for HOLD and end. It prints a churnResult when
// standard input has ended.
func loadChurn(args []string) error {
	pause, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	hold, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		ended <- err
	}()
	c := &churn{addr: args[0], hold: hold, result: churnResult{Errors: map[string]uint64{}}}
	fmt.Println("ready")
	var group sync.WaitGroup
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			group.Go(c.one)
			continue
		case err = <-ended:
		}
		group.Wait()
		return errors.Join(err, json.NewEncoder(os.Stdout).Encode(c.result))
	}
}

type churn struct {
	addr string
	hold time.Duration

	mu     sync.Mutex
	result churnResult
}

// one is one connection.
func (c *churn) one() {
	begin := time.Now()
	took, err := c.talk(begin)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.result.Tried++
	if err != nil {
		c.result.Failed++
		c.result.Errors[withoutAddresses(err)]++
		return
	}
	c.result.Longest = max(c.result.Longest, took.Seconds())
	if took > stallLimit {
		c.result.Slow++
	}
}

func (c *churn) talk(begin time.Time) (took time.Duration, err error) {
	conn, err := net.DialTimeout("tcp", c.addr, loadDialing)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	took = time.Since(begin)
	stop := make(chan struct{})
	time.AfterFunc(c.hold, func() { close(stop) })
	b := &beats{conn: conn.(*net.TCPConn), seed: byte(begin.UnixNano()), measured: new(atomic.Bool)}
	return took, b.until(stop, loadBeat/2).err
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
