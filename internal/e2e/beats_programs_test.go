package e2e

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

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
