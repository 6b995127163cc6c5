package lab

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"
)

// patience bounds every command of a test, and what a test waits for. On
// machines without KVM the verifier alone takes half a minute:
// SLUICE_LAB_PATIENCE, a duration, is for them.
var patience = func() time.Duration {
	if wish, err := time.ParseDuration(os.Getenv("SLUICE_LAB_PATIENCE")); err == nil {
		return wish
	}
	return 30 * time.Second
}()

func parseIP(s string) net.IP { return net.ParseIP(s) }

// Result is what a command gave back.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// Run runs a command in the namespace to its end.
func (n *Namespace) Run(name string, args ...string) Result {
	n.t.Helper()
	return n.RunInput("", name, args...)
}

// RunInput is Run with standard input.
func (n *Namespace) RunInput(input, name string, args ...string) Result {
	n.t.Helper()
	return n.run(patience, input, name, args...)
}

// RunWithin is Run for what may take longer than other commands.
func (n *Namespace) RunWithin(timeout time.Duration, name string, args ...string) Result {
	n.t.Helper()
	return n.run(timeout, "", name, args...)
}

func (n *Namespace) run(timeout time.Duration, input, name string, args ...string) Result {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &stdout, &stderr
	if err := n.Start(cmd); err != nil {
		n.t.Fatalf("start %s: %v", name, err)
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		n.t.Fatalf("run %s: %v", name, err)
	}
	return Result{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
}

// Output runs a command that must succeed and returns its standard output
// without the last newline.
func (n *Namespace) Output(name string, args ...string) string {
	n.t.Helper()
	r := n.Run(name, args...)
	if r.Code != 0 {
		n.t.Fatalf("%s %s: exit code %d\n%s%s", name, strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
	}
	return strings.TrimSuffix(r.Stdout, "\n")
}

// Background starts a command that is killed when the test ends.
func (n *Namespace) Background(name string, args ...string) *exec.Cmd {
	n.t.Helper()
	cmd := exec.Command(name, args...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.WaitDelay = time.Second
	if err := n.Start(cmd); err != nil {
		n.t.Fatalf("start %s: %v", name, err)
	}
	n.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if n.t.Failed() {
			n.t.Logf("%s: %s", name, output.String())
		}
	})
	return cmd
}

// Eventually waits until check succeeds, for thirty seconds at most: a busy
// machine takes its time.
func (n *Namespace) Eventually(what string, check func() error) {
	n.t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	n.t.Fatalf("%s: %v", what, err)
}
