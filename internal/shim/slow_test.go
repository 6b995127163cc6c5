package shim_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/shim"
)

// slow takes nothing for a while, then counts what comes.
type slow struct {
	begun bool
	bytes int
}

func (s *slow) Write(p []byte) (int, error) {
	if !s.begun {
		s.begun = true
		time.Sleep(time.Second)
	}
	s.bytes += len(p)
	return len(p), nil
}

// TestSlowClientLosesNothing covers a client that reads on only when the command has
// long ended: with one size or another the last of the output is then in the pipe.
func TestSlowClientLosesNothing(t *testing.T) {
	t.Parallel()
	var clients sync.WaitGroup
	for size := 32 << 10; size <= 512<<10; size += 32 << 10 {
		conn, _ := launch(t, shim.Config{Args: sh(fmt.Sprintf("head -c %d /dev/zero", size))})
		clients.Go(func() {
			var out slow
			if code, err := conn.Attach(nil, &out, &out); err != nil || code != 0 || out.bytes != size {
				t.Errorf("%d bytes of %d came, exit code %d, %v", out.bytes, size, code, err)
			}
		})
	}
	clients.Wait()
}
