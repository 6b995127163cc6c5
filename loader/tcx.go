package loader

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

func tcxPoint(dir direction) ebpf.AttachType {
	if dir == egress {
		return ebpf.AttachTCXEgress
	}
	return ebpf.AttachTCXIngress
}

// attachTCX attaches by a link that is pinned at path, or updates the one that
// is there. A link whose device was deleted stays pinned and has ifindex 0
// (tcx_link_fill_info in kernel/bpf/tcx.c).
func attachTCX(path string, program *ebpf.Program, ifindex int, dir direction) error {
	adopted, err := adoptLink(path, program, func(info *link.Info) bool {
		tcx := info.TCX()
		return tcx != nil && int(tcx.Ifindex) == ifindex
	})
	if adopted || err != nil {
		return err
	}
	l, err := link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: program, Attach: tcxPoint(dir)})
	if err != nil {
		return err
	}
	return pinLink(l, path)
}

// haveTCX asks for the programs of a device's tcx hook: kernels before 6.6
// refuse the attach type.
func haveTCX() bool {
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.SchedCLS,
		Instructions: asm.Instructions{asm.LoadImm(asm.R0, 0, asm.DWord), asm.Return()},
		License:      "GPL",
	})
	if err != nil {
		return false
	}
	defer program.Close()
	const loopback = 1
	_, err = link.QueryPrograms(link.QueryOptions{Target: loopback, Attach: ebpf.AttachTCXIngress})
	return err == nil
}
