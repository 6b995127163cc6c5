// Package metrics shows Prometheus what an instance does. Nothing is gathered
// between scrapes: each one reads the kernel's counters and the engine's
// intent as they are then, and nothing that it does makes a verb wait.
// docs/metrics.md describes every metric.
package metrics

import (
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/maps"
)

// Datapath is what the metrics ask of the kernel; *maps.Maps answers.
type Datapath interface {
	Packets(hook datapath.Hook, verdict datapath.Verdict) (uint64, error)
	Drops(reason reasons.Reason) (uint64, error)
	MasqueradeRetries() (uint64, error)
	Occupancy() (maps.Occupancy, error)
}

// Engine is what the metrics ask of the intent; *engine.Engine answers.
type Engine interface {
	PublishedPorts() ([]engine.RuleView, error)
	AliasSelections() ([]engine.AliasView, error)
	AddressUse() ([]engine.AddressUse, error)
}

// Build says which sluice this is.
type Build struct {
	Version   string
	GoVersion string
	Layout    int // of the pinned maps
}

// Sources are what is measured.
type Sources struct {
	Build    Build
	Datapath Datapath
	Engine   Engine
	Log      *slog.Logger
}

// Metrics are the metrics of one instance, in a registry of their own.
type Metrics struct {
	registry *prometheus.Registry
	log      *slog.Logger
	dns      *prometheus.HistogramVec
}

// New returns the metrics of what is given.
func New(s Sources) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), log: s.Log, dns: newDNS()}
	m.registry.MustRegister(
		newBuildInfo(s.Build),
		&datapathCollector{source: s.Datapath},
		&engineCollector{source: s.Engine},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

func newBuildInfo(b Build) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sluice_build_info",
		Help: "Always 1; its labels say which sluice this is, built with which Go, and the layout of its pinned maps.",
		ConstLabels: prometheus.Labels{
			"version": b.Version, "goversion": b.GoVersion, "layout": fmt.Sprint(b.Layout),
		},
	})
	g.Set(1)
	return g
}

// maxScrapes is how many scrapes may be under way. Others are told to come
// back (503) instead of waiting in a line that grows.
const maxScrapes = 2

// Handler answers GET /metrics and nothing else. A collector that fails takes
// only its own metrics with it; the log and promhttp_metric_handler_errors_total
// say so.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		Registry:            m.registry,
		ErrorLog:            logger{m.log},
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
	}))
	return mux
}

// logger writes what promhttp has to complain about.
type logger struct{ log *slog.Logger }

func (l logger) Println(v ...any) { l.log.Error("metrics", "error", fmt.Sprint(v...)) }
