package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-net/sluice/internal/api"
)

func newStart(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "start CONTAINER...",
		Short: "Start containers that ended or were only created",
		Args:  atLeast(1, "at least one container"),
		RunE: func(c *cobra.Command, args []string) error {
			return env.eachRef(args, func(ref string) error {
				_, err := env.client().StartContainer(c.Context(), ref, api.StartContainer{})
				return err
			})
		},
	}
}

func newStop(env *Env) *cobra.Command {
	var seconds int
	c := &cobra.Command{
		Use:   "stop CONTAINER...",
		Short: "Ask containers to end, and kill those that do not",
		Args:  atLeast(1, "at least one container"),
		RunE: func(c *cobra.Command, args []string) error {
			if seconds < 0 || seconds > api.MaxStopSeconds {
				return fmt.Errorf("--time %d is no number of seconds from 0 to %d", seconds, api.MaxStopSeconds)
			}
			return env.eachRef(args, func(ref string) error {
				return env.client().StopContainer(c.Context(), ref, time.Duration(seconds)*time.Second)
			})
		},
	}
	c.Flags().IntVarP(&seconds, "time", "t", 10, "seconds to wait before killing")
	return c
}

func newKill(env *Env) *cobra.Command {
	var signal string
	c := &cobra.Command{
		Use:   "kill CONTAINER...",
		Short: "Send containers a signal",
		Args:  atLeast(1, "at least one container"),
		RunE: func(c *cobra.Command, args []string) error {
			return env.eachRef(args, func(ref string) error {
				return env.client().KillContainer(c.Context(), ref, signal)
			})
		},
	}
	c.Flags().StringVarP(&signal, "signal", "s", "KILL", "the signal, by name or number")
	return c
}

func newRemove(env *Env) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "rm CONTAINER...",
		Short: "Remove containers",
		Args:  atLeast(1, "at least one container"),
		RunE: func(c *cobra.Command, args []string) error {
			return env.eachRef(args, func(ref string) error {
				return env.client().RemoveContainer(c.Context(), ref, force)
			})
		},
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "kill what still runs")
	return c
}

func newWait(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "wait CONTAINER...",
		Short: "Wait for containers to end and print their exit codes",
		Args:  atLeast(1, "at least one container"),
		RunE: func(c *cobra.Command, args []string) error {
			for _, ref := range args {
				answer, err := env.client().WaitContainer(c.Context(), ref)
				if err != nil {
					return err
				}
				fmt.Fprintln(env.Stdout, answer.StatusCode)
			}
			return nil
		},
	}
}
