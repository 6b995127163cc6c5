package bench

import (
	"fmt"
	"time"
)

// leastDelivered is the part of the frames that has to arrive, or the round
// says nothing.
const leastDelivered = 0.99

// packetsPerFlow is how many packets each of many flows has in a turn: what a
// conntrack notes once a second is then noted for some of them, as in life.
const packetsPerFlow = 2

// framesAtOnce is what a thread with a real-time priority may send in one go.
const framesAtOnce = 50_000

// forwarder measures one arm of one contest.
type forwarder struct {
	heading    heading
	lane       *lane
	end        hook // where the frames end
	translates bool // and so has flows
	sender     *sender
	sink       *sink // of what arrives at end, once it is settled
	frames     int
}

func newForwarder(e *Env, c candidate, s *site, h heading) (f *forwarder, err error) {
	f = &forwarder{heading: h, lane: h.path.lane(s, h.family), frames: e.Frames}
	if h.flows > 1 {
		f.frames = max(e.Frames, packetsPerFlow*h.flows)
	}
	f.translates = c.name != ArmFloor && c.name != armRedirect
	f.end = h.path.end(s)
	if c.name == ArmFloor {
		f.end = h.path.entry(s).ingress()
	}
	if f.translates {
		if err := f.lane.prove(); err != nil {
			return nil, fmt.Errorf("nothing came through: %w", err)
		}
	}
	frames, err := f.lane.frames(h.flows)
	if err != nil {
		return nil, err
	}
	f.sender, err = newSender(e, f.lane.from, frames)
	return f, err
}

func (f *forwarder) measure() ([]sample, error) {
	before, err := f.sink.count()
	if err != nil {
		return nil, err
	}
	elapsed, err := f.send()
	if err != nil {
		return nil, err
	}
	got, err := f.sink.arrived(before, f.frames)
	if err != nil {
		return nil, err
	}
	s := sample{
		parameters: f.heading.parameters(),
		value:      float64(elapsed.Nanoseconds()) / float64(f.frames),
		unit:       "ns/packet",
	}
	if float64(got) < leastDelivered*float64(f.frames) {
		s.err = fmt.Errorf("%d of %d frames arrived", got, f.frames)
	}
	return []sample{s}, nil
}

// send sends the frames of a turn, with rests, which do not count.
func (f *forwarder) send() (total time.Duration, err error) {
	for sent := 0; sent < f.frames; {
		n := min(framesAtOnce, f.frames-sent)
		elapsed, err := f.sender.send(n, lastCPU())
		if err != nil {
			return 0, err
		}
		rest(elapsed)
		total += elapsed
		sent += n
	}
	return total, nil
}

// arrivalTimeout is how long after the last frame another one may come.
const arrivalTimeout = 2 * time.Second

// arrived returns how many frames of those expected came since the sink counted
// before. Those that are still on their way are waited for.
func (s *sink) arrived(before uint64, expected int) (got uint64, err error) {
	for deadline := time.Now().Add(arrivalTimeout); ; time.Sleep(5 * time.Millisecond) {
		now, err := s.count()
		if err != nil || now-before >= uint64(expected) || time.Now().After(deadline) {
			return now - before, err
		}
		if now-before > got {
			got, deadline = now-before, time.Now().Add(arrivalTimeout)
		}
	}
}
