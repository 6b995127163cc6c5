package cli

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/cliformat"
)

// psRow is a line of ps, its fields those that Docker's templates have.
type psRow struct {
	ID, Command, CreatedAt, RunningFor, Status, State, Ports, Names, Networks string
}

var psColumns = []cliformat.Column{
	{Header: "CONTAINER ID", Field: "ID"},
	{Header: "COMMAND", Field: "Command"},
	{Header: "CREATED", Field: "RunningFor"},
	{Header: "STATUS", Field: "Status"},
	{Header: "PORTS", Field: "Ports"},
	{Header: "NAMES", Field: "Names"},
}

type psOptions struct {
	all, quiet, noTrunc, latest bool
	last                        int
	filters                     []string
	format                      string
}

func newPs(env *Env) *cobra.Command {
	var o psOptions
	c := &cobra.Command{
		Use:     "ps",
		Aliases: []string{"ls"},
		Short:   "List containers",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			wanted, err := parseFilter(o.filters, "name", "id", "status", "network")
			if err != nil {
				return err
			}
			if err := checkStates(wanted["status"]); err != nil {
				return err
			}
			if o.latest {
				o.last = 1
			}
			all, err := env.client().ListContainers(c.Context(), o.all || o.last > 0 || wanted["status"] != nil)
			if err != nil {
				return err
			}
			all = slices.DeleteFunc(all, func(s api.ContainerSummary) bool {
				return !wanted.keeps(func(key, value string) bool { return psMatches(s, key, value) })
			})
			if o.last > 0 {
				all = all[:min(o.last, len(all))]
			}
			return printContainers(env, o, all)
		},
	}
	f := c.Flags()
	f.BoolVarP(&o.all, "all", "a", false, "those that do not run too")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "IDs alone")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "whole IDs and commands")
	f.BoolVarP(&o.latest, "latest", "l", false, "the one created last")
	f.IntVarP(&o.last, "last", "n", 0, "the last created, in any state")
	f.StringArrayVarP(&o.filters, "filter", "f", nil, "name=, id=, status= or network=")
	f.StringVar(&o.format, "format", "", "table, json, or a Go template")
	return c
}

// states are Docker's; those that sluice does not have match nothing.
var states = []string{"created", "running", "exited", "paused", "restarting", "removing", "dead"}

// checkStates refuses what is no state, for an empty list would look like an
// answer.
func checkStates(wanted []string) error {
	for _, state := range wanted {
		if !slices.Contains(states, state) {
			return fmt.Errorf("--filter %q: the status is one of %s", "status="+state, strings.Join(states, ", "))
		}
	}
	return nil
}

func psMatches(s api.ContainerSummary, key, value string) bool {
	switch key {
	case "name":
		return strings.Contains(s.Names[0], value)
	case "id":
		return strings.HasPrefix(s.ID, value)
	case "status":
		return s.State == value
	}
	return slices.Contains(s.Networks, value)
}

func printContainers(env *Env, o psOptions, all []api.ContainerSummary) error {
	rows := []psRow{}
	for _, s := range all {
		row := psRowOf(s, o.noTrunc)
		if o.quiet {
			fmt.Fprintln(env.Stdout, row.ID)
		}
		rows = append(rows, row)
	}
	if o.quiet {
		return nil
	}
	return cliformat.List(env.Stdout, o.format, psColumns, rows)
}

func psRowOf(s api.ContainerSummary, whole bool) psRow {
	created := time.Unix(s.Created, 0)
	row := psRow{
		ID:         s.ID,
		Command:    fmt.Sprintf("%q", s.Command),
		CreatedAt:  created.Format("2006-01-02 15:04:05 -0700 MST"),
		RunningFor: api.Words(time.Since(created)) + " ago",
		Status:     s.Status,
		State:      s.State,
		Ports:      portsOf(s.Ports),
		Names:      strings.TrimPrefix(s.Names[0], "/"),
		Networks:   strings.Join(s.Networks, ","),
	}
	if !whole {
		row.ID = shortID(row.ID)
		row.Command = fmt.Sprintf("%q", shortened(s.Command, 20))
	}
	return row
}

// shortened cuts a text after a number of characters, the dots that say so
// included.
func shortened(text string, length int) string {
	if characters := []rune(text); len(characters) > length {
		return string(characters[:length-3]) + "..."
	}
	return text
}

func shortID(id string) string { return id[:min(12, len(id))] }

func portsOf(ports []api.PortSummary) string {
	var all []string
	for _, p := range ports {
		public := net.JoinHostPort(p.IP, span(p.PublicPort, p.PublicPortEnd))
		all = append(all, fmt.Sprintf("%s->%s/%s", public, span(p.PrivatePort, p.PrivatePortEnd), p.Type))
	}
	return strings.Join(all, ", ")
}

func span(first, last uint16) string {
	if last == 0 || last == first {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}
