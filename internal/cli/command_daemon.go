package cli

import "github.com/spf13/cobra"

// newDaemon hands its whole command line on: the flags are those of the
// daemon's program.
func newDaemon(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:                "daemon",
		Short:              "Run the control plane in the foreground; its network namespace becomes the host",
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return env.Daemon(append([]string{"daemon"}, args...)...)
		},
	}
}
