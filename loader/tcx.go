package loader

import (
	"os"
	"path/filepath"
	"strings"

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
	current := func(info *link.Info) bool {
		tcx := info.TCX()
		return tcx != nil && int(tcx.Ifindex) == ifindex
	}
	adopted, err := adoptLink(path, program, current)
	if adopted || err != nil {
		return err
	}
	attached, err := link.QueryPrograms(link.QueryOptions{Target: ifindex, Attach: tcxPoint(dir)})
	if err != nil {
		return err
	}
	if len(attached.Programs) > 0 {
		if err := takePin(path, current); err != nil {
			return err
		}
		if adopted, err = adoptLink(path, program, current); adopted || err != nil {
			return err
		}
	}
	l, err := link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: program, Attach: tcxPoint(dir)})
	if err != nil {
		return err
	}
	return pinLink(l, path)
}

// takePin moves the pin of the hook's link on a device that was renamed from
// the device's old name to path, if there is one.
func takePin(path string, current func(*link.Info) bool) error {
	hook, _, _ := strings.Cut(filepath.Base(path), "@")
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), hook+"@") {
			continue
		}
		old := filepath.Join(filepath.Dir(path), entry.Name())
		info, err := pinnedInfo(old)
		if err != nil {
			return err
		}
		if current(info) {
			return os.Rename(old, path)
		}
	}
	return nil
}

func pinnedInfo(path string) (*link.Info, error) {
	pinned, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return nil, err
	}
	defer pinned.Close()
	return pinned.Info()
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
	_, err = link.QueryPrograms(link.QueryOptions{Target: loopback, Attach: ebpf.AttachTCXIngress})
	return err == nil
}
