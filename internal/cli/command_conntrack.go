package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/cliformat"
)

func newConntrack(env *Env) *cobra.Command {
	c := &cobra.Command{Use: "conntrack", Short: "List the flows that are translated, or end them", Args: cobra.NoArgs,
		Long: "List the flows that are translated, or end them. Connections of the host's own processes to published ports are\n" +
			"none: their sockets have the container's address. Nor are those inside a network.",
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(newConntrackList(env), newConntrackFlush(env))
	return c
}

// flowRow is a line of `conntrack ls`, its fields those that templates have: a
// flow's, with times in words and both ends together.
type flowRow struct {
	api.Flow
	Original, Translated              string
	AgeText, IdleText, LeftText, Rule string
}

var flowColumns = []cliformat.Column{
	{Header: "PROT", Field: "Protocol"},
	{Header: "STATE", Field: "State"},
	{Header: "AGE", Field: "AgeText"},
	{Header: "IDLE", Field: "IdleText"},
	{Header: "LEFT", Field: "LeftText"},
	{Header: "ORIGINAL", Field: "Original"},
	{Header: "TRANSLATED", Field: "Translated"},
	{Header: "CONTAINER", Field: "Container"},
	{Header: "RULE", Field: "Rule"},
}

func newConntrackList(env *Env) *cobra.Command {
	var filter api.FlowFilter
	var format string
	var count bool
	c := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the flows that are translated",
		Long: "List the flows that are translated, each once: what its packets look like in the direction that began it, and what\n" +
			"they become. STATE has nf_conntrack's words. LEFT is when the flow ends unless another packet comes.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if count {
				answer, err := env.client().CountFlows(c.Context(), filter)
				if err == nil {
					fmt.Fprintln(env.Stdout, answer.Count)
				}
				return err
			}
			return listFlows(c, env, filter, format)
		},
	}
	addFlowFilter(c.Flags(), &filter)
	c.Flags().BoolVar(&count, "count", false, "their number alone")
	c.Flags().StringVar(&format, "format", "", "table, json, or a Go template")
	return c
}

func listFlows(c *cobra.Command, env *Env, filter api.FlowFilter, format string) error {
	if format == "json" {
		show, err := cliformat.Follow[api.Flow](env.Stdout, format, nil)
		if err != nil {
			return err
		}
		return env.client().ListFlows(c.Context(), filter, show)
	}
	var rows []flowRow
	err := env.client().ListFlows(c.Context(), filter, func(f api.Flow) error {
		rows = append(rows, flowRowOf(f))
		return nil
	})
	if err != nil {
		return err
	}
	return cliformat.List(env.Stdout, format, flowColumns, rows)
}

func flowRowOf(f api.Flow) flowRow {
	row := flowRow{
		Flow:       f,
		Original:   f.Source + " > " + f.Destination,
		Translated: f.TranslatedSource + " > " + f.TranslatedDestination,
		AgeText:    seconds(f.Age),
		IdleText:   seconds(f.Idle),
		LeftText:   seconds(f.Left),
		Rule:       f.Kind + " " + f.Rule,
	}
	if f.ID != 0 || f.TranslatedID != 0 {
		row.Original += fmt.Sprintf(" id %d", f.ID)
		row.Translated += fmt.Sprintf(" id %d", f.TranslatedID)
	}
	return row
}

// seconds is a number of seconds as a duration: 2h4m0s.
func seconds(n int) string { return (time.Duration(n) * time.Second).String() }

func addFlowFilter(f *pflag.FlagSet, filter *api.FlowFilter) {
	f.StringVar(&filter.Container, "container", "", "flows of this container alone")
	f.StringVar(&filter.Source, "src", "", "flows from this address, or ADDRESS/LENGTH, before translation or after it")
	f.StringVar(&filter.Destination, "dst", "", "flows to it")
	f.StringVar(&filter.Port, "port", "", "flows with this port, at either end")
	f.StringVar(&filter.Protocol, "proto", "", "tcp, udp, icmp or icmp6")
	f.StringVar(&filter.State, "state", "", "as in the column STATE, for example ESTABLISHED or UNREPLIED")
	f.StringVar(&filter.Family, "family", "", "ipv4 or ipv6")
}

func newConntrackFlush(env *Env) *cobra.Command {
	var body api.FlushFlows
	c := &cobra.Command{
		Use:   "flush",
		Short: "End flows: their next packets are of none",
		Long: "End flows, and print how many. The next packet of each is of no flow: it may begin another, as the first packet to\n" +
			"a published port does, or be dropped or refused.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch filtered := body.FlowFilter != (api.FlowFilter{}); {
			case !filtered && !body.All:
				return errors.New("say which flows to flush by a filter, or use --all")
			case filtered && body.All:
				return errors.New("--all and a filter exclude each other")
			}
			answer, err := env.client().FlushFlows(c.Context(), body)
			if err == nil {
				fmt.Fprintln(env.Stdout, answer.Count)
			}
			return err
		},
	}
	addFlowFilter(c.Flags(), &body.FlowFilter)
	c.Flags().BoolVar(&body.All, "all", false, "every flow, without a filter")
	return c
}
