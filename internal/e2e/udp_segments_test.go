package e2e

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// setUDPOption switches an option of level SOL_UDP.
func setUDPOption(conn *net.UDPConn, option int, on bool) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	value := 0
	if on {
		value = 1
	}
	if controlErr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, option, value)
	}); controlErr != nil {
		return controlErr
	}
	return err
}

// sendSegments has the kernel cut what it sends into datagrams of `segment`
// bytes; the last one may be shorter.
func sendSegments(conn *net.UDPConn, to netip.AddrPort, buffer []byte, segment int) error {
	control := make([]byte, unix.CmsgSpace(2))
	binary.NativeEndian.PutUint64(control, uint64(unix.CmsgLen(2))) // struct cmsghdr
	binary.NativeEndian.PutUint32(control[8:], unix.SOL_UDP)
	binary.NativeEndian.PutUint32(control[12:], unix.UDP_SEGMENT)
	binary.NativeEndian.PutUint16(control[unix.CmsgLen(0):], uint16(segment))
	_, _, err := conn.WriteMsgUDPAddrPort(buffer, control, to)
	return err
}

// readSegments reads one datagram, or what UDP_GRO has put together, and returns
// its parts. They are valid until the next call with the same buffer.
func readSegments(conn *net.UDPConn, buffer []byte) (parts [][]byte, from netip.AddrPort, err error) {
	var control [64]byte
	n, length, _, from, err := conn.ReadMsgUDPAddrPort(buffer, control[:])
	if err != nil {
		return nil, from, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:length])
	if err != nil {
		return nil, from, err
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_UDP && m.Header.Type == unix.UDP_GRO {
			segment := int(binary.NativeEndian.Uint32(m.Data))
			return slices.Collect(slices.Chunk(buffer[:n], segment)), from, nil
		}
	}
	return [][]byte{buffer[:n]}, from, nil
}
