package netdev

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// announceWait bounds how long the kernel may take to notice that both ends of a
// veth are up. Before that a bridge takes nothing from its port.
const announceWait = 100 * time.Millisecond

// Announce tells the neighbours of a veth's inner end that its IPv6 address is
// there now (RFC 4861, 7.2.6): some may remember who had it before. The MAC
// address of an IPv4 address follows from it, so that it needs none of this.
func (h *Host) Announce(v Veth) error {
	for deadline := time.Now().Add(announceWait); ; time.Sleep(500 * time.Microsecond) {
		outer, err := h.netlink.LinkByName(v.Name)
		if err != nil {
			return fmt.Errorf("announce %s: %w", v.Address6.Addr(), err)
		}
		if outer.Attrs().OperState == netlink.OperUp || time.Now().After(deadline) {
			break
		}
	}
	err := InNamespace(v.Sandbox, func() error {
		return sendFrame(v.Device, advertisement(v.Address6.Addr(), v.MAC))
	})
	if err != nil {
		return fmt.Errorf("announce %s: %w", v.Address6.Addr(), err)
	}
	return nil
}

// sendFrame sends an Ethernet frame of IPv6 by a device. A socket of ICMPv6 would
// need a route, which the kernel adds some time after the device is up.
func sendFrame(device string, frame []byte) error {
	link, err := net.InterfaceByName(device)
	if err != nil {
		return err
	}
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(socket)
	to := &unix.SockaddrLinklayer{Protocol: 0xdd86 /* of IPv6, in network order */, Ifindex: link.Index}
	return os.NewSyscallError("sendto", unix.Sendto(socket, frame, 0, to))
}

// advertisement is the frame of an unsolicited neighbour advertisement to all nodes.
func advertisement(addr netip.Addr, mac net.HardwareAddr) []byte {
	const (
		hopLimit       = 255 // or it is not taken
		kind           = 136
		override       = 0x20 // take it for what you remember
		targetLinkAddr = 2
	)
	target, allNodes := addr.As16(), netip.MustParseAddr("ff02::1").As16()
	message := append([]byte{kind, 0, 0, 0, override, 0, 0, 0}, target[:]...)
	message = append(append(message, targetLinkAddr, 1), mac...)

	frame := append([]byte{0x33, 0x33, 0, 0, 0, 1}, mac...)
	frame = append(frame, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(message)), unix.IPPROTO_ICMPV6, hopLimit)
	frame = append(append(frame, target[:]...), allNodes[:]...)
	binary.BigEndian.PutUint16(message[2:], checksum6(frame[len(frame)-32:], message))
	return append(frame, message...)
}

// checksum6 is the ICMPv6 checksum of a message (RFC 4443, 2.3); addrs are the
// source and the destination.
func checksum6(addrs, message []byte) uint16 {
	sum := uint32(len(message)) + unix.IPPROTO_ICMPV6
	for _, part := range [][]byte{addrs, message} {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
