package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/lab"
)

// worker is one of the test binary's programs that works until its standard
// input ends: it prints "ready" when it has begun, and JSON at its end.
type worker struct {
	t      testing.TB
	what   string
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout *bufio.Reader
	stderr strings.Builder
}

func startWorker(t testing.TB, n *lab.Namespace, what, program string, args ...string) *worker {
	t.Helper()
	w := &worker{t: t, what: what, cmd: exec.Command(selfPath, append([]string{program}, args...)...)}
	w.cmd.Stderr = &w.stderr
	stdin, err := w.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	w.stdin, w.stdout = stdin, bufio.NewReader(stdout)
	n.Must(func() error { return n.Start(w.cmd) })
	t.Cleanup(func() { _ = w.cmd.Process.Kill() })
	return w
}

// awaitReady waits until it has begun.
func (w *worker) awaitReady() {
	w.t.Helper()
	if line := w.line(time.Minute); line != "ready\n" {
		w.t.Fatalf("%s: %q, %s", w.what, line, w.stderr.String())
	}
}

// line is the next one that it prints; a worker that takes too long is killed.
func (w *worker) line(patience time.Duration) string {
	hung := time.AfterFunc(patience, func() { _ = w.cmd.Process.Kill() })
	defer hung.Stop()
	line, _ := w.stdout.ReadString('\n')
	return line
}

// kill ends it at once.
func (w *worker) kill() {
	_ = w.cmd.Process.Kill()
	_ = w.cmd.Wait()
}

// stop ends it and reads its result.
func (w *worker) stop(result any) {
	w.t.Helper()
	_ = w.stdin.Close()
	line := w.line(time.Minute)
	err := w.cmd.Wait()
	if err == nil {
		err = json.Unmarshal([]byte(line), result)
	}
	if err != nil {
		w.t.Fatal(fmt.Errorf("%s: %w: %s", w.what, err, w.stderr.String()))
	}
}
