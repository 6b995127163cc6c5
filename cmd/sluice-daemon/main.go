// Command sluice-daemon is the control plane. `sluice daemon` becomes it, and
// `sluice system reset` does where no daemon answers: a program of its own,
// so that the client starts without what only the daemon needs.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/daemon"
)

// version is set by the linker.
var version = "unknown"

func main() {
	root := newRoot(verbs{run, daemon.Reset, daemon.Doctor})
	root.SetArgs(os.Args[1:])
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "sluice:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o daemon.Options) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// What containers read and make is as Docker has it, whoever starts us. What
	// is nobody else's has a mode that says so.
	syscall.Umask(0o022)
	// Nobody may read the log any more. To ignore the signal would be inherited
	// by containers.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	err := daemon.Run(ctx, o)
	if errors.Is(err, context.Canceled) {
		return errors.New("told to end before it was ready")
	}
	return err
}

// verbs are what the command line leads to.
type verbs struct {
	run, reset func(context.Context, daemon.Options) error
	doctor     func(daemon.Options) ([]api.Finding, error)
}

// newRoot returns the command line: that of the client, as far as it is ours.
func newRoot(v verbs) *cobra.Command {
	root := &cobra.Command{
		Use:           "sluice",
		Short:         "What the client leaves to the daemon's program",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().String("root", os.Getenv("SLUICE_ROOT"), "directory of the instance (SLUICE_ROOT); /var/lib/sluice and /run/sluice by default")
	root.AddCommand(newDaemon(v.run), newReset(v.reset), newDoctor(v.doctor))
	return root
}
