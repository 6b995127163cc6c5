package loader

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/sluice-net/sluice/internal/datapath"
)

// socketPoints are the attach points of the socket hook, by program.
var socketPoints = map[string]ebpf.AttachType{
	"socket_connect4":     ebpf.AttachCGroupInet4Connect,
	"socket_sendmsg4":     ebpf.AttachCGroupUDP4Sendmsg,
	"socket_recvmsg4":     ebpf.AttachCGroupUDP4Recvmsg,
	"socket_getpeername4": ebpf.AttachCgroupInet4GetPeername,
	"socket_bind4":        ebpf.AttachCGroupInet4Bind,
	"socket_connect6":     ebpf.AttachCGroupInet6Connect,
	"socket_sendmsg6":     ebpf.AttachCGroupUDP6Sendmsg,
	"socket_recvmsg6":     ebpf.AttachCGroupUDP6Recvmsg,
	"socket_getpeername6": ebpf.AttachCgroupInet6GetPeername,
	"socket_bind6":        ebpf.AttachCGroupInet6Bind,
}

// AttachSockets attaches the socket programs to the cgroup v2 directory.
func (l *Loader) AttachSockets(cgroup string) error {
	id, err := cgroupID(cgroup)
	if err != nil {
		return fmt.Errorf("attach the socket programs: %w", err)
	}
	for name, point := range socketPoints {
		program := l.programs[datapath.HookSocket].loaded()[name]
		if err := attachCgroup(l.pins.link("socket", name), program, cgroup, id, point); err != nil {
			return fmt.Errorf("attach %s to %s: %w", name, cgroup, err)
		}
	}
	return nil
}

func attachCgroup(path string, program *ebpf.Program, cgroup string, id uint64, point ebpf.AttachType) error {
	adopted, err := adoptLink(path, program, func(info *link.Info) bool {
		c := info.Cgroup()
		return c != nil && c.CgroupId == id
	})
	if adopted || err != nil {
		return err
	}
	l, err := link.AttachCgroup(link.CgroupOptions{Path: cgroup, Attach: point, Program: program})
	if err != nil {
		return err
	}
	return pinLink(l, path)
}

// DetachSockets takes the socket programs away.
func (l *Loader) DetachSockets() error {
	for name := range socketPoints {
		if err := detachPinned(l.pins.link("socket", name)); err != nil {
			return fmt.Errorf("detach %s: %w", name, err)
		}
	}
	return nil
}
