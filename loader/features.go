package loader

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
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
	// CsumIPv6 is BPF_F_IPV6 of bpf_l4_csum_replace, of Linux 6.16: without it
	// the sum that a device made over a whole IPv6 packet needs a second call.
	CsumIPv6 bool
	// KernelContext is bpf_cast_to_kern_ctx, of Linux 6.2: without it checksums
	// take a helper's calls.
	KernelContext bool
}

// Flags of bpf_fib_lookup.
const (
	fibSkipNeigh = 1 << 2
	fibSource    = 1 << 4
)

// Flags of bpf_l4_csum_replace.
const (
	csumPseudoHeader = 1 << 4
	csumIPv6         = 1 << 7
)

// KernelFeatures asks the kernel, not its version: distributions backport.
var KernelFeatures = sync.OnceValues(func() (Features, error) {
	var f Features
	var errSkip, errSource, errCsum error
	f.FIBSkipNeigh, errSkip = haveFIBFlag(fibSkipNeigh)
	f.FIBSource, errSource = haveFIBFlag(fibSource)
	f.CsumIPv6, errCsum = haveCsumFlag(csumIPv6)
	if err := errors.Join(errSkip, errSource, errCsum); err != nil {
		return Features{}, fmt.Errorf("ask the kernel for helpers' flags: %w", err)
	}
	var err error
	if f.KernelContext, err = haveKernelFunction("bpf_cast_to_kern_ctx"); err != nil {
		return Features{}, err
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
	errno, err := runHelper(code)
	switch {
	case err != nil:
		return false, err
	case errno == unix.ENODEV:
		return true, nil
	case errno == unix.EINVAL:
		return false, nil
	}
	return false, fmt.Errorf("bpf_fib_lookup, flag %#x: unexpected result %w", flag, errno)
}

// haveCsumFlag runs bpf_l4_csum_replace for a checksum at an odd offset, which no
// kernel takes: one that knows the flag faults the offset, another one refuses
// the call before.
func haveCsumFlag(flag int32) (bool, error) {
	errno, err := runHelper(asm.Instructions{
		asm.Mov.Imm(asm.R2, 1),
		asm.Mov.Imm(asm.R3, 0),
		asm.Mov.Imm(asm.R4, 0),
		asm.Mov.Imm(asm.R5, csumPseudoHeader|flag),
		asm.FnL4CsumReplace.Call(),
		asm.Return(),
	})
	switch {
	case err != nil:
		return false, err
	case errno == unix.EFAULT:
		return true, nil
	case errno == unix.EINVAL:
		return false, nil
	}
	return false, fmt.Errorf("bpf_l4_csum_replace, flag %#x: unexpected result %w", flag, errno)
}

// runHelper runs a program that calls a helper and returns what that says.
func runHelper(code asm.Instructions) (unix.Errno, error) {
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: code})
	if err != nil {
		return 0, err
	}
	defer program.Close()
	result, err := program.Run(&ebpf.RunOptions{Data: make([]byte, 64)})
	return unix.Errno(-int32(result)), err
}

// haveKernelFunction asks the kernel's type information for a function.
func haveKernelFunction(name string) (bool, error) {
	kernel, err := kernelTypes().Kernel()
	if err != nil {
		return false, fmt.Errorf("read the kernel's type information: %w", err)
	}
	var function *btf.Func
	err = kernel.TypeByName(name, &function)
	if errors.Is(err, btf.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
