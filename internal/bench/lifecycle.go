package bench

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/sluice-net/sluice/internal/netdev"
)

const lifecycleName = "lifecycle"

// The published port of the container with a server, and how long a client
// waits for an answer before it tries again.
const (
	serverPort    = 8080
	answerTimeout = 20 * time.Millisecond
)

// lifecycle is how long the verbs take, each as a process of its own. Its floor
// is `sluice version`: a process that asks the daemon for something it knows.
var lifecycle = Scenario{
	Name:   lifecycleName,
	About:  "ms per verb",
	Rounds: 31,
	parts:  []part{{setup: setUpLifecycle}},
	Targets: []Target{
		{Scenario: lifecycleName, Parameters: "verb=network create", Arm: armSluice, AtMost: 10},
		{Scenario: lifecycleName, Parameters: "verb=network rm", Arm: armSluice, AtMost: 10},
		{Scenario: lifecycleName, Parameters: "verb=run -d", Arm: armSluice, AtMost: 30},
		{Scenario: lifecycleName, Parameters: "verb=run -d -p until it answers", Arm: armSluice, AtMost: 30},
	},
}

func setUpLifecycle(e *Env) ([]contest, error) {
	return setUpVerbs(e, lifecycleName, (*verbs).lifecycle)
}

// setUpVerbs starts an instance of every binary, and returns an arm for each, and
// a floor. What the arms measure is given.
func setUpVerbs(e *Env, scenario string, operations func(*verbs) ([]operation, error)) ([]contest, error) {
	var arms contest
	for name, binary := range e.binaries() {
		w, err := newWorld(e, scenario+"-"+name)
		if err != nil {
			return nil, err
		}
		i, err := startSluice(e, w, binary)
		if err != nil {
			return nil, err
		}
		v := &verbs{instance: i, world: w}
		if v.operations, err = operations(v); err != nil {
			return nil, err
		}
		if name == armSluice {
			arms = append(arms, arm{ArmFloor, v.floor})
		}
		arms = append(arms, arm{name, v.measure})
	}
	return []contest{arms}, nil
}

// verbs runs the verbs of one instance.
type verbs struct {
	instance   *instance
	world      *world
	operations []operation
}

// operation is what is timed. They are run in order, and the last of them take
// away what the first made.
type operation struct {
	name string
	run  func() error
}

func (v *verbs) verb(args ...string) func() error {
	return func() error { return v.instance.run(args...) }
}

func (v *verbs) lifecycle() ([]operation, error) {
	server := []string{"run", "-d", "--name=server", "--network=bench", fmt.Sprintf("-p=%d:80", serverPort),
		"--", "busybox", "httpd", "-f", "-p", "80"}
	return []operation{
		{"network create", v.verb("network", "create", "bench")},
		{"run -d", v.verb("run", "-d", "--name=idle", "--network=bench")},
		{"run -d -p until it answers", func() error {
			if err := v.instance.run(server...); err != nil {
				return err
			}
			return eventually(v.answers)
		}},
		{"rm -f", v.verb("rm", "-f", "idle")},
		{"rm -f with a port", v.verb("rm", "-f", "server")},
		{"network rm", v.verb("network", "rm", "bench")},
	}, nil
}

func (v *verbs) measure() ([]sample, error) {
	var samples []sample
	for _, o := range v.operations {
		s, err := timed(o)
		if err != nil {
			return nil, err
		}
		samples = append(samples, s)
	}
	return samples, nil
}

// floor measures the same process start and request for each operation.
func (v *verbs) floor() ([]sample, error) {
	var samples []sample
	for _, o := range v.operations {
		s, err := timed(operation{o.name, func() error { return v.instance.run("version") }})
		if err != nil {
			return nil, err
		}
		samples = append(samples, s)
	}
	return samples, nil
}

func timed(o operation) (sample, error) {
	begin := time.Now()
	err := o.run()
	elapsed := time.Since(begin)
	return sample{
		parameters: map[string]string{"verb": o.name},
		value:      float64(elapsed.Nanoseconds()) / 1e6,
		unit:       "ms",
	}, err
}

// answers asks the container's server from the client, once.
func (v *verbs) answers() error {
	return netdev.InNamespace(v.world.client, func() error {
		conn, err := net.DialTimeout("tcp4", netip.AddrPortFrom(ipv4.host.Addr(), serverPort).String(), answerTimeout)
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
		if err == nil {
			err = conn.SetReadDeadline(time.Now().Add(time.Second))
		}
		if err == nil {
			_, err = io.ReadFull(conn, make([]byte, len("HTTP")))
		}
		return err
	})
}
