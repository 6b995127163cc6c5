package netdev

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// EnsureNeighbour gives a bridge a permanent neighbour entry for an address
// that no device has.
func (h *Host) EnsureNeighbour(bridge string, addr netip.Addr, mac net.HardwareAddr) error {
	link, err := h.netlink.LinkByName(bridge)
	if err != nil {
		return fmt.Errorf("look for the bridge %s: %w", bridge, err)
	}
	return h.setNeighbour(link, addr, mac)
}

func (h *Host) setNeighbour(link netlink.Link, addr netip.Addr, mac net.HardwareAddr) error {
	err := h.netlink.NeighSet(&netlink.Neigh{
		LinkIndex:    link.Attrs().Index,
		IP:           addr.AsSlice(),
		State:        netlink.NUD_PERMANENT,
		HardwareAddr: mac,
	})
	if err != nil {
		return fmt.Errorf("make %s a neighbour on %s: %w", addr, link.Attrs().Name, err)
	}
	return nil
}

// DeleteNeighbour removes a bridge's entry for an address. What is not there
// is no error, and neither is a zero address.
func (h *Host) DeleteNeighbour(bridge string, addr netip.Addr) error {
	link, err := h.find(bridge)
	if err != nil || link == nil || !addr.IsValid() {
		return err
	}
	err = h.netlink.NeighDel(&netlink.Neigh{LinkIndex: link.Attrs().Index, IP: addr.AsSlice()})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove the neighbour %s from %s: %w", addr, bridge, err)
	}
	return nil
}

// PermanentNeighbours returns the addresses that a bridge has permanent entries
// for; none when there is no such device.
func (h *Host) PermanentNeighbours(bridge string) ([]netip.Addr, error) {
	link, err := h.find(bridge)
	if err != nil || link == nil {
		return nil, err
	}
	entries, err := h.netlink.NeighList(link.Attrs().Index, netlink.FAMILY_ALL)
	for errors.Is(err, netlink.ErrDumpInterrupted) {
		entries, err = h.netlink.NeighList(link.Attrs().Index, netlink.FAMILY_ALL)
	}
	if err != nil {
		return nil, fmt.Errorf("list the neighbours of %s: %w", bridge, err)
	}
	var addrs []netip.Addr
	for _, e := range entries {
		if addr, ok := netip.AddrFromSlice(e.IP); ok && e.State == netlink.NUD_PERMANENT {
			addrs = append(addrs, addr.Unmap())
		}
	}
	return addrs, nil
}
