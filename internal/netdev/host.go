// Package netdev makes and removes network devices, namespaces, addresses,
// routes and neighbours by netlink. Whatever makes something repairs it when
// it is there already, and whatever removes something is content when it is
// not, so that plans can be repeated and unwound.
package netdev

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Host is the network namespace that the bridges and the outer ends of veths
// are in: that of the thread that called Open. Sysctls are written in the
// namespace of the calling thread, so callers stay in it. Its methods may be
// called from any goroutine.
type Host struct {
	netlink *netlink.Handle
	mark    string
	// lending is the ifindex that programs know LendingDevice by.
	lending atomic.Int64
}

// Open connects to the calling thread's network namespace. Every device that is
// made there is marked with the instance, a name without line breaks.
func Open(instance string) (*Host, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return &Host{netlink: handle, mark: markOf(instance)}, nil
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
// error when there is none; one of another instance stays, and is ErrForeign.
func (h *Host) DeleteDevice(name string) error {
	link, err := h.find(name)
	if err != nil || link == nil {
		return err
	}
	if err := h.refuseForeign(link); err != nil {
		return err
	}
	if err := h.netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
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
