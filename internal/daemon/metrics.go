package daemon

import (
	"context"
	"runtime"

	"github.com/sluice-net/sluice/internal/metrics"
	"github.com/sluice-net/sluice/internal/names"
	"github.com/sluice-net/sluice/loader"
)

// listenMetrics takes the address of /metrics before anything is made, so that
// one that is in use is found out in time.
func (i *instance) listenMetrics(context.Context) (err error) {
	if i.options.Metrics == "" {
		return nil
	}
	if i.scrapes, err = metrics.Listen(i.options.Metrics); err != nil {
		return err
	}
	i.onClose(func() { _ = i.scrapes.Close() })
	return nil
}

// serveMetrics answers scrapes until the instance is closed. An end before that
// is reported and keeps nothing else from working.
func (i *instance) serveMetrics() {
	if i.scrapes == nil {
		return
	}
	m := metrics.New(metrics.Sources{
		Build:    metrics.Build{Version: i.options.Version, GoVersion: runtime.Version(), Layout: loader.Layout},
		Datapath: i.maps,
		Engine:   i.engine,
		Log:      i.log,
	})
	i.names.Observe(m.DNSObserver(names.Outcomes...))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := m.Serve(ctx, i.scrapes); err != nil {
			i.log.Error("no metrics any more", "error", err)
		}
	}()
	i.onClose(func() { cancel(); <-ended })
}
