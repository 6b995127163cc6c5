package hostnet

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Listeners are the sockets of the host that hold ports of one protocol: TCP
// sockets that listen or, from Linux 6.8 on, may yet do so; UDP sockets that are
// bound and not connected.
type Listeners []Listener

// Listener is a socket that holds a port.
type Listener struct {
	Addr   netip.AddrPort // the address is unspecified for a wildcard socket
	V6Only bool
}

// Listeners takes a snapshot of the sockets that hold ports of a protocol.
func (h *Host) Listeners(protocol uint8) (Listeners, error) {
	var listeners Listeners
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		found, err := dumpListeners(h.diag, protocol, family)
		if err != nil {
			return nil, fmt.Errorf("list the host's sockets: %w", err)
		}
		listeners = append(listeners, found...)
	}
	return listeners, nil
}

// Holding returns the socket that holds one of the ports first to last of the
// address, or of any address of its family when it is unspecified.
func (ls Listeners) Holding(addr netip.Addr, first, last uint16) (netip.AddrPort, bool) {
	for _, l := range ls {
		if l.Addr.Port() >= first && l.Addr.Port() <= last && l.overlaps(addr) {
			return l.Addr, true
		}
	}
	return netip.AddrPort{}, false
}

// loopback is the address whose published ports ::1 leads to as well.
var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// overlaps reports whether the socket has an address in common with a port
// that is published on the address addr. One that is published on 127.0.0.1, or
// on every IPv4 address, takes the host's own connections to ::1 as well.
func (l Listener) overlaps(addr netip.Addr) bool {
	held := l.Addr.Addr().Unmap()
	switch {
	case addr.Is6():
		return held.Is6() && (addr.IsUnspecified() || held.IsUnspecified() || held == addr)
	case addr.IsUnspecified():
		return held.Is4() || held.IsUnspecified() || held.IsLoopback()
	case addr == loopback:
		return held == addr || held.IsUnspecified() || held == netip.IPv6Loopback()
	case held.IsUnspecified():
		return !l.V6Only
	}
	return held == addr
}
