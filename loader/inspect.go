package loader

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
)

// CheckKernel returns why the kernel cannot run the datapath, nil when it can.
func CheckKernel() error {
	if err := checkKernel(); err != nil {
		return err
	}
	if lacks := missing(); len(lacks) > 0 {
		return fmt.Errorf("%w: %s", ErrKernel, strings.Join(lacks, ", "))
	}
	return nil
}

// HaveTCX reports whether programs can meet devices by tcx.
func HaveTCX() bool { return haveTCX() }

// JITCompiles reports whether programs become machine code.
func JITCompiles() (bool, error) {
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.SchedCLS,
		Instructions: asm.Instructions{asm.LoadImm(asm.R0, 0, asm.DWord), asm.Return()},
		License:      "GPL",
	})
	if err != nil {
		return false, fmt.Errorf("load a program: %w", err)
	}
	defer program.Close()
	info, err := program.Info()
	if err != nil {
		return false, err
	}
	size, err := info.JitedSize()
	return size > 0, err
}

// PrivateMounts reports whether what is mounted here ends with a mount namespace
// that our ancestors are not in.
func PrivateMounts() (bool, error) { return privateMounts() }

// BPFMounted reports whether a bpffs is mounted at dir.
func BPFMounted(dir string) (bool, error) { return mountedAs(dir, unix.BPF_FS_MAGIC) }

// Attachment is what meets packets at a hook of a device.
type Attachment struct {
	Attached bool // our program
	// Before and Behind are the programs and filters of others, by name, in the
	// order in which they see packets. Without ours all are Behind.
	Before, Behind []string
}

// Inspect looks at a hook of a device. tcx programs come before the filters of
// tc, whoever made them.
func (l *Loader) Inspect(hook datapath.Hook, device string, ifindex int) (Attachment, error) {
	dir := ingress
	if hook == datapath.HookBridge {
		dir = egress
	}
	programs, err := l.tcxPrograms(hook, device, ifindex, dir)
	if err != nil {
		return Attachment{}, fmt.Errorf("look at the programs of %s: %w", device, err)
	}
	filters, err := tcFilters(ifindex, dir)
	if err != nil {
		return Attachment{}, fmt.Errorf("look at the filters of %s: %w", device, err)
	}
	var a Attachment
	for _, m := range append(programs, filters...) {
		switch {
		case !m.ours:
			a.Behind = append(a.Behind, m.name)
		case !a.Attached:
			a.Attached = true
			a.Before, a.Behind = a.Behind, nil
		}
	}
	return a, nil
}

// met is a program or filter that packets meet.
type met struct {
	name string
	ours bool
}

func (l *Loader) tcxPrograms(hook datapath.Hook, device string, ifindex int, dir direction) (all []met, err error) {
	if !haveTCX() {
		return nil, nil
	}
	ours, err := l.pinnedProgram(hook, device)
	if err != nil {
		return nil, err
	}
	found, err := link.QueryPrograms(link.QueryOptions{Target: ifindex, Attach: tcxPoint(dir)})
	if err != nil {
		return nil, err
	}
	for _, p := range found.Programs {
		all = append(all, met{programName(p.ID), p.ID == ours})
	}
	return all, nil
}

// pinnedProgram is the program of our link on a device, 0 when there is none.
func (l *Loader) pinnedProgram(hook datapath.Hook, device string) (ebpf.ProgramID, error) {
	info, err := pinnedInfo(l.pins.link(hook.String(), device))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Program, nil
}

// programName is what the kernel calls a program, and its number.
func programName(id ebpf.ProgramID) string {
	name := fmt.Sprintf("program %d", id)
	program, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return name // it went meanwhile
	}
	defer program.Close()
	if info, err := program.Info(); err == nil && info.Name != "" {
		return fmt.Sprintf("%s (%s)", info.Name, name)
	}
	return name
}

func tcFilters(ifindex int, dir direction) (all []met, err error) {
	parent := uint32(netlink.HANDLE_MIN_INGRESS)
	if dir == egress {
		parent = netlink.HANDLE_MIN_EGRESS
	}
	device, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		return nil, err
	}
	filters, err := netlink.FilterList(device, parent)
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, f := range filters {
		attrs := f.Attrs()
		name := fmt.Sprintf("tc filter %s pref %d", f.Type(), attrs.Priority)
		ours := attrs.Priority == clsactPriority && attrs.Handle == clsactHandle
		if b, ok := f.(*netlink.BpfFilter); ok && b.Name != "" {
			name = fmt.Sprintf("%s (tc filter, pref %d)", b.Name, attrs.Priority)
		}
		all = append(all, met{name, ours})
	}
	return all, nil
}

// XDP returns the XDP program of a device, "" when there is none.
func XDP(ifindex int) (string, error) {
	device, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		return "", err
	}
	if xdp := device.Attrs().Xdp; xdp != nil && xdp.Attached {
		return programName(ebpf.ProgramID(xdp.ProgId)), nil
	}
	return "", nil
}

// SocketAttachment is what meets the sockets of a cgroup, over all attach points.
type SocketAttachment struct {
	Missing []string // our programs that are not attached
	Others  []string // programs of others, once each
}

// InspectSockets looks at the socket programs of the cgroup v2 directory.
func (l *Loader) InspectSockets(cgroup string) (s SocketAttachment, err error) {
	dir, err := os.Open(cgroup)
	if err != nil {
		return s, err
	}
	defer dir.Close()
	seen := map[ebpf.ProgramID]bool{}
	for name, point := range socketPoints {
		found, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: point})
		if err != nil {
			return s, fmt.Errorf("look at the programs of %s: %w", cgroup, err)
		}
		ours, err := l.pinnedSocket(name)
		if err != nil {
			return s, err
		}
		attached := false
		for _, p := range found.Programs {
			if p.ID == ours {
				attached = true
			} else if !seen[p.ID] {
				seen[p.ID] = true
				s.Others = append(s.Others, programName(p.ID))
			}
		}
		if !attached {
			s.Missing = append(s.Missing, name)
		}
	}
	return s, nil
}

func (l *Loader) pinnedSocket(name string) (ebpf.ProgramID, error) {
	return l.pinnedProgram(datapath.HookSocket, name)
}
