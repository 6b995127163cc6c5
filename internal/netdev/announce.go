package netdev

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Announce tells the neighbours of a sandbox's device that an IPv6 address is
// there now (RFC 4861, 7.2.6): some may remember who had it before. The MAC
// address of an IPv4 address follows from it, so that it needs none of this.
func Announce(sandbox, device string, addr netip.Addr) error {
	err := InNamespace(sandbox, func() error { return sendAdvertisement(device, addr) })
	if err != nil {
		return fmt.Errorf("announce %s: %w", addr, err)
	}
	return nil
}

// sendAdvertisement sends an unsolicited neighbour advertisement to all nodes.
func sendAdvertisement(device string, addr netip.Addr) error {
	link, err := net.InterfaceByName(device)
	if err != nil {
		return err
	}
	socket, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(socket)
	for option, value := range map[int]int{
		unix.IPV6_MULTICAST_HOPS: 255, // or it is not taken
		unix.IPV6_MULTICAST_IF:   link.Index,
		unix.IPV6_MULTICAST_LOOP: 0,
	} {
		if err := unix.SetsockoptInt(socket, unix.IPPROTO_IPV6, option, value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if err := unix.Bind(socket, &unix.SockaddrInet6{Addr: addr.As16()}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	allNodes := netip.MustParseAddr("ff02::1")
	return os.NewSyscallError("sendto", unix.Sendto(socket, advertisement(addr, link.HardwareAddr), 0,
		&unix.SockaddrInet6{Addr: allNodes.As16(), ZoneId: uint32(link.Index)}))
}

// advertisement is the ICMPv6 message; the kernel adds its checksum.
func advertisement(addr netip.Addr, mac net.HardwareAddr) []byte {
	const (
		kind           = 136
		override       = 0x20 // take it for what you remember
		targetLinkAddr = 2
	)
	target := addr.As16()
	message := append([]byte{kind, 0, 0, 0, override, 0, 0, 0}, target[:]...)
	return append(append(message, targetLinkAddr, 1), mac...)
}
