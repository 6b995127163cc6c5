package cli

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/cliformat"
)

func newSystem(env *Env) *cobra.Command {
	c := &cobra.Command{Use: "system", Short: "Look at the instance, or take it away", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(newSystemInfo(env), newSystemReset(env))
	return c
}

func newSystemInfo(env *Env) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "info",
		Short: "Describe the instance: kernel, uplinks, map entries, drops",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			info, err := env.client().Info(c.Context())
			if err != nil {
				return err
			}
			if format != "" {
				return cliformat.List(env.Stdout, format, nil, []api.Info{info})
			}
			return cliformat.Objects(env.Stdout, "", []any{info})
		},
	}
	c.Flags().StringVarP(&format, "format", "f", "", "json, or a Go template")
	return c
}

const resetWarning = `This removes every container and network, all devices, mounts and state of this instance.
Are you sure? [y/N] `

func newSystemReset(env *Env) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "reset",
		Short: "Take everything away and leave the host as it was",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !force && !confirmed(env) {
				return errors.New("nothing was reset: answer y, or use --force")
			}
			err := env.client().Reset(c.Context())
			if !errors.Is(err, api.ErrNoDaemon) {
				return err
			}
			return env.Daemon("reset", "--root="+env.root)
		},
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	return c
}

func confirmed(env *Env) bool {
	fmt.Fprint(env.Stdout, resetWarning)
	answer, _ := bufio.NewReader(env.Stdin).ReadString('\n')
	return strings.EqualFold(strings.TrimSpace(answer), "y")
}
