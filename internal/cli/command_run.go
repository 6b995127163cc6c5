package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/shim"
)

func newRun(env *Env) *cobra.Command {
	var o containerOptions
	var detach bool
	c := &cobra.Command{
		Use:   "run [flags] [--] [COMMAND [ARG...]]",
		Short: "Create and start a container; without a command it waits",
		Args:  cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			body, err := o.body(env, args)
			if err != nil {
				return err
			}
			return run(c.Context(), env, body, detach)
		},
	}
	o.addFlags(c.Flags())
	c.Flags().BoolVarP(&detach, "detach", "d", false, "run in the background and print the ID")
	return asRun(c)
}

// run leaves no container behind that never ran: its name would be taken, and
// nothing could be learnt from it. A signal waits for the daemon's answer, which
// says what there is to remove.
func run(ctx context.Context, env *Env, body api.CreateContainer, detach bool) error {
	signals, stop := catchSignals()
	defer stop()
	client := env.client()
	created, err := client.CreateContainer(ctx, body)
	if err != nil {
		return err
	}
	warn(env, created)
	if err := interrupted(signals); err != nil {
		return removeUnstarted(ctx, client, created.ID, err)
	}
	started, err := client.StartContainer(ctx, created.ID, api.StartContainer{Hold: !detach})
	if err != nil {
		return removeUnstarted(ctx, client, created.ID, err)
	}
	if detach {
		fmt.Fprintln(env.Stdout, created.ID)
		return nil
	}
	if err := interrupted(signals); err != nil {
		return removeUnstarted(ctx, client, created.ID, err)
	}
	err = attach(env, started.Socket, body.OpenStdin, signals)
	if errors.Is(err, shim.ErrOutput) {
		return err // the container goes on
	}
	// The shim tells us of the end before the daemon has noted it; whoever
	// comes next must find things as they are.
	_, _ = client.WaitContainer(ctx, created.ID)
	var start *shim.StartError
	if errors.As(err, &start) && !body.HostConfig.AutoRemove {
		return removeUnstarted(ctx, client, created.ID, err)
	}
	return err
}

// removeUnstarted removes a container that could not be started. Why that was so
// is what the user is told, in one line.
func removeUnstarted(ctx context.Context, client *api.Client, id string, why error) error {
	if errors.Is(why, api.ErrDaemonGone) {
		return why
	}
	if err := client.RemoveContainer(ctx, id, true); err != nil && apierr.StatusOf(err) != 404 { // somebody else did
		return fmt.Errorf("%w; and what is left of it could not be removed: %v", why, err)
	}
	return why
}

// warn tells of wishes that the daemon does not fulfil.
func warn(env *Env, created api.CreateContainerResponse) {
	for _, warning := range created.Warnings {
		fmt.Fprintln(env.Stderr, "WARNING:", warning)
	}
}

func newCreate(env *Env) *cobra.Command {
	var o containerOptions
	c := &cobra.Command{
		Use:   "create [flags] [--] [COMMAND [ARG...]]",
		Short: "Create a container without starting it",
		Args:  cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			body, err := o.body(env, args)
			if err != nil {
				return err
			}
			created, err := env.client().CreateContainer(c.Context(), body)
			if err != nil {
				return err
			}
			warn(env, created)
			fmt.Fprintln(env.Stdout, created.ID)
			return nil
		},
	}
	o.addFlags(c.Flags())
	return asRun(c)
}
