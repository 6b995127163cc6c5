package loader

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Our filter is known by its priority and handle together.
const (
	clsactPriority = 0x5c01
	clsactHandle   = 0x5c01
)

func clsactQdisc(ifindex int) *netlink.Clsact {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: ifindex,
		Handle:    netlink.MakeHandle(0xffff, 0),
		Parent:    netlink.HANDLE_CLSACT,
	}}
}

func clsactFilter(ifindex int, dir direction) *netlink.BpfFilter {
	parent := uint32(netlink.HANDLE_MIN_INGRESS)
	if dir == egress {
		parent = netlink.HANDLE_MIN_EGRESS
	}
	return &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: ifindex,
			Parent:    parent,
			Handle:    clsactHandle,
			Priority:  clsactPriority,
			Protocol:  unix.ETH_P_ALL,
		},
		Name:         "sluice",
		DirectAction: true,
	}
}

// attachClsact adds the qdisc where it is missing, with a mark that it is ours,
// and adds or replaces our filter beside those of others.
func attachClsact(mark string, program *ebpf.Program, ifindex int, dir direction) error {
	err := netlink.QdiscAdd(clsactQdisc(ifindex))
	if err == nil {
		err = os.Mkdir(mark, 0o700)
	}
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add the clsact qdisc: %w", err)
	}
	return replaceFilter(program, ifindex, dir)
}

// replaceFilter puts our filter into the place of the one that an earlier
// process left.
func replaceFilter(program *ebpf.Program, ifindex int, dir direction) error {
	filter := clsactFilter(ifindex, dir)
	filter.Fd = program.FD()
	return netlink.FilterReplace(filter)
}

// detachClsact removes our filter, and the qdisc when it is ours and has no
// filter left.
func detachClsact(mark, device string, dir direction) error {
	l, err := netlink.LinkByName(device)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return unmark(mark)
	}
	if err != nil {
		return err
	}
	ifindex := l.Attrs().Index
	if err := deleteFilter(ifindex, dir); err != nil {
		return err
	}
	if _, err := os.Stat(mark); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		left, err := netlink.FilterList(l, parent)
		if err != nil || len(left) > 0 {
			return err
		}
	}
	if err := netlink.QdiscDel(clsactQdisc(ifindex)); err != nil && !gone(err) {
		return err
	}
	return unmark(mark)
}

func deleteFilter(ifindex int, dir direction) error {
	if err := netlink.FilterDel(clsactFilter(ifindex, dir)); err != nil && !gone(err) {
		return err
	}
	return nil
}

// SweepQdiscs forgets the qdiscs of devices that are gone, with whoever would have
// detached from them.
func (l *Loader) SweepQdiscs() error {
	entries, err := os.ReadDir(l.pins.qdiscs())
	if err != nil {
		return err
	}
	for _, entry := range entries {
		device := dotted(entry.Name())
		_, err := netlink.LinkByName(device)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			err = unmark(l.pins.qdisc(device))
		}
		if err != nil {
			return fmt.Errorf("forget the qdisc of %s: %w", device, err)
		}
	}
	return nil
}

func unmark(mark string) error {
	if err := os.Remove(mark); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// gone reports whether an error says that there is nothing to remove, be it that
// the kernel has no qdiscs at all.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENODEV) ||
		errors.Is(err, unix.EOPNOTSUPP)
}
