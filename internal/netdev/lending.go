package netdev

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// LendingDevice is the private bridge without ports whose ifindex the datapath
// lends to route lookups: those refuse a device that does not forward.
const LendingDevice = "sluice-fib"

// EnsureLendingDevice makes or repairs LendingDevice and returns its ifindex.
// It has no address and no port: it never sees a packet. A device that was
// deleted since the first call comes back with its ifindex, which is a constant
// of programs that run. A setting of the host that a process has left as it needed
// it, because it was killed, is as before.
func (h *Host) EnsureLendingDevice() (ifindex int, err error) {
	if err := h.giveBack(forwarding6); err != nil {
		return 0, err
	}
	link, err := h.lendingDevice()
	if err != nil {
		return 0, err
	}
	h.lending.CompareAndSwap(0, int64(link.Attrs().Index))
	if err := setSysctls(LendingDevice, forwarding, noIPv6); err != nil {
		return 0, err
	}
	if err := h.netlink.LinkSetUp(link); err != nil {
		return 0, fmt.Errorf("set %s up: %w", LendingDevice, err)
	}
	return link.Attrs().Index, nil
}

// lendingDevice returns the device that forwards IPv6. One that does not is made
// anew with its ifindex, for to write 1 to its switch would take the host's
// router-advertised default routes away; a device that inherits the switch does
// not.
func (h *Host) lendingDevice() (netlink.Link, error) {
	link, err := h.find(LendingDevice)
	if err != nil {
		return nil, err
	}
	index := int(h.lending.Load())
	if link != nil {
		value, err := readSysctl(LendingDevice, forwarding6)
		if errors.Is(err, ErrNoIPv6) || err == nil && value == forwarding6.value {
			return h.ensureBridgeDevice(LendingDevice, nil, index)
		}
		if err != nil {
			return nil, err
		}
		index = link.Attrs().Index
		if err := h.DeleteDevice(LendingDevice); err != nil {
			return nil, err
		}
	}
	err = h.inheriting(forwarding6, func() (err error) {
		link, err = h.ensureBridgeDevice(LendingDevice, nil, index)
		return err
	})
	return link, err
}
