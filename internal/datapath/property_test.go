package datapath_test

import (
	"errors"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/sluice-net/sluice/loader"
)

var (
	propertySequences = flag.Int("property.sequences", 15, "sequences of steps that each world goes through")
	propertyFor       = flag.Duration("property.for", 0, "go on for so long instead")
	propertySeed      = flag.Uint64("property.seed", 1, "the first sequence's seed; the others follow")
)

const propertySteps = 120

// TestSequences lets random things happen to the datapath and to its model,
// and after each of them compares verdict, frame, counters and flows. A
// sequence that tells them apart is made short and printed as Go.
func TestSequences(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]loader.Config{
		"many ports": {},
		"few ports":  {LocalPorts: [2]uint16{1024, 65531}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, config)
			end := time.Now().Add(*propertyFor)
			for n := 0; n < *propertySequences || *propertyFor > 0 && time.Now().Before(end); n++ {
				w.sequence(*propertySeed + uint64(n))
			}
		})
	}
}

// sequence runs a random sequence of steps.
func (w *world) sequence(seed uint64) {
	w.t.Helper()
	w.reset()
	g := newGenerator(w, seed)
	var done []step
	for range propertySteps {
		s := g.next()
		done = append(done, s)
		err := s.do(w)
		if errors.Is(err, errTick) {
			return
		}
		if err != nil {
			short := w.shrink(done)
			w.t.Fatalf("seed %d: %v\n\nafter %s\n\n%v", seed, err, literal(short), w.replay(short))
		}
		g.note(s)
	}
}

// replay runs steps from the beginning, and returns what the last one that
// could be run has to say.
func (w *world) replay(steps []step) error {
	w.t.Helper()
	err := errTick
	for range 10 {
		if !errors.Is(err, errTick) {
			break
		}
		w.reset()
		err = nil
		for i, s := range steps {
			if err = s.do(w); err != nil {
				err = fmt.Errorf("step %d: %w", i, err)
				break
			}
		}
	}
	return err
}

// shrink leaves steps out, and changes of frames, as long as the rest fails.
func (w *world) shrink(steps []step) []step {
	w.t.Helper()
	fails := func(steps []step) bool {
		err := w.replay(steps)
		return err != nil && !errors.Is(err, errTick)
	}
	for size := len(steps) / 2; size > 0; {
		shorter := false
		for at := 0; at+size <= len(steps); {
			rest := append(append([]step{}, steps[:at]...), steps[at+size:]...)
			if fails(rest) {
				steps, shorter = rest, true
			} else {
				at += size
			}
		}
		if !shorter || size > len(steps) {
			size /= 2
		}
	}
	return steps
}
