package portindex

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestAgreesWithAScan adds, removes and looks for random ranges, and compares
// with a list that is walked.
func TestAgreesWithAScan(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	span := func() (first, last uint16) {
		first = uint16(random.IntN(1 << 16))
		length := random.IntN(1 << (1 + random.IntN(16)))
		return first, uint16(min(int(first)+length, 1<<16-1))
	}
	var x Index[int]
	all := map[int]entry[int]{}
	for step := range 3000 {
		first, last := span()
		switch {
		case step%3 != 0 || len(all) == 0:
			x.Add(first, last, step)
			all[step] = entry[int]{first, last, step}
		default:
			for value, e := range all {
				x.Remove(e.first, e.last, value)
				delete(all, value)
				break
			}
		}
		first, last = span()
		var want []int
		for value, e := range all {
			if e.first <= last && first <= e.last {
				want = append(want, value)
			}
		}
		slices.Sort(want)
		if got := slices.Sorted(x.Overlapping(first, last)); !slices.Equal(got, want) {
			t.Fatalf("step %d: %d-%d has %v, want %v", step, first, last, got, want)
		}
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	var x Index[string]
	x.Add(0, 65535, "all")
	x.Add(65535, 65535, "last")
	x.Add(255, 256, "between buckets")
	x.Remove(1, 2, "absent")
	for port, want := range map[uint16]int{0: 1, 254: 1, 255: 2, 256: 2, 257: 1, 65535: 2} {
		if got := len(slices.Collect(x.Overlapping(port, port))); got != want {
			t.Errorf("port %d: %d values, want %d", port, got, want)
		}
	}
	for range x.Overlapping(0, 65535) {
		break
	}
	x.Remove(0, 65535, "all")
	if got := slices.Sorted(x.Overlapping(0, 65535)); !slices.Equal(got, []string{"between buckets", "last"}) {
		t.Errorf("left: %v", got)
	}
}
