// Package netdev makes and removes network devices, namespaces, addresses,
// routes and neighbours by netlink. Whatever makes something repairs it when
// it is there already, and whatever removes something is content when it is
// not, so that plans can be repeated and unwound.
package netdev

import (
	"errors"
	"fmt"
	"sync"
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
	// deleters are for requests that the kernel takes long for.
	deleters []*netlink.Handle
	mark     string
	// lending is the ifindex that programs know LendingDevice by.
	lending  atomic.Int64
	borrowed string // see inheriting
}

// Open connects to the calling thread's network namespace. Every device that is
// made there is marked with the instance, a name without line breaks. borrowed is
// a file that remembers a setting of the host while EnsureLendingDevice needs
// another one; it is of use to this namespace alone.
func Open(instance, borrowed string) (*Host, error) {
	h := &Host{mark: markOf(instance), borrowed: borrowed}
	for range 1 + deleters {
		handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			h.Close()
			return nil, fmt.Errorf("open netlink: %w", err)
		}
		h.deleters = append(h.deleters, handle)
	}
	h.netlink, h.deleters = h.deleters[0], h.deleters[1:]
	return h, nil
}

// Close closes the connections.
func (h *Host) Close() {
	for _, handle := range h.deleters {
		handle.Close()
	}
	if h.netlink != nil {
		h.netlink.Close()
	}
}

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
func (h *Host) DeleteDevice(name string) error { return h.deleteBy(h.netlink, name) }

// deleters is how many devices are deleted at once. The kernel waits for RCU
// after it has let others at the devices again, so that waits overlap; 4 at
// once halve the time of many, and 8 are no better.
const deleters = 4

// DeleteDevices removes devices as DeleteDevice does, several at once, and does
// not hold up other requests meanwhile. It goes on after errors and returns
// them all.
func (h *Host) DeleteDevices(names []string) error {
	var group sync.WaitGroup
	errs := make([]error, len(names))
	var next atomic.Int64
	for _, handle := range h.deleters[:min(deleters, len(names))] {
		group.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(names); i = next.Add(1) - 1 {
				errs[i] = h.deleteBy(handle, names[i])
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func (h *Host) deleteBy(handle *netlink.Handle, name string) error {
	link, err := findBy(handle, name)
	if err != nil || link == nil {
		return err
	}
	if err := h.refuseForeign(link); err != nil {
		return err
	}
	if err := handle.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

// find returns the device name, nil when there is none.
func (h *Host) find(name string) (netlink.Link, error) { return findBy(h.netlink, name) }

func findBy(handle *netlink.Handle, name string) (netlink.Link, error) {
	link, err := handle.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for the device %s: %w", name, err)
	}
	return link, nil
}
