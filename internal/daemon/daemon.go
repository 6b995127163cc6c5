// Package daemon puts the layers together: it opens an instance (mounts, maps,
// programs, store, engine, containers), serves the API, and closes it again or
// takes it away.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/sluice-net/sluice/internal/apiserver"
	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/internal/metrics"
	"github.com/sluice-net/sluice/loader"
)

// Options are what a daemon is started with.
type Options struct {
	Root    string   // --root; "" for the default instance
	Cgroup  string   // the part of the cgroup v2 tree whose sockets are ours; "" for all of it
	Uplinks []string // names; none for every device that leads outside
	Shim    string   // path of the shim's program; "" to look for it
	Version string
	Log     *slog.Logger
	// Attach is "tcx", "clsact" or "" for what the kernel has.
	Attach string
	// Metrics is where /metrics is served, ADDRESS:PORT; "" or "off" for nowhere.
	Metrics string
	// RepairInterval is how often everything is compared with the intent; 0 for
	// once a minute.
	RepairInterval time.Duration
	// IPv6 gives the default network IPv6, with the subnet FixedCIDRv6; "" for one of
	// the default pool.
	IPv6        bool
	FixedCIDRv6 string
	// ReservePorts is how many ports of ip_local_port_range are kept from the
	// host's sockets, for masquerade.
	ReservePorts int
	// DNSUpstreams answer what is no container's name, ADDR or ADDR:PORT; those
	// of the host's resolv.conf when there are none.
	DNSUpstreams []string
	// ConntrackMax and ConntrackNewMax are how many flows of each family there may
	// be that have proved themselves, and young ones; 0 for what loader takes then.
	ConntrackMax, ConntrackNewMax uint32
	// Timeouts are how long flows live without packets, where not as compiled.
	Timeouts loader.Timeouts

	bridge *engine.Default // what Run makes of IPv6 and FixedCIDRv6
}

// shutdownTimeout bounds how long answers under way may take at the end.
const shutdownTimeout = 2 * time.Second

// Run runs a daemon until ctx ends or it is told to reset. Containers and
// connections go on after it.
func Run(ctx context.Context, o Options) error {
	var err error
	if o.Metrics, err = metrics.ParseAddress(o.Metrics); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	o.bridge = &engine.Default{IPv6: o.IPv6, Subnet6: o.FixedCIDRv6}
	if err := o.bridge.Validate(); err != nil {
		return err
	}
	i, err := openInstance(ctx, o)
	if err != nil {
		return err
	}
	if err := i.attachSockets(); err != nil {
		return errors.Join(err, i.abandon(ctx))
	}
	defer i.close()
	i.keepRepaired()
	listener, err := listen(i.dirs)
	if err != nil {
		return err
	}
	i.serveMetrics()
	return serve(ctx, i, listener)
}

func serve(ctx context.Context, i *instance, listener *apiSocket) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	backend := &backend{instance: i, stop: stop}
	server := &http.Server{Handler: apiserver.NewServer(backend), ReadHeaderTimeout: 10 * time.Second}
	server.RegisterOnShutdown(i.drops.Close) // or the end would wait for those who watch
	i.log.Info("ready", "socket", i.dirs.Socket(), "attach", i.loader.Mode())
	failed := i.keepListening(server, listener)
	defer i.unlisten()
	select {
	case err := <-failed:
		return fmt.Errorf("serve the API: %w", err)
	case err := <-i.watching:
		return fmt.Errorf("watch the host's network: %w", err)
	case <-ctx.Done():
	}
	deadline, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(deadline); err != nil {
		_ = server.Close() // whoever still waits is told by the end of the connection
	}
	return nil
}
