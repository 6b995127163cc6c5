package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

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
