// Package cli is the command line: a thin client of the API whose grammar,
// columns and exit codes are Docker's wherever Docker has the verb. Each verb
// has a file of its own.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/dirs"
)

// Env is all that the verbs know of the world.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	LookupEnv      func(string) (string, bool)
	Version        string
	// Daemon becomes the daemon's program, for `daemon`, and for `system reset`
	// without one.
	Daemon func(args ...string) error
	// AskDaemon runs the daemon's program and returns what it prints, for
	// `doctor` without a daemon.
	AskDaemon func(args ...string) ([]byte, error)

	root string // --root
}

// Exit codes besides those of commands.
const (
	exitError = 1
	exitRun   = apierr.ExitDaemon // of run, create and start, as Docker's
)

// codeError carries the exit code of a verb that has said all there is to say,
// or of an error that is still to be printed.
type codeError struct {
	code  int
	err   error // nil: nothing to print
	cause error // that is not printed
}

func (e *codeError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *codeError) Unwrap() []error { return []error{e.err, e.cause} }

// output remembers that something could not be written: the verbs need not look.
type output struct {
	io.Writer
	err error // the first
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.Writer.Write(b)
	o.err = cmp.Or(o.err, err)
	return n, err
}

// lost is the error of a verb that did all but say so.
func (o *output) lost() error {
	switch {
	case o.err == nil:
		return nil
	case errors.Is(o.err, syscall.EPIPE):
		return &codeError{code: exitPipe, cause: o.err}
	}
	return fmt.Errorf("write what there is to say: %w", o.err)
}

// Main runs a command line and returns the exit code.
func Main(ctx context.Context, env *Env, args []string) int {
	out := &output{Writer: env.Stdout}
	env.Stdout = out
	root := newRoot(env)
	root.SetArgs(args)
	err := cmp.Or(root.ExecuteContext(ctx), out.lost())
	if err == nil {
		return 0
	}
	var code *codeError
	if errors.As(err, &code) {
		if code.err != nil {
			fmt.Fprintln(env.Stderr, "sluice:", code.err)
		}
		return code.code
	}
	fmt.Fprintln(env.Stderr, "sluice:", err)
	return exitError
}

func newRoot(env *Env) *cobra.Command {
	root := &cobra.Command{
		Use:           "sluice",
		Short:         "Container networking whose packets never meet iptables",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%q is not a sluice command: see `sluice --help`", args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	defaultRoot, _ := env.LookupEnv("SLUICE_ROOT")
	root.PersistentFlags().StringVar(&env.root, "root", defaultRoot, "directory of the instance (SLUICE_ROOT); /var/lib/sluice and /run/sluice by default")
	root.AddGroup(
		&cobra.Group{ID: "container", Title: "Containers:"},
		&cobra.Group{ID: "network", Title: "Networks and ports:"},
		&cobra.Group{ID: "system", Title: "The daemon:"},
	)
	add(root, "container",
		newRun(env), newCreate(env), newStart(env), newStop(env), newKill(env), newRemove(env), newWait(env),
		newPs(env), newExec(env), newInspect(env), newLogs(env))
	add(root, "network", newNetwork(env), newPort(env), newPublish(env), newUnpublish(env), newNAT(env), newConntrack(env), newMonitor(env))
	add(root, "system", newDaemon(env), newDoctor(env), newSystem(env), newVersion(env))
	return root
}

func add(root *cobra.Command, group string, verbs ...*cobra.Command) {
	for _, verb := range verbs {
		verb.GroupID = group
		root.AddCommand(verb)
	}
}

// client returns a client of the instance's daemon.
func (env *Env) client() *api.Client { return api.NewClient(dirs.New(env.root).Socket()) }

// runError gives an error of run and its kin the exit code that Docker gives.
func runError(err error) error {
	var known *codeError
	if err == nil || errors.As(err, &known) {
		return err
	}
	var answered *apierr.Error
	if errors.As(err, &answered) && answered.ExitCode != 0 {
		return &codeError{code: answered.ExitCode, err: err}
	}
	return &codeError{code: exitRun, err: err}
}

// runFlagError is what run and its kin say of wrong flags.
func runFlagError(c *cobra.Command, err error) error {
	return &codeError{code: exitRun, err: fmt.Errorf("%w: see `%s --help`", err, c.CommandPath())}
}

// asRun makes a verb's errors, those of its flags and arguments too, end with
// Docker's exit codes for run.
func asRun(c *cobra.Command) *cobra.Command {
	c.SetFlagErrorFunc(runFlagError)
	inner, args := c.RunE, c.Args
	c.RunE = func(c *cobra.Command, a []string) error { return runError(inner(c, a)) }
	c.Args = func(c *cobra.Command, a []string) error { return runError(args(c, a)) }
	return c
}

// atLeast requires a number of arguments and says which.
func atLeast(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < n {
			return fmt.Errorf("%q needs %s: see `%s --help`", c.CommandPath(), what, c.CommandPath())
		}
		return nil
	}
}

// exactly requires a number of arguments and says which.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return fmt.Errorf("%q needs %s and nothing else: see `%s --help`", c.CommandPath(), what, c.CommandPath())
		}
		return nil
	}
}

// eachRef does something with every reference and prints those that worked.
// It goes on after errors, prints them, and fails if there were any.
func (env *Env) eachRef(refs []string, do func(ref string) error) error {
	failed := false
	for _, ref := range refs {
		if err := do(ref); err != nil {
			fmt.Fprintln(env.Stderr, "sluice:", err)
			failed = true
			continue
		}
		fmt.Fprintln(env.Stdout, ref)
	}
	if failed {
		return &codeError{code: exitError}
	}
	return nil
}
