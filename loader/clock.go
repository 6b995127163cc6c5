package loader

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// jiffies are what makes seconds of CLOCK_MONOTONIC of the kernel's count of
// ticks, which programs read without a call:
//
//	(jiffies64 - origin) * seconds >> 32
type jiffies struct {
	origin  uint64 // what jiffies64 was when CLOCK_MONOTONIC was 0
	seconds uint64 // one jiffy, with 32 fractional bits
}

// readJiffies asks once: the ticks follow CLOCK_MONOTONIC, whose steps they are
// derived from, so that nothing changes until the next boot.
var readJiffies = sync.OnceValues(func() (jiffies, error) {
	now, coarse, err := sampleClocks()
	if err != nil {
		return jiffies{}, fmt.Errorf("compare jiffies with CLOCK_MONOTONIC: %w", err)
	}
	var tick unix.Timespec
	// The kernel says TICK_NSEC, whatever CONFIG_HZ is.
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &tick); err != nil {
		return jiffies{}, fmt.Errorf("ask for the length of a tick: %w", err)
	}
	return jiffiesOf(now, coarse, uint64(tick.Nano()))
})

const nanoseconds = 1_000_000_000 // of a second

// jiffiesOf returns the constants for a machine whose jiffies64 was now when
// CLOCK_MONOTONIC was at coarse, and whose ticks are tick apart; all times are
// nanoseconds.
func jiffiesOf(now, coarse, tick uint64) (jiffies, error) {
	if tick == 0 || tick >= nanoseconds {
		return jiffies{}, fmt.Errorf("a tick of %d ns is none", tick)
	}
	j := jiffies{seconds: (tick<<32 + nanoseconds/2) / nanoseconds}
	// coarse as seconds with 32 fractional bits, in jiffies of this length.
	high, low := bits.Mul64(coarse, 1<<32)
	fixed, _ := bits.Div64(high, low, nanoseconds)
	j.origin = now - fixed/j.seconds
	return j, nil
}

// sampleClocks reads jiffies64 and the time of the tick that set it.
func sampleClocks() (now, coarse uint64, err error) {
	// Only a packet that is as long as an Ethernet header is run.
	data := make([]byte, 16)
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{
		asm.LoadMem(asm.R6, asm.R1, 76, asm.Word), // __sk_buff.data
		asm.LoadMem(asm.R7, asm.R1, 80, asm.Word), // __sk_buff.data_end
		asm.Mov.Reg(asm.R2, asm.R6),
		asm.Add.Imm(asm.R2, int32(len(data))),
		asm.JGT.Reg(asm.R2, asm.R7, "out"),
		asm.FnJiffies64.Call(),
		asm.StoreMem(asm.R6, 0, asm.R0, asm.DWord),
		asm.FnKtimeGetCoarseNs.Call(),
		asm.StoreMem(asm.R6, 8, asm.R0, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return(),
	}})
	if err != nil {
		return 0, 0, err
	}
	defer program.Close()
	options := ebpf.RunOptions{Data: data, DataOut: make([]byte, len(data))}
	if _, err := program.Run(&options); err != nil {
		return 0, 0, err
	}
	return binary.NativeEndian.Uint64(options.DataOut), binary.NativeEndian.Uint64(options.DataOut[8:]), nil
}
