package bench

import (
	"fmt"
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
	Name:   forwardingName,
	About:  "ns per packet through a published UDP port",
	Rounds: 31,
	parts:  []part{{setup: setUpForwarding}},
	Targets: []Target{
		{Scenario: forwardingName, Arm: armSluice, AtMost: 3, Of: armRedirect},
		{Scenario: forwardingName, Arm: armSluice, AtMost: 0.2, Of: armIptables},
		{Scenario: forwardingName, Arm: armSluice, AtMost: 0.2, Of: armNftables},
	},
}

// forwardedPort is the published one that frames come by.
var forwardedPort = publishedPort{"udp", 5353, 53}

func setUpForwarding(e *Env) ([]contest, error) {
	var c contest
	for _, candidate := range append([]candidate{{ArmFloor, buildRouted}, {armRedirect, buildRouted}}, candidates(e)...) {
		f, err := newForwarder(e, candidate)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", candidate.name, err)
		}
		c = append(c, arm{candidate.name, f.measure})
	}
	return []contest{c}, nil
}

// forwarder measures one arm.
type forwarder struct {
	sender *sender
	sink   *sink
	frames int
}

func newForwarder(e *Env, c candidate) (*forwarder, error) {
	s, err := c.build(e, c.name, plan{ports: []publishedPort{forwardedPort}})
	if err != nil {
		return nil, err
	}
	end := s.container.namespace
	switch c.name {
	case ArmFloor:
		end = s.host
	case armRedirect:
		err = attachRedirect(e, s.host, device, s.container.port)
	default:
		err = s.establish(end)
	}
	if err != nil {
		return nil, err
	}
	f := &forwarder{frames: e.Frames}
	if f.sink, err = newSink(e, end, device); err != nil {
		return nil, err
	}
	f.sender, err = newSender(e, s.world)
	return f, err
}

func (f *forwarder) measure() ([]sample, error) {
	before, err := f.sink.count()
	if err != nil {
		return nil, err
	}
	elapsed, err := f.sender.send(f.frames, lastCPU())
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
