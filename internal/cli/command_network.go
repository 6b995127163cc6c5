package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/cliformat"
)

func newNetwork(env *Env) *cobra.Command {
	c := &cobra.Command{Use: "network", Short: "Make, list and remove networks", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(newNetworkCreate(env), newNetworkList(env), newNetworkInspect(env), newNetworkRemove(env))
	return c
}

func newNetworkCreate(env *Env) *cobra.Command {
	var body api.CreateNetwork
	var subnet, gateway string
	var options, labels []string
	c := &cobra.Command{
		Use:   "create [flags] NAME",
		Short: "Make a network and print its ID",
		Args:  exactly(1, "one name"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			body.Name = args[0]
			body.IPAM.Driver = "default"
			if subnet != "" || gateway != "" {
				body.IPAM.Config = []api.IPAMConfig{{Subnet: subnet, Gateway: gateway}}
			}
			body.Options, body.Labels = pairs(options), pairs(labels)
			created, err := env.client().CreateNetwork(c.Context(), body)
			if err != nil {
				return err
			}
			fmt.Fprintln(env.Stdout, created.ID)
			return nil
		},
	}
	f := c.Flags()
	f.StringVarP(&body.Driver, "driver", "d", "bridge", "driver; bridge is the only one")
	f.StringVar(&subnet, "subnet", "", "subnet as ADDRESS/LENGTH; a free default pool without it")
	f.StringVar(&gateway, "gateway", "", "the host's address in the subnet; its first one without it")
	f.BoolVar(&body.Internal, "internal", false, "no way to the outside")
	f.StringVar(&body.AliasMode, "alias-mode", "vip", "what a --network-alias resolves to: vip, one address whose members take turns,\nor dnsrr, the members' addresses in another order each time")
	f.StringArrayVarP(&options, "opt", "o", nil, "option of the driver: NAME=VALUE")
	f.StringArrayVar(&labels, "label", nil, "label: NAME=VALUE")
	return c
}

func pairs(all []string) map[string]string {
	m := map[string]string{}
	for _, pair := range all {
		name, value, _ := strings.Cut(pair, "=")
		m[name] = value
	}
	return m
}

// networkRow is a line of network ls, its fields those that Docker's templates
// have.
type networkRow struct {
	ID, Name, Driver, Scope, CreatedAt string
	Internal                           bool
}

var networkColumns = []cliformat.Column{
	{Header: "NETWORK ID", Field: "ID"},
	{Header: "NAME", Field: "Name"},
	{Header: "DRIVER", Field: "Driver"},
	{Header: "SCOPE", Field: "Scope"},
}

func newNetworkList(env *Env) *cobra.Command {
	var quiet, noTrunc bool
	var format string
	c := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List networks",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			networks, err := env.client().ListNetworks(c.Context())
			if err != nil {
				return err
			}
			rows := []networkRow{}
			for _, n := range networks {
				row := networkRow{n.ID, n.Name, n.Driver, n.Scope, n.Created.Format(time.RFC3339), n.Internal}
				if !noTrunc {
					row.ID = shortID(n.ID)
				}
				if quiet {
					fmt.Fprintln(env.Stdout, row.ID)
				}
				rows = append(rows, row)
			}
			if quiet {
				return nil
			}
			return cliformat.List(env.Stdout, format, networkColumns, rows)
		},
	}
	f := c.Flags()
	f.BoolVarP(&quiet, "quiet", "q", false, "IDs alone")
	f.BoolVar(&noTrunc, "no-trunc", false, "whole IDs")
	f.StringVar(&format, "format", "", "table, json, or a Go template")
	return c
}

func newNetworkRemove(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "rm NETWORK...",
		Short: "Remove networks that nobody uses",
		Args:  atLeast(1, "at least one network"),
		RunE: func(c *cobra.Command, args []string) error {
			return env.eachRef(args, func(ref string) error { return env.client().RemoveNetwork(c.Context(), ref) })
		},
	}
}
