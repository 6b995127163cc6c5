package bench

import (
	"fmt"
	"net/netip"
	"runtime"

	"github.com/sluice-net/sluice/internal/traffic"
)

const bulkName = "bulk"

// The units of bulk: of a stream whose ends share a CPU, which never waits, and
// of one whose ends have a CPU each.
const (
	unitCPU  = "CPU s/GB"
	unitRate = "Gbit/s"
)

// streamPorts are published, and the ports of the servers: one on the client's
// CPU, one on another.
var streamPorts = []publishedPort{{"tcp", 8080, 80}, {"tcp", 8081, 81}}

// bulk is one TCP stream with large segments, as the devices' offloads have it.
var bulk = Scenario{
	Name:   bulkName,
	About:  "CPU seconds per GB, and Gbit/s, of one TCP stream",
	Rounds: 11,
	parts:  []part{{setup: setUpBulk}},
}

// streamPath is who sends what where.
type streamPath struct {
	name     string
	from, to func(*site) string // namespaces
	target   func(*site, publishedPort) netip.AddrPort
}

var streamPaths = []streamPath{
	{
		name:   pathPublished,
		from:   func(s *site) string { return s.client },
		to:     func(s *site) string { return s.container.namespace },
		target: func(s *site, p publishedPort) netip.AddrPort { return s.reach(&ipv4, p) },
	},
	{
		name: pathMasquerade,
		from: func(s *site) string { return s.container.namespace },
		to:   func(s *site) string { return s.client },
		target: func(_ *site, p publishedPort) netip.AddrPort {
			return netip.AddrPortFrom(ipv4.client.Addr(), p.container)
		},
	},
}

// serverCPUs are those of the servers behind streamPorts.
func serverCPUs() []int { return []int{lastCPU(), max(0, runtime.NumCPU()-2)} }

func setUpBulk(e *Env) ([]contest, error) {
	contests := make([]contest, len(streamPaths)*len(streamPorts))
	for _, candidate := range append([]candidate{{ArmFloor, buildRouted}}, candidates(e)...) {
		s, err := candidate.build(e, candidate.name, plan{ports: streamPorts})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", candidate.name, err)
		}
		for i, path := range streamPaths {
			for j, port := range streamPorts {
				if err := e.serve(path.to(s), everywhere(port.container), serverCPUs()[j]); err != nil {
					return nil, err
				}
				n := j*len(streamPaths) + i
				contests[n] = append(contests[n], arm{candidate.name, func() ([]sample, error) {
					return measureStream(e, s, path, port)
				}})
			}
		}
	}
	return contests, nil
}

func measureStream(e *Env, s *site, path streamPath, port publishedPort) ([]sample, error) {
	parameters := map[string]string{"path": path.name}
	if !e.wants(parameters) {
		return nil, nil
	}
	report, err := e.ask(path.from(s), "", traffic.Task{
		To: path.target(s, port), Kind: traffic.Stream, Parallel: 1, Count: 1, For: e.Turn, CPU: lastCPU(),
	})
	if err != nil {
		return nil, err
	}
	gigabytes := float64(report.Bytes) / 1e9
	if port == streamPorts[0] {
		return []sample{{parameters: parameters, value: report.Elapsed.Seconds() / gigabytes, unit: unitCPU}}, nil
	}
	return []sample{{parameters: parameters, value: 8 * gigabytes / report.Elapsed.Seconds(), unit: unitRate}}, nil
}
