package loader

import (
	"testing"

	"golang.org/x/sys/unix"
)

// at is what the programs compute (now_seconds in bpf/conntrack.h).
func (j jiffies) at(now uint64) uint64 { return (now - j.origin) * j.seconds >> 32 }

// TestJiffiesTellSeconds covers each CONFIG_HZ: from a start at any uptime, and
// for a year from there, during which 64 bits must do.
func TestJiffiesTellSeconds(t *testing.T) {
	const day, year = 86400 * nanoseconds, 365 * 86400 * nanoseconds
	for _, hz := range []uint64{24, 100, 250, 300, 1000, 1024} {
		tick := (nanoseconds + hz/2) / hz // as the kernel's TICK_NSEC
		boot := uint64(uint32(-300 * int64(hz)))
		at := func(coarse uint64) uint64 { return boot + coarse/tick }
		for _, start := range []uint64{0, nanoseconds / 2, 5 * nanoseconds, 3*day + 1, 10 * year} {
			j, err := jiffiesOf(at(start), start, tick)
			must(t, err)
			for _, later := range []uint64{0, nanoseconds, day - 1, 30 * day, year} {
				// Two ticks for the rounding of origin and of the clock, and what a
				// rounded length of a tick makes in the meantime.
				slack := 2*tick + later/5_000_000
				want := start + later
				if got := j.at(at(want)); got < (want-min(want, slack))/nanoseconds || got > (want+slack)/nanoseconds {
					t.Errorf("%d Hz, %d ns after a start at %d ns: %d s", hz, later, start, got)
				}
			}
		}
	}
	for _, tick := range []uint64{0, nanoseconds} {
		if j, err := jiffiesOf(1, 1, tick); err == nil {
			t.Errorf("ticks of %d ns: %+v", tick, j)
		}
	}
}

// TestJiffiesAfterASuspend covers a machine that slept, as the kernel has it: ticks
// and CLOCK_MONOTONIC stand still, CLOCK_BOOTTIME goes on. A daemon that asked
// before and one that asks afterwards must tell programs the same time, or a flow
// of the one would be older, or yet to come, for the other.
func TestJiffiesAfterASuspend(t *testing.T) {
	const tick, hour = nanoseconds / 250, 3600 * nanoseconds
	machine := struct{ monotonic, boottime uint64 }{5 * nanoseconds, 5 * nanoseconds}
	ticks := func() uint64 { return uint64(uint32(0xfffedb08)) + machine.monotonic/tick }
	before, err := jiffiesOf(ticks(), machine.monotonic/tick*tick, tick)
	must(t, err)
	for _, slept := range []uint64{1, 60 * nanoseconds, 100 * hour, 10000 * hour} {
		machine.monotonic, machine.boottime = machine.monotonic+hour, machine.boottime+hour+slept
		after, err := jiffiesOf(ticks(), machine.monotonic/tick*tick, tick)
		must(t, err)
		now := machine.monotonic / nanoseconds
		for name, j := range map[string]jiffies{"before": before, "after": after} {
			if got := j.at(ticks()); got+1 < now || got > now {
				t.Errorf("what was read %s says %d s, CLOCK_MONOTONIC %d, CLOCK_BOOTTIME %d", name, got, now, machine.boottime/nanoseconds)
			}
		}
	}
}

// TestJiffiesOfThisKernel compares them with the clock that they stand for.
func TestJiffiesOfThisKernel(t *testing.T) {
	j, err := readJiffies()
	must(t, err)
	var before, after unix.Timespec
	must(t, unix.ClockGettime(unix.CLOCK_MONOTONIC, &before))
	now, coarse, err := sampleClocks()
	must(t, err)
	must(t, unix.ClockGettime(unix.CLOCK_MONOTONIC, &after))
	got := j.at(now)
	// The clock of jiffies may be behind by as much as a tick can be late.
	const slack = nanoseconds / 5
	if low, high := uint64(before.Nano()-slack)/nanoseconds, uint64(after.Nano()+slack)/nanoseconds; got < low || got > high {
		t.Errorf("jiffies say %d s, CLOCK_MONOTONIC %d to %d", got, low, high)
	}
	if coarse > uint64(after.Nano()) || coarse+slack < uint64(before.Nano()) {
		t.Errorf("the tick was at %d ns, asked between %d and %d", coarse, before.Nano(), after.Nano())
	}
}
