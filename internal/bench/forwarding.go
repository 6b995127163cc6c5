package bench

import (
	"fmt"
	"runtime"
	"strconv"
	"time"
)

// The arms of forwarding beside ArmFloor.
const (
	armSluice   = "sluice"
	armRedirect = "redirect"
	armIptables = "iptables"
	armNftables = "nftables"
)

const forwardingName = "forwarding"

// leastDelivered is the part of the frames that has to arrive, or the round
// says nothing.
const leastDelivered = 0.99

// forwarding is what an established flow of UDP through a published port
// costs per packet: one CPU sends frames of 60 bytes into the host's uplink,
// and they end at the ingress of the container's device; those of the floor
// end at the uplink's.
var forwarding = Scenario{
	Name:  forwardingName,
	About: "ns per packet through a published UDP port",
	setup: setUpForwarding,
	Targets: []Target{
		{Scenario: forwardingName, Arm: armSluice, AtMost: 3, Of: armRedirect},
		{Scenario: forwardingName, Arm: armSluice, AtMost: 0.2, Of: armIptables},
		{Scenario: forwardingName, Arm: armSluice, AtMost: 0.2, Of: armNftables},
	},
}

// wayIn builds an arm's way into the container and returns its namespace.
type wayIn func(e *Env, w *world) (container string, err error)

func setUpForwarding(e *Env) ([]arm, error) {
	ways := []struct {
		name string
		make wayIn
	}{
		{ArmFloor, nil},
		{armRedirect, makeRedirect},
		{armIptables, func(e *Env, w *world) (string, error) {
			return newNetfilterArm(e, w, armIptables, legacyRules, "iptables-legacy-restore")
		}},
		{armNftables, func(e *Env, w *world) (string, error) {
			return newNetfilterArm(e, w, armNftables, nftRules, "nft", "-f", "-")
		}},
	}
	var arms []arm
	add := func(name string, way wayIn) error {
		f, err := newForwarder(e, name, way)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		arms = append(arms, arm{name, f.measure})
		return nil
	}
	for _, way := range ways {
		if err := add(way.name, way.make); err != nil {
			return nil, err
		}
	}
	for name, binary := range e.binaries() {
		if err := add(name, sluiceWay(binary)); err != nil {
			return nil, err
		}
	}
	return arms, nil
}

// forwarder measures one arm.
type forwarder struct {
	sender *sender
	sink   *sink
	frames int
}

func newForwarder(e *Env, name string, way wayIn) (*forwarder, error) {
	w, err := newWorld(e, name)
	if err != nil {
		return nil, err
	}
	end := w.host
	if way != nil {
		if end, err = way(e, w); err != nil {
			return nil, err
		}
	}
	if name != ArmFloor && name != armRedirect {
		if err := w.establish(end); err != nil {
			return nil, fmt.Errorf("nothing came through the published port: %w", err)
		}
	}
	f := &forwarder{frames: e.Frames}
	if f.sink, err = newSink(e, end, device); err != nil {
		return nil, err
	}
	f.sender, err = newSender(e, w)
	return f, err
}

func makeRedirect(e *Env, w *world) (string, error) {
	container, err := newContainer(e, w, armRedirect)
	if err != nil {
		return "", err
	}
	return container, attachRedirect(e, w.host, device, port)
}

func sluiceWay(binary string) wayIn {
	return func(e *Env, w *world) (string, error) {
		i, err := startSluice(e, w, binary)
		if err != nil {
			return "", err
		}
		if err := i.run("run", "-d", "--name=bench", "-p", fmt.Sprintf("%d:%d/udp", publishedPort, targetPort)); err != nil {
			return "", err
		}
		pid, err := i.output("inspect", "--format", "{{.State.Pid}}", "bench")
		return "/proc/" + pid + "/ns/net", err
	}
}

func (f *forwarder) measure() ([]sample, error) {
	before, err := f.sink.count()
	if err != nil {
		return nil, err
	}
	elapsed, err := f.sender.send(f.frames, runtime.NumCPU()-1)
	if err != nil {
		return nil, err
	}
	got, err := f.arrived(before)
	if err != nil {
		return nil, err
	}
	s := sample{
		parameters: map[string]string{"bytes": strconv.Itoa(frameSize), "flows": "1", "protocol": "udp"},
		value:      float64(elapsed.Nanoseconds()) / float64(f.frames),
		unit:       "ns/packet",
	}
	if float64(got) < leastDelivered*float64(f.frames) {
		s.err = fmt.Errorf("%d of %d frames arrived", got, f.frames)
	}
	return []sample{s}, nil
}

// arrived returns how many frames came since the sink counted before. Those
// that are still on their way get a moment.
func (f *forwarder) arrived(before uint64) (uint64, error) {
	for range 10 {
		now, err := f.sink.count()
		if err != nil || now-before >= uint64(f.frames) {
			return now - before, err
		}
		time.Sleep(5 * time.Millisecond)
	}
	now, err := f.sink.count()
	return now - before, err
}
