// Package hostnet observes the host's network: the devices that lead outside,
// the host's addresses and routes, and the ports that its sockets hold. It
// changes nothing.
package hostnet

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Host answers questions about the network namespace of the thread that called
// Open. Its methods may be called from any goroutine.
type Host struct {
	netlink *netlink.Handle
	diag    *nl.SocketHandle
}

// Open connects to the calling thread's network namespace.
func Open() (*Host, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	diag, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_INET_DIAG)
	if err != nil {
		handle.Close()
		return nil, fmt.Errorf("open sock_diag: %w", err)
	}
	return &Host{netlink: handle, diag: &nl.SocketHandle{Socket: diag}}, nil
}

// Close closes the connection.
func (h *Host) Close() {
	h.netlink.Close()
	h.diag.Close()
}

// Routes returns the destinations of one family, netlink.FAMILY_V4 or
// netlink.FAMILY_V6, that the host has unicast routes to, in any table, and its
// own addresses but for the loopback's and, of IPv6, the link-local ones. Default
// routes, also when they are written as two halves of the address space or as
// 2000::/3, are left out.
func (h *Host) Routes(family int) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	collect := func(route netlink.Route) bool {
		if p, ok := destination(route); ok && route.Family == family {
			prefixes = append(prefixes, p)
		}
		return true
	}
	anyTable := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
	for {
		err := h.netlink.RouteListFilteredIter(family, anyTable, netlink.RT_FILTER_TABLE, collect)
		switch {
		case errors.Is(err, netlink.ErrDumpInterrupted):
			prefixes = nil
		case err != nil:
			return nil, fmt.Errorf("list the host's routes: %w", err)
		default:
			return prefixes, nil
		}
	}
}

// globalUnicast is all that the internet uses of IPv6 (RFC 4291).
var globalUnicast = netip.MustParsePrefix("2000::/3")

func destination(route netlink.Route) (netip.Prefix, bool) {
	if route.Dst == nil || route.Type != unix.RTN_UNICAST && route.Type != unix.RTN_LOCAL {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(route.Dst.IP)
	bits, size := route.Dst.Mask.Size()
	if size == 32 {
		addr = addr.Unmap()
	}
	isDefault := bits <= 1 || netip.PrefixFrom(addr, bits) == globalUnicast
	if !ok || isDefault || addr.IsLoopback() || addr.IsLinkLocalUnicast() && addr.Is6() || addr.IsMulticast() {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(addr, bits), true
}

// EphemeralPorts returns the first and the last port that the kernel chooses
// from, as the calling thread's network namespace has them.
func (h *Host) EphemeralPorts() (first, last uint16, err error) {
	raw, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 0, 0, err
	}
	if _, err := fmt.Sscan(string(raw), &first, &last); err != nil {
		return 0, 0, fmt.Errorf("net.ipv4.ip_local_port_range %q: %w", raw, err)
	}
	return first, last, nil
}

// Addresses returns the host's own addresses.
func (h *Host) Addresses() ([]netip.Addr, error) {
	for {
		found, err := h.netlink.AddrList(nil, netlink.FAMILY_ALL)
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list the host's addresses: %w", err)
		}
		var addrs []netip.Addr
		for _, a := range found {
			if addr, ok := netip.AddrFromSlice(a.IP); ok {
				addrs = append(addrs, addr.Unmap())
			}
		}
		return addrs, nil
	}
}

// DeviceName returns the name of the device with the index, "" when there is
// none any more.
func (h *Host) DeviceName(ifindex int) string {
	link, err := h.netlink.LinkByIndex(ifindex)
	if err != nil {
		return ""
	}
	return link.Attrs().Name
}

// Ifindex returns the index of a device, 0 when there is none.
func (h *Host) Ifindex(name string) (int, error) {
	link, err := h.netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look for the device %s: %w", name, err)
	}
	return link.Attrs().Index, nil
}
