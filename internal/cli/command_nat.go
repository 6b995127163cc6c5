package cli

import (
	"github.com/spf13/cobra"

	"github.com/sluice-net/sluice/internal/cliformat"
)

var natColumns = []cliformat.Column{
	{Header: "PKTS", Field: "Packets"},
	{Header: "BYTES", Field: "Bytes"},
	{Header: "RULE", Field: "Kind"},
	{Header: "PROT", Field: "Protocol"},
	{Header: "SOURCE", Field: "Source"},
	{Header: "DESTINATION", Field: "Destination"},
	{Header: "PORTS", Field: "Ports"},
	{Header: "TO", Field: "To"},
	{Header: "NETWORK", Field: "Network"},
	{Header: "CONTAINER", Field: "Container"},
}

func newNAT(env *Env) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "nat",
		Short: "List the translations in force and what they counted",
		Long: "List the translations in force, as `iptables -t nat -vnL` would: PKTS and BYTES count flows by their first\n" +
			"packets. --format json also has every packet that a rule translated (TotalPackets, TotalBytes). Connections of\n" +
			"the host itself are translated once, at connect, and count as a flow without bytes.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			rules, err := env.client().NAT(c.Context())
			if err != nil {
				return err
			}
			return cliformat.List(env.Stdout, format, natColumns, rules)
		},
	}
	c.Flags().StringVar(&format, "format", "", "table, json, or a Go template")
	return c
}
