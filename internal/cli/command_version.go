package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/cliformat"
)

// versions are those of client and daemon.
type versions struct {
	Client struct{ Version string }
	Server api.VersionInfo
}

func newVersion(env *Env) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of client and daemon",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var v versions
			v.Client.Version = env.Version
			var err error
			v.Server, err = env.client().Version(c.Context())
			if err != nil {
				fmt.Fprintf(env.Stdout, "Client:  %s\n", env.Version)
				return err
			}
			if format != "" {
				return cliformat.List(env.Stdout, format, nil, []versions{v})
			}
			fmt.Fprintf(env.Stdout, "Client:  %s\nServer:  %s\n API:    %s\n Go:     %s\n OS/Arch: %s/%s\n Kernel: %s\n",
				env.Version, v.Server.Version, v.Server.APIVersion, v.Server.GoVersion, v.Server.Os, v.Server.Arch, v.Server.KernelVersion)
			return nil
		},
	}
	c.Flags().StringVarP(&format, "format", "f", "", "json, or a Go template")
	return c
}
