package datapath_test

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/sluice-net/sluice/internal/datapath"
)

// clocks are the helpers that tell the time: those of CLOCK_MONOTONIC, and of ticks,
// which follow it, stand still in a suspend.
var clocks = map[asm.BuiltinFunc]bool{
	asm.FnJiffies64: true, asm.FnKtimeGetNs: true, asm.FnKtimeGetCoarseNs: true,
	asm.FnKtimeGetBootNs: false, asm.FnKtimeGetTaiNs: false,
}

// TestClocksStopTogether covers times of different clocks, which would part in a
// suspend: every program reads one that stops in it, as the daemon does.
func TestClocksStopTogether(t *testing.T) {
	t.Parallel()
	objects, err := datapath.LoadPrograms()
	must(t, err)
	tunnel, err := datapath.LoadTunnel()
	must(t, err)
	all := map[string]*ebpf.CollectionSpec{"tunnel": tunnel}
	for hook, spec := range objects {
		all[hook.String()] = spec
	}
	read := 0
	for name, spec := range all {
		for _, program := range spec.Programs {
			for _, ins := range program.Instructions {
				if !ins.IsBuiltinCall() {
					continue
				}
				helper := asm.BuiltinFunc(ins.Constant)
				if stops, isClock := clocks[helper]; isClock && !stops {
					t.Errorf("%s, %s: %v goes on in a suspend", name, program.Name, helper)
				} else if isClock {
					read++
				}
			}
		}
	}
	if read == 0 {
		t.Error("no program reads a clock")
	}
}
