package loader

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/sluice-net/sluice/internal/datapath"
)

// AttachMode is how tc programs meet devices.
type AttachMode string

// The modes.
const (
	// AttachTCX is a bpf link per device and hook, Linux 6.6 and newer.
	AttachTCX AttachMode = "tcx"
	// AttachClsact is a filter of the clsact qdisc.
	AttachClsact AttachMode = "clsact"
)

// direction of a hook, seen from the device.
type direction bool

const (
	ingress direction = false
	egress  direction = true
)

// chooseMode returns the wish, or else tcx where the kernel has it.
func chooseMode(wish AttachMode) (AttachMode, error) {
	switch wish {
	case AttachTCX, AttachClsact:
		return wish, nil
	case "":
	default:
		return "", fmt.Errorf("attach mode %q is neither %s nor %s", wish, AttachTCX, AttachClsact)
	}
	if haveTCX() {
		return AttachTCX, nil
	}
	return AttachClsact, nil
}

// AttachContainer attaches the container program to the host side of a veth.
func (l *Loader) AttachContainer(device string, ifindex int) error {
	return l.attach(datapath.HookContainer, l.Program(datapath.HookContainer), device, ifindex, ingress)
}

// FilterContainer attaches the container program by a filter of tc, in either
// mode, which takes the kernel no grace period, and each packet more; see
// AttachContainer for a link in its place. Meanwhile the datapath must know the
// endpoint as final.
func (l *Loader) FilterContainer(device string, ifindex int) error {
	if err := attachClsact(l.pins.qdisc(device), l.Program(datapath.HookContainer), ifindex, ingress); err != nil {
		return fmt.Errorf("attach the %s program to %s: %w", datapath.HookContainer, device, err)
	}
	return nil
}

// ContainerFiltered reports whether the container program is a filter on the
// device.
func (*Loader) ContainerFiltered(ifindex int) (bool, error) {
	found, err := tcFilters(ifindex, ingress)
	if err != nil {
		return false, fmt.Errorf("look for filters: %w", err)
	}
	return slices.ContainsFunc(found, func(m met) bool { return m.ours }), nil
}

// DetachContainer takes it away; a device that is gone is no error.
func (l *Loader) DetachContainer(device string) error {
	return l.detach(datapath.HookContainer, device, ingress)
}

// AttachUplink attaches the uplink program to a device that leads outside.
func (l *Loader) AttachUplink(device string, ifindex int) error {
	program, err := l.UplinkProgram(ifindex)
	if err != nil {
		return fmt.Errorf("attach the uplink program to %s: %w", device, err)
	}
	return l.attach(datapath.HookUplink, program, device, ifindex, ingress)
}

// UplinkProgram returns the uplink program that fits a device: the one for packets
// that begin with the IP header, where it has no link layer.
func (l *Loader) UplinkProgram(ifindex int) (*ebpf.Program, error) {
	found, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		return nil, err
	}
	if found.Attrs().EncapType != "ether" {
		return l.tunnelProgram()
	}
	return l.Program(datapath.HookUplink), nil
}

// DetachUplink takes it away; a device that is gone is no error.
func (l *Loader) DetachUplink(device string) error {
	return l.detach(datapath.HookUplink, device, ingress)
}

// AttachBridge attaches the bridge program to one of our bridges.
func (l *Loader) AttachBridge(device string, ifindex int) error {
	return l.attach(datapath.HookBridge, l.Program(datapath.HookBridge), device, ifindex, egress)
}

// DetachBridge takes it away; a device that is gone is no error.
func (l *Loader) DetachBridge(device string) error {
	return l.detach(datapath.HookBridge, device, egress)
}

// Attached returns the devices that a hook's links are pinned for, by whichever
// process. In clsact mode there are none.
func (l *Loader) Attached(hook datapath.Hook) ([]string, error) {
	entries, err := os.ReadDir(l.pins.links())
	if err != nil {
		return nil, err
	}
	var devices []string
	for _, entry := range entries {
		if of, device, _ := strings.Cut(entry.Name(), "@"); of == hook.String() {
			devices = append(devices, dotted(device))
		}
	}
	return devices, nil
}

// attach attaches in the loader's mode and takes away what was attached in the
// other, or packets would be handled twice. A qdisc of ours stays until detach: the
// kernel stops a device while it takes one away (qdisc_graft in
// net/sched/sch_api.c), and what is sent just then is lost.
func (l *Loader) attach(hook datapath.Hook, program *ebpf.Program, device string, ifindex int, dir direction) error {
	pin, mark := l.pins.link(hook.String(), device), l.pins.qdisc(device)
	var err error
	if l.mode == AttachTCX {
		if err = attachTCX(pin, program, ifindex, dir); err == nil {
			err = deleteFilter(ifindex, dir)
		}
	} else {
		if err = attachClsact(mark, program, ifindex, dir); err == nil {
			err = detachPinned(pin)
		}
	}
	if err != nil {
		return fmt.Errorf("attach the %s program to %s: %w", hook, device, err)
	}
	return nil
}

// detach takes away what was attached in either mode.
func (l *Loader) detach(hook datapath.Hook, device string, dir direction) error {
	err := errors.Join(
		detachPinned(l.pins.link(hook.String(), device)),
		detachClsact(l.pins.qdisc(device), device, dir),
	)
	if err != nil {
		return fmt.Errorf("detach the %s program from %s: %w", hook, device, err)
	}
	return nil
}

// adoptLink gives the link that is pinned at path the new program. It reports
// false, and removes the pin, when there is no link or it has lost its target.
func adoptLink(path string, program *ebpf.Program, current func(*link.Info) bool) (bool, error) {
	pinned, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer pinned.Close()
	info, err := pinned.Info()
	if err != nil {
		return false, err
	}
	if !current(info) {
		return false, pinned.Unpin()
	}
	return true, pinned.Update(program)
}

// pinLink pins a new link and closes it; a link that cannot be pinned is
// detached by the close.
func pinLink(l link.Link, path string) error {
	defer l.Close()
	return l.Pin(path)
}

// detachPinned detaches the link at path and removes the pin.
func detachPinned(path string) error {
	pinned, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer pinned.Close()
	return pinned.Unpin()
}
