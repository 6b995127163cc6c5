package cli

import (
	"bytes"
	"context"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
)

// runCLI runs a command line in-process, without a daemon.
func runCLI(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	env, out, errs := testEnv(t)
	code = Main(context.Background(), env, args)
	return code, out.String(), errs.String()
}

func testEnv(t *testing.T) (env *Env, stdout, stderr *bytes.Buffer) {
	t.Helper()
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	return &Env{
		Stdin: strings.NewReader(""), Stdout: stdout, Stderr: stderr, Version: "v1.2.3",
		LookupEnv: func(name string) (string, bool) {
			value, ok := map[string]string{"SLUICE_ROOT": t.TempDir(), "HOME": "/home/user"}[name]
			return value, ok
		},
	}, stdout, stderr
}

// TestEveryVerbExplainsItself walks the tree of verbs.
func TestEveryVerbExplainsItself(t *testing.T) {
	t.Parallel()
	env, _, _ := testEnv(t)
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.DisableFlagParsing {
			return // another program explains it
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short help %q", c.CommandPath(), c.Short)
		}
		args := append(strings.Fields(c.CommandPath())[1:], "--help")
		if code, stdout, stderr := runCLI(t, args...); code != 0 || !strings.Contains(stdout, "Usage:") || stderr != "" {
			t.Errorf("%v: exit code %d, said %q", args, code, stderr)
		}
		for _, child := range c.Commands() {
			walk(child)
		}
	}
	walk(newRoot(env))
}

func TestVersionWithoutDaemon(t *testing.T) {
	t.Parallel()
	if _, stdout, _ := runCLI(t, "version"); !strings.Contains(stdout, "v1.2.3") {
		t.Errorf("printed %q", stdout)
	}
}

func TestExitCodesWithoutDaemon(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]int{
		"ps": 1, "network ls": 1, "nonsense": 1, "ps --nonsense": 1, "ps nonsense": 1,
		"run": 125, "run --nonsense": 125, "create": 125, "exec": 1, "exec a b": 1, "exec --nonsense": 125, "publish a 1:1": 125,
	} {
		code, stdout, stderr := runCLI(t, strings.Fields(line)...)
		if code != want || stdout != "" || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit code %d, want %d; printed %q, said %q", line, code, want, stdout, stderr)
		}
	}
}

// failing is an output that takes nothing.
type failing struct{ error }

func (f failing) Write([]byte) (int, error) { return 0, f.error }

// TestOutputIsLost: a verb has not done what it was asked for when nobody can read
// what it says. One whose reader has gone says nothing more, as SIGPIPE would have it.
func TestOutputIsLost(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		code int
		says string
	}{
		{syscall.ENOSPC, 1, "sluice: write what there is to say: no space left on device\n"},
		{syscall.EPIPE, 141, ""},
	} {
		env, _, stderr := testEnv(t)
		env.Stdout = failing{test.err}
		if code := Main(context.Background(), env, []string{"run", "--help"}); code != test.code || stderr.String() != test.says {
			t.Errorf("%v: exit code %d, want %d; said %q, want %q", test.err, code, test.code, stderr, test.says)
		}
	}
}

// TestDaemonIsHandedOn: what is before the verb belongs to it too.
func TestDaemonIsHandedOn(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"daemon":                              "daemon",
		"daemon --root /r --uplink a --help":  "daemon --root /r --uplink a --help",
		"--root /r daemon --log-level=debug":  "daemon --root /r --log-level=debug",
		"system reset --force --root /r":      "reset --root=/r",
		"--root /r system reset --force=true": "reset --root=/r",
	} {
		env, _, _ := testEnv(t)
		var got []string
		env.Daemon = func(args ...string) error { got = args; return nil }
		if code := Main(context.Background(), env, strings.Fields(line)); code != 0 || strings.Join(got, " ") != want {
			t.Errorf("%s: exit code %d, became %q, want %q", line, code, got, want)
		}
	}
}

func TestResetAsksFirst(t *testing.T) {
	t.Parallel()
	for input, want := range map[string]bool{"": false, "n\n": false, "no\n": false, "y\n": true, "Y\n": true} {
		env, _, _ := testEnv(t)
		env.Stdin = strings.NewReader(input)
		reset := false
		env.Daemon = func(...string) error { reset = true; return nil }
		code := Main(context.Background(), env, []string{"system", "reset"})
		if reset != want || (code == 0) != want {
			t.Errorf("answered %q: reset %v, exit code %d", input, reset, code)
		}
	}
}
