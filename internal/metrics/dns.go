package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func newDNS() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "sluice_dns_request_duration_seconds",
		Help: "Time from a container's DNS request to its answer, by outcome.",
		// What the daemon knows itself takes microseconds, an upstream
		// milliseconds, and three upstreams that are silent 12 seconds.
		Buckets: []float64{0.00005, 0.0001, 0.00025, 0.001, 0.005, 0.025, 0.1, 0.5, 1, 4, 8, 12},
	}, []string{"outcome"})
}

// DNSObserver returns what to tell of each DNS request. Outcomes are few and
// fixed: each is a series, which is there from the first scrape on.
func (m *Metrics) DNSObserver(outcomes ...string) func(outcome string, took time.Duration) {
	m.registry.MustRegister(m.dns)
	for _, outcome := range outcomes {
		m.dns.WithLabelValues(outcome)
	}
	return func(outcome string, took time.Duration) {
		m.dns.WithLabelValues(outcome).Observe(took.Seconds())
	}
}
