package bench

import (
	"fmt"
	"time"

	"github.com/sluice-net/sluice/internal/traffic"
)

const latencyName = "latency"

// askedPorts are the published ones of latency, to one server.
var askedPorts = []publishedPort{{"tcp", 8080, 80}, {"udp", 8080, 80}}

// latency is how long one exchange after the other takes through a published
// port. Client and server share a CPU, so that no idle CPU has to wake up. The
// floor is that of connecting.
var latency = Scenario{
	Name:    latencyName,
	About:   "µs per exchange through a published port, one at a time",
	Rounds:  11,
	Targets: []Target{{Scenario: latencyName, Arm: armSluice, AtMost: 1.06, Of: ArmFloor}},
	parts:   []part{{setup: setUpLatency}},
}

// latencyKinds are what an exchange is.
var latencyKinds = []struct {
	name string
	kind traffic.Kind
	port publishedPort
}{
	{"connect", traffic.Short, askedPorts[0]},
	{"tcp", traffic.Kept, askedPorts[0]},
	{"udp", traffic.Datagram, askedPorts[1]},
}

func setUpLatency(e *Env) ([]contest, error) {
	contests := make([]contest, len(latencyKinds))
	for _, candidate := range append([]candidate{{ArmFloor, buildRouted}}, candidates(e)...) {
		s, err := candidate.build(e, candidate.name, plan{ports: askedPorts})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", candidate.name, err)
		}
		if err := e.serve(s.container.namespace, everywhere(askedPorts[0].container), lastCPU()); err != nil {
			return nil, err
		}
		for i, k := range latencyKinds {
			task := traffic.Task{
				To: s.reach(&ipv4, k.port), Kind: k.kind, Parallel: 1, Count: mostExchanges, For: e.Turn, CPU: lastCPU(),
			}
			contests[i] = append(contests[i], arm{candidate.name, func() ([]sample, error) {
				return measureLatency(e, s, k.name, task)
			}})
		}
	}
	return contests, nil
}

func measureLatency(e *Env, s *site, kind string, task traffic.Task) (samples []sample, err error) {
	if !e.wants(map[string]string{"kind": kind}) {
		return nil, nil
	}
	report, err := e.ask(s.client, "", task)
	if err != nil {
		return nil, err
	}
	quantiles := []struct {
		name  string
		value time.Duration
	}{{"p50", report.P50}, {"p99", report.P99}}
	for _, q := range quantiles {
		samples = append(samples, sample{
			parameters: map[string]string{"kind": kind, "quantile": q.name},
			value:      float64(q.value.Nanoseconds()) / 1e3,
			unit:       "µs",
		})
	}
	return samples, nil
}
