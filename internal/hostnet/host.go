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

// Routes returns the IPv4 destinations that the host has unicast routes to, in
// any table, and its own addresses outside 127.0.0.0/8. Default routes, also
// when they are written as two halves of the address space, are left out.
func (h *Host) Routes() ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	collect := func(route netlink.Route) bool {
		if p, ok := destination(route); ok {
			prefixes = append(prefixes, p)
		}
		return true
	}
	anyTable := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
	for {
		err := h.netlink.RouteListFilteredIter(netlink.FAMILY_V4, anyTable, netlink.RT_FILTER_TABLE, collect)
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

func destination(route netlink.Route) (netip.Prefix, bool) {
	if route.Dst == nil || route.Type != unix.RTN_UNICAST && route.Type != unix.RTN_LOCAL {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(route.Dst.IP.To4())
	bits, _ := route.Dst.Mask.Size()
	if !ok || bits <= 1 || addr.IsLoopback() {
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
