// Package netdev makes and removes network devices, namespaces, addresses,
// routes and neighbours by netlink. Whatever makes something repairs it when
// it is there already, and whatever removes something is content when it is
// not, so that plans can be repeated and unwound.
package netdev

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Host is the network namespace that the bridges and the outer ends of veths
// are in: that of the thread that called Open. Sysctls are written in the
// namespace of the calling thread, so callers stay in it. Its methods may be
// called from any goroutine.
type Host struct {
	netlink *netlink.Handle
}

// Open connects to the calling thread's network namespace.
func Open() (*Host, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return &Host{netlink: handle}, nil
}

// Close closes the connection.
func (h *Host) Close() { h.netlink.Close() }

// Ifindex returns the index of the device name; 0 when there is none.
func (h *Host) Ifindex(name string) (int, error) {
	link, err := h.find(name)
	if err != nil || link == nil {
		return 0, err
	}
	return link.Attrs().Index, nil
}

// DeleteDevice removes the device name, and its peer if it is a veth. It is no
// error when there is none.
func (h *Host) DeleteDevice(name string) error {
	link, err := h.find(name)
	if err != nil || link == nil {
		return err
	}
	if err := h.netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

// mark is the alias (`ip link` shows it) of every device that this package makes
// in the host's namespace.
const mark = "sluice"

// setMark marks a device as made by us.
func (h *Host) setMark(link netlink.Link) error {
	if link.Attrs().Alias == mark {
		return nil
	}
	if err := h.netlink.LinkSetAlias(link, mark); err != nil {
		return fmt.Errorf("mark %s as ours: %w", link.Attrs().Name, err)
	}
	return nil
}

// Marked returns the names of the devices that this package made. It lists
// every device of the host.
func (h *Host) Marked() ([]string, error) {
	links, err := h.netlink.LinkList()
	for errors.Is(err, netlink.ErrDumpInterrupted) {
		links, err = h.netlink.LinkList()
	}
	if err != nil {
		return nil, fmt.Errorf("list the host's devices: %w", err)
	}
	var names []string
	for _, link := range links {
		if link.Attrs().Alias == mark {
			names = append(names, link.Attrs().Name)
		}
	}
	return names, nil
}

// find returns the device name, nil when there is none.
func (h *Host) find(name string) (netlink.Link, error) {
	link, err := h.netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for the device %s: %w", name, err)
	}
	return link, nil
}
