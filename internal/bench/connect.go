package bench

import (
	"fmt"
	"strconv"

	"github.com/sluice-net/sluice/internal/traffic"
)

const connectName = "connect"

// The arm of nftables whose rules are one line and a map of the ports.
const armNftMap = "nft-map"

// firstPort is the first of many published ports, of the host and of the
// container; they end before net.ipv4.ip_local_port_range.
const firstPort = 20000

// MostPorts is how many ports Env.Ports may ask for.
const MostPorts = 12_000

// mostExchanges bounds what a client does in a turn.
const mostExchanges = 100_000

// parallelConnections is how many connections are open at a time.
const parallelConnections = 16

// connecting is what a short TCP connection through a published port costs, all
// processes and softirqs together: client, server and all in between share a
// CPU, which never waits. The port is the last of many that are published. The
// floor's client connects to the container's own address, by a host that routes
// and has no netfilter.
var connecting = Scenario{
	Name:    connectName,
	About:   "µs of CPU per short TCP connection through a published port",
	Rounds:  11,
	Targets: []Target{{Scenario: connectName, Arm: armSluice, AtMost: 5, Of: overFloor}},
	parts:   []part{{setup: setUpConnect}},
}

func setUpConnect(e *Env) ([]contest, error) {
	var contests []contest
	for _, count := range e.Ports {
		ports := make([]publishedPort, count)
		for i := range ports {
			ports[i] = publishedPort{"tcp", firstPort + uint16(i), firstPort + uint16(i)}
		}
		var c contest
		for _, candidate := range append([]candidate{{ArmFloor, buildRouted}, {armNftMap, buildNftMap}}, candidates(e)...) {
			a, err := newConnector(e, candidate, ports)
			if err != nil {
				return nil, fmt.Errorf("%s with %d ports: %w", candidate.name, count, err)
			}
			c = append(c, a)
		}
		contests = append(contests, c)
	}
	return contests, nil
}

// newConnector makes an arm that measures connections through the last of the
// ports.
func newConnector(e *Env, c candidate, ports []publishedPort) (arm, error) {
	s, err := c.build(e, fmt.Sprintf("%s-%d", c.name, len(ports)), plan{ports: ports})
	if err != nil {
		return arm{}, err
	}
	last := ports[len(ports)-1]
	if err := e.serve(s.container.namespace, everywhere(last.container), lastCPU()); err != nil {
		return arm{}, err
	}
	task := traffic.Task{
		To: s.reach(&ipv4, last), Kind: traffic.Short, Parallel: parallelConnections, Count: mostExchanges, For: e.Turn, CPU: lastCPU(),
	}
	parameters := map[string]string{"parallel": strconv.Itoa(parallelConnections), "ports": strconv.Itoa(len(ports))}
	return arm{c.name, func() ([]sample, error) {
		report, err := e.ask(s.client, "", task)
		if err != nil {
			return nil, err
		}
		return []sample{{parameters: parameters, value: perExchange(report), unit: "µs/connection"}}, nil
	}}, nil
}
