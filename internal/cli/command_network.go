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
	var subnets, gateways, labels []string
	c := &cobra.Command{
		Use:   "create [flags] NAME",
		Short: "Make a network and print its ID",
		Args:  exactly(1, "one name"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			body.Name = args[0]
			body.IPAM.Driver = "default"
			if body.IPAM.Config, err = ipamConfig(subnets, gateways); err != nil {
				return err
			}
			body.Labels = pairs(labels)
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
	f.BoolVar(&body.EnableIPv6, "ipv6", false, "IPv6 beside IPv4")
	f.StringArrayVar(&subnets, "subnet", nil, "subnet as ADDRESS/LENGTH, one of each family at most; a free default pool without it")
	f.StringArrayVar(&gateways, "gateway", nil, "the host's address in the subnet of its family; its first one without it")
	f.BoolVar(&body.Internal, "internal", false, "no way to the outside")
	f.StringVar(&body.AliasMode, "alias-mode", "vip", "what a --network-alias resolves to: vip, one address whose members take turns,\nor dnsrr, the members' addresses in another order each time")
	f.StringArrayVar(&labels, "label", nil, "label: NAME=VALUE")
	return c
}

// ipamConfig puts each gateway beside the subnet of its family. What it says of a
// subnet is left to the daemon.
func ipamConfig(subnets, gateways []string) (configs []api.IPAMConfig, err error) {
	isIPv6 := func(text string) bool { return strings.Contains(text, ":") }
	byFamily := map[bool]*api.IPAMConfig{}
	for _, subnet := range subnets {
		if byFamily[isIPv6(subnet)] != nil {
			return nil, fmt.Errorf("--subnet %s is the second of its family, and a network has one of each: leave it out, or make another network", subnet)
		}
		byFamily[isIPv6(subnet)] = &api.IPAMConfig{Subnet: subnet}
	}
	for _, gateway := range gateways {
		config := byFamily[isIPv6(gateway)]
		if config == nil {
			config = &api.IPAMConfig{}
			byFamily[isIPv6(gateway)] = config
		}
		if config.Gateway != "" {
			return nil, fmt.Errorf("--gateway %s is the second of its family, and a network has one of each: leave it out", gateway)
		}
		config.Gateway = gateway
	}
	for _, family := range []bool{false, true} {
		if config := byFamily[family]; config != nil {
			configs = append(configs, *config)
		}
	}
	return configs, nil
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
	Internal, IPv6                     bool
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
	var filters []string
	c := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List networks",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			wanted, err := parseFilter(filters, "name", "id", "driver")
			if err != nil {
				return err
			}
			networks, err := env.client().ListNetworks(c.Context())
			if err != nil {
				return err
			}
			rows := []networkRow{}
			for _, n := range networks {
				if !wanted.keeps(func(key, value string) bool { return networkMatches(n, key, value) }) {
					continue
				}
				row := networkRow{n.ID, n.Name, n.Driver, n.Scope, n.Created.Format(time.RFC3339), n.Internal, n.EnableIPv6}
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
	f.StringArrayVarP(&filters, "filter", "f", nil, "name=, id= or driver=")
	f.StringVar(&format, "format", "", "table, json, or a Go template")
	return c
}

func networkMatches(n api.Network, key, value string) bool {
	switch key {
	case "name":
		return strings.Contains(n.Name, value)
	case "id":
		return strings.HasPrefix(n.ID, value)
	}
	return n.Driver == value
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
