package netdev

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"

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
// for, in order; none when there is no such device.
func (h *Host) PermanentNeighbours(bridge string) ([]netip.Addr, error) {
	entries, err := h.permanentNeighbours(bridge)
	return slices.SortedFunc(maps.Keys(entries), netip.Addr.Compare), err
}

// permanentNeighbours returns the MAC addresses of a bridge's permanent entries, as
// text; nil when there is no such device.
func (h *Host) permanentNeighbours(bridge string) (map[netip.Addr]string, error) {
	link, err := h.find(bridge)
	if err != nil || link == nil {
		return nil, err
	}
	entries, err := h.netlink.NeighList(link.Attrs().Index, netlink.FAMILY_ALL)
	for errors.Is(err, netlink.ErrDumpInterrupted) {
		entries, err = h.netlink.NeighList(link.Attrs().Index, netlink.FAMILY_ALL)
	}
	if err != nil {
		return nil, fmt.Errorf("list the neighbours on %s: %w", bridge, err)
	}
	permanent := map[netip.Addr]string{}
	for _, e := range entries {
		if addr, ok := netip.AddrFromSlice(e.IP); ok && e.State&netlink.NUD_PERMANENT != 0 {
			permanent[addr.Unmap()] = e.HardwareAddr.String()
		}
	}
	return permanent, nil
}
