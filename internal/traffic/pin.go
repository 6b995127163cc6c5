package traffic

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Pin locks the calling goroutine to its thread, keeps that on one CPU, and
// every ordinary thread off it while it has work, until the function that it
// returns is called. Of threads that are pinned to the same CPU and wait for
// nobody else, time on the wall is then time on the CPU, softirqs included,
// which the kernel's own account leaves out on some configurations. Programs
// that are started meanwhile inherit it.
func Pin(cpu int) (undo func() error, err error) {
	runtime.LockOSThread()
	var before, only unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("read the CPU affinity: %w", err)
	}
	undo = func() error {
		defer runtime.UnlockOSThread()
		return errors.Join(
			unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}, 0),
			unix.SchedSetaffinity(0, &before))
	}
	only.Set(cpu)
	if err := unix.SchedSetaffinity(0, &only); err != nil {
		return nil, errors.Join(fmt.Errorf("pin a thread to CPU %d: %w", cpu, err), undo())
	}
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("give a thread a real-time priority: %w", err), undo())
	}
	return undo, nil
}
