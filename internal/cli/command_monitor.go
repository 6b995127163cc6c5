package cli

import (
	"errors"
	"fmt"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/cliformat"
)

func newMonitor(env *Env) *cobra.Command {
	var drops bool
	var o api.DropOptions
	var format string
	c := &cobra.Command{
		Use:   "monitor --drops",
		Short: "Watch packets as they are dropped, and why",
		Long: "Watch packets as they are dropped, and why, until interrupted. Of a flood, 64 packets a second are shown for each\n" +
			"reason and CPU; how many more there were is said once a second. --format json has the beginning of each frame.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !drops {
				return errors.New("say what to watch: --drops")
			}
			show, err := cliformat.Follow(env.Stdout, format, dropLine)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return env.client().WatchDrops(ctx, o, show)
		},
	}
	f := c.Flags()
	f.BoolVar(&drops, "drops", false, "watch dropped packets")
	f.StringArrayVar(&o.Reasons, "reason", nil, "those for this reason alone; may be repeated")
	f.StringVar(&o.Container, "container", "", "those that this container sent, or was to get, alone")
	f.StringVar(&format, "format", "", "json, or a Go template")
	return c
}

// dropTime has as many digits in every line.
const dropTime = "2006-01-02T15:04:05.000000Z07:00"

// dropLine is a drop as a line of text.
func dropLine(d api.Drop) string {
	hook, what := d.Hook, fmt.Sprintf("%s length %d", d.Packet, d.Length)
	if d.NotShown > 0 {
		hook, what = "-", fmt.Sprintf("%d more, not shown", d.NotShown)
	}
	var about []string
	for _, a := range []struct{ name, value string }{
		{"device", d.Device}, {"from", d.Sender}, {"to", d.Receiver}, {"mac", macOf(d)}, {"why", d.Description},
	} {
		if a.value != "" {
			about = append(about, a.name+"="+a.value)
		}
	}
	return fmt.Sprintf("%s %-9s %-15s %s (%s)", d.Time.Local().Format(dropTime), hook, d.Reason, what, strings.Join(about, ", "))
}

// macOf is who sent a frame whose addresses are what is wrong with it.
func macOf(d api.Drop) string {
	if strings.HasPrefix(d.Reason, "spoofed-") {
		return d.SourceMAC
	}
	return ""
}
