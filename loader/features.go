package loader

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Features are what some kernels that sluice runs on lack, and the programs do
// without. Their constants have the same names in bpf/config.h.
type Features struct {
	// FIBSkipNeigh is BPF_FIB_LOOKUP_SKIP_NEIGH, of Linux 6.3.
	FIBSkipNeigh bool
	// FIBSource is BPF_FIB_LOOKUP_SRC, of Linux 6.7: without it masquerade does
	// not learn which source address a route prefers.
	FIBSource bool
}

// Flags of bpf_fib_lookup.
const (
	fibSkipNeigh = 1 << 2
	fibSource    = 1 << 4
)

// KernelFeatures asks the kernel, not its version: distributions backport.
var KernelFeatures = sync.OnceValues(func() (Features, error) {
	var f Features
	var errSkip, errSource error
	f.FIBSkipNeigh, errSkip = haveFIBFlag(fibSkipNeigh)
	f.FIBSource, errSource = haveFIBFlag(fibSource)
	if err := errors.Join(errSkip, errSource); err != nil {
		return Features{}, fmt.Errorf("ask for the flags of bpf_fib_lookup: %w", err)
	}
	return f, nil
})

// haveFIBFlag runs bpf_fib_lookup for a device that cannot exist: a kernel that
// knows the flag misses the device, another one refuses the call before.
func haveFIBFlag(flag int32) (bool, error) {
	const params = 64 // sizeof(struct bpf_fib_lookup)
	code := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}
	for offset := int16(-params); offset < 0; offset += 4 {
		code = append(code, asm.StoreImm(asm.RFP, offset, 0, asm.Word))
	}
	code = append(code,
		asm.StoreImm(asm.RFP, -params, unix.AF_INET, asm.Byte),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -params),
		asm.Mov.Imm(asm.R3, params),
		asm.Mov.Imm(asm.R4, flag),
		asm.FnFibLookup.Call(),
		asm.Return(),
	)
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: code})
	if err != nil {
		return false, err
	}
	defer program.Close()
	verdict, err := program.Run(&ebpf.RunOptions{Data: make([]byte, 64)})
	if err != nil {
		return false, err
	}
	switch unix.Errno(-int32(verdict)) {
	case unix.ENODEV:
		return true, nil
	case unix.EINVAL:
		return false, nil
	}
	return false, fmt.Errorf("flag %#x: unexpected result %d", flag, int32(verdict))
}
