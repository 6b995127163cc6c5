package bench

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/internal/traffic"
)

const localName = "local"

// Docker's userland proxy, which may not be there.
const armDockerProxy = "docker-proxy"

// loopbackPort is the published one, of which 127.0.0.1 is asked.
var loopbackPort = publishedPort{"tcp", 8080, 80}

// local is what a process of the host pays for a published port of 127.0.0.1:
// CPU time as in connecting, per short connection, and per request by
// connections that stay. The floor's server is itself at 127.0.0.1.
var local = Scenario{
	Name:    localName,
	About:   "µs of CPU from the host to 127.0.0.1:PORT",
	Rounds:  15,
	Targets: []Target{{Scenario: localName, Arm: armSluice, AtMost: 1.1, Of: ArmFloor}},
	parts:   []part{{setup: setUpLocal}},
}

// localKinds are what clients do, and what is counted of each.
var localKinds = []struct {
	kind traffic.Kind
	unit string
}{{traffic.Short, "µs/connection"}, {traffic.Kept, "µs/request"}}

// visitor is a process of the host, as one arm has it.
type visitor struct{ host, cgroup string }

func setUpLocal(e *Env) ([]contest, error) {
	contests := make([]contest, len(localKinds))
	add := func(name string, build func(*Env, string) (visitor, error)) error {
		v, err := build(e, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for i, k := range localKinds {
			contests[i] = append(contests[i], arm{name, v.visits(e, k.kind, k.unit)})
		}
		return nil
	}
	if err := add(ArmFloor, buildLoopback); err != nil {
		return nil, err
	}
	if _, err := exec.LookPath(armDockerProxy); err == nil {
		if err := add(armDockerProxy, buildDockerProxy); err != nil {
			return nil, err
		}
	}
	for name, binary := range e.binaries() {
		if err := add(name, buildSocketHook(binary)); err != nil {
			return nil, err
		}
	}
	return contests, nil
}

// visits returns what measures one kind of exchanges.
func (v *visitor) visits(e *Env, kind traffic.Kind, unit string) func() ([]sample, error) {
	task := traffic.Task{
		To:   netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), loopbackPort.host),
		Kind: kind, Parallel: parallelConnections, Count: mostExchanges, For: e.Turn, CPU: lastCPU(),
	}
	parameters := map[string]string{"kind": kind.String(), "parallel": strconv.Itoa(parallelConnections)}
	return func() ([]sample, error) {
		if !e.wants(parameters) {
			return nil, nil
		}
		report, err := e.ask(v.host, v.cgroup, task)
		if err != nil {
			return nil, err
		}
		return []sample{{parameters: parameters, value: perExchange(report), unit: unit}}, nil
	}
}

func buildLoopback(e *Env, name string) (visitor, error) {
	w, err := newWorld(e, name)
	if err != nil {
		return visitor{}, err
	}
	return visitor{host: w.host}, e.serve(w.host, everywhere(loopbackPort.host), lastCPU())
}

func buildSocketHook(binary string) func(*Env, string) (visitor, error) {
	return func(e *Env, name string) (visitor, error) {
		s, err := buildSluice(binary)(e, name, plan{ports: []publishedPort{loopbackPort}})
		if err != nil {
			return visitor{}, err
		}
		return visitor{s.host, s.instance.cgroup}, e.serve(s.container.namespace, everywhere(loopbackPort.container), lastCPU())
	}
}

// buildDockerProxy runs the proxy on the CPU of client and server, with their
// priority.
func buildDockerProxy(e *Env, name string) (visitor, error) {
	s, err := buildRouted(e, name, plan{})
	if err != nil {
		return visitor{}, err
	}
	if err := e.serve(s.container.namespace, everywhere(loopbackPort.container), lastCPU()); err != nil {
		return visitor{}, err
	}
	status, says, err := os.Pipe()
	if err != nil {
		return visitor{}, err
	}
	defer status.Close()
	cmd := exec.Command(armDockerProxy, "-proto", "tcp",
		"-host-ip", "127.0.0.1", "-host-port", strconv.Itoa(int(loopbackPort.host)),
		"-container-ip", ipv4.of(s.container.addrs).String(), "-container-port", strconv.Itoa(int(loopbackPort.container)))
	cmd.ExtraFiles = []*os.File{says}
	err = netdev.InNamespace(s.host, func() error {
		undo, err := traffic.Pin(lastCPU())
		if err != nil {
			return err
		}
		return errors.Join(cmd.Start(), undo())
	})
	says.Close()
	if err != nil {
		return visitor{}, err
	}
	e.cleanup(func() error {
		err := cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		return err
	})
	// It says 0 and a line feed when it listens, 1 and why when it cannot.
	said := make([]byte, 256)
	if err := status.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return visitor{}, err
	}
	if n, err := status.Read(said); err != nil || said[0] != '0' {
		return visitor{}, fmt.Errorf("it does not start: %q, %w", said[:n], err)
	}
	return visitor{host: s.host}, nil
}
