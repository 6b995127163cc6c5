package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/shim"
)

func newExec(env *Env) *cobra.Command {
	var body api.Exec
	var variables []string
	var detach bool
	c := &cobra.Command{
		Use:   "exec [flags] CONTAINER [--] COMMAND [ARG...]",
		Short: "Run a further command in a running container",
		Args:  atLeast(2, "a container and a command"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if body.Env, err = environment(env, nil, variables); err != nil {
				return err
			}
			body.Cmd = args[1:]
			if body.Cmd[0] == "--" {
				body.Cmd = body.Cmd[1:]
			}
			if err := requireUTF8(slices.Concat(body.Cmd, body.Env, []string{body.WorkingDir})...); err != nil {
				return err
			}
			started, err := env.client().Exec(c.Context(), args[0], body)
			if err != nil {
				return err
			}
			if !detach {
				signals, stop := catchSignals()
				defer stop()
				return attach(env, started.Socket, body.OpenStdin, signals)
			}
			conn, err := shim.Dial(started.Socket)
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.Start()
			return startCode(err)
		},
	}
	f := c.Flags()
	f.SetInterspersed(false)
	f.BoolVarP(&detach, "detach", "d", false, "run in the background")
	f.BoolVarP(&body.OpenStdin, "interactive", "i", false, "keep standard input open")
	f.BoolVarP(&body.Tty, "tty", "t", false, "accepted; there are no terminals yet")
	f.BoolVar(&body.Privileged, "privileged", false, "keep every capability")
	f.StringVarP(&body.WorkingDir, "workdir", "w", "", "working directory inside")
	f.StringArrayVarP(&variables, "env", "e", nil, "set a variable: NAME=VALUE, or NAME to pass on")
	// Only what concerns the command has codes of its own; for the rest Docker
	// gives 1, but for flags.
	c.SetFlagErrorFunc(runFlagError)
	return c
}
