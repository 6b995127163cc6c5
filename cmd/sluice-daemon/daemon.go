package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-net/sluice/internal/daemon"
	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/metrics"
	"github.com/sluice-net/sluice/loader"
)

func newDaemon(run func(context.Context, daemon.Options) error) *cobra.Command {
	var o daemon.Options
	var level slog.LevelVar
	var levelName string
	var timeouts []string
	c := &cobra.Command{
		Use:   "daemon",
		Short: "Run the control plane in the foreground; its network namespace becomes the host",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if err := level.UnmarshalText([]byte(levelName)); err != nil {
				return fmt.Errorf("--log-level %q is none of debug, info, warn and error", levelName)
			}
			if o.RepairInterval <= 0 {
				return fmt.Errorf("--repair-interval %v is not a time to wait: use 1s or more", o.RepairInterval)
			}
			if o.Timeouts, err = datapath.ParseTimeouts(timeouts); err != nil {
				return fmt.Errorf("--conntrack-timeout: %w", err)
			}
			for flag, flows := range map[string]uint32{"conntrack-max": o.ConntrackMax, "conntrack-new-max": o.ConntrackNewMax} {
				if flows < 1 || flows > loader.MaxConntrack {
					return fmt.Errorf("--%s %d: want 1 to %d flows", flag, flows, loader.MaxConntrack)
				}
			}
			if o.Root, err = c.Flags().GetString("root"); err != nil {
				return err
			}
			o.Version = version
			o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: &level}))
			return run(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Cgroup, "cgroup", "", "cgroup v2 directory whose processes reach published ports by the host's own addresses; all of them by default")
	f.StringArrayVar(&o.Uplinks, "uplink", nil, "device that leads outside; every one that is not part of another by default")
	f.BoolVar(&o.IPv6, "ipv6", false, "give the default network IPv6 beside IPv4; it changes when no container runs in it")
	f.StringVar(&o.FixedCIDRv6, "fixed-cidr-v6", "", "IPv6 subnet of the default network as ADDRESS/LENGTH; a free default pool without it")
	f.StringArrayVar(&o.DNSUpstreams, "dns-upstream", nil, "name server, ADDR or ADDR:PORT, for what is no container's name; those of the host's resolv.conf by default")
	f.StringVar(&o.Shim, "shim", "", "path of sluice-shim; beside sluice or in PATH by default")
	f.StringVar(&o.Attach, "attach", "", "how programs meet devices: tcx, or clsact for kernels before 6.6; what the kernel has by default")
	f.StringVar(&o.Metrics, "metrics", metrics.DefaultAddress, "address and port of /metrics for Prometheus; \"off\" for none")
	f.DurationVar(&o.RepairInterval, "repair-interval", time.Minute, "how often everything is compared with the intent; what the kernel tells of is repaired at once")
	f.IntVar(&o.ReservePorts, "reserve-ports", 0, "how many ports of net.ipv4.ip_local_port_range, from its end, to keep for masquerade by net.ipv4.ip_local_reserved_ports; given back by the next daemon without it and by a reset")
	f.Uint32Var(&o.ConntrackMax, "conntrack-max", loader.DefaultConntrackMax, "flows of each family that have proved themselves; new ones never push them out")
	f.Uint32Var(&o.ConntrackNewMax, "conntrack-new-max", loader.DefaultConntrackMax, "young or unanswered flows of each family")
	f.StringArrayVar(&timeouts, "conntrack-timeout", nil, "NAME=DURATION: how long flows live without packets; names are "+strings.Join(datapath.TimeoutChoices(), ", "))
	f.StringVar(&levelName, "log-level", "info", "debug, info, warn or error")
	return c
}
