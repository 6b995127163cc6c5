package hostnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Connection is a connected socket of the host, of TCP or UDP.
type Connection struct {
	Protocol uint8
	Remote   netip.AddrPort
	Cookie   uint64 // as bpf_get_socket_cookie has it
}

// ErrNoDisconnect is returned by Disconnect when the kernel cannot end the
// connections of others: it was built without CONFIG_INET_DIAG_DESTROY.
var ErrNoDisconnect = errors.New("the kernel has no CONFIG_INET_DIAG_DESTROY")

// Disconnect ends the host's connections to an address of which ends says so,
// as if the other end had reset them: the next read or write of such a socket
// fails with ECONNABORTED. One that ends meanwhile by itself is no error.
func (h *Host) Disconnect(addr netip.Addr, ends func(Connection) bool) error {
	for _, protocol := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		for _, family := range familiesOf(addr) {
			if err := h.disconnect(protocol, family, addr, ends); err != nil {
				return fmt.Errorf("end connections of the host to %s: %w", addr, err)
			}
		}
	}
	return nil
}

// familiesOf are those of sockets that may be connected to the address: a socket
// of IPv6 may be connected to an IPv4-mapped one.
func familiesOf(addr netip.Addr) []uint8 {
	if addr.Is4() {
		return []uint8{unix.AF_INET, unix.AF_INET6}
	}
	return []uint8{unix.AF_INET6}
}

func (h *Host) disconnect(protocol, family uint8, addr netip.Addr, ends func(Connection) bool) error {
	request := append(encodeRequest(protocol, family, stateConnected), toAddress(addr).Serialize()...)
	messages, err := dumpSockets(h.diag, request)
	if err != nil {
		return err
	}
	for _, m := range messages {
		if len(m) < sizeofMessage {
			return fmt.Errorf("short sock_diag message of %d bytes", len(m))
		}
		if c := parseConnection(m, protocol); c.Remote.Addr() != addr || !ends(c) {
			continue
		}
		switch err := h.destroy(m, protocol); {
		case errors.Is(err, unix.ENOENT): // it has ended
		case errors.Is(err, unix.EOPNOTSUPP):
			return ErrNoDisconnect
		case err != nil:
			return err
		}
	}
	return nil
}

// destroy ends the socket that a struct inet_diag_msg is about.
func (h *Host) destroy(m []byte, protocol uint8) error {
	raw := encodeRequest(protocol, m[0], 0)
	copy(raw[requestID:], m[messageID:messageID+sizeofID])
	req := nl.NewNetlinkRequest(nl.SOCK_DESTROY, unix.NLM_F_ACK)
	req.AddRawData(raw)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_INET_DIAG: h.diag}
	_, err := req.Execute(unix.NETLINK_INET_DIAG, 0)
	return err
}

func parseConnection(m []byte, protocol uint8) Connection {
	id := m[messageID : messageID+sizeofID]
	remote := netip.AddrFrom4([4]byte(id[20:24]))
	if m[0] == unix.AF_INET6 {
		remote = netip.AddrFrom16([16]byte(id[20:36])).Unmap()
	}
	// The cookie's halves are written low word first (sock_diag_save_cookie).
	low, high := binary.NativeEndian.Uint32(id[40:]), binary.NativeEndian.Uint32(id[44:])
	return Connection{
		Protocol: protocol,
		Remote:   netip.AddrPortFrom(remote, binary.BigEndian.Uint16(id[2:])),
		Cookie:   uint64(high)<<32 | uint64(low),
	}
}

// toAddress is a filter in the bytecode of sock_diag that lets sockets through
// whose remote address is addr: one instruction, which skips itself when it is
// true and jumps too far, which refuses, when it is not.
func toAddress(addr netip.Addr) *nl.RtAttr {
	const (
		remoteCondition = 8 // INET_DIAG_BC_D_COND
		anyPort         = -1
		sizeofOperation = 4
		sizeofCondition = 8
	)
	raw := addr.AsSlice()
	size := sizeofOperation + sizeofCondition + len(raw)
	b := make([]byte, 0, size)
	b = append(b, remoteCondition, byte(size))
	b = binary.NativeEndian.AppendUint16(b, uint16(size+sizeofOperation))
	family := byte(unix.AF_INET)
	if addr.Is6() {
		family = unix.AF_INET6
	}
	b = append(b, family, byte(len(raw)*8), 0, 0)
	port := int32(anyPort)
	b = binary.NativeEndian.AppendUint32(b, uint32(port))
	const bytecode = 1 // INET_DIAG_REQ_BYTECODE
	return nl.NewRtAttr(bytecode, append(b, raw...))
}

// dumpSockets lists sockets by a struct inet_diag_req_v2 and its attributes, again while the kernel
// says that the list was changed under its hands.
func dumpSockets(socket *nl.SocketHandle, request []byte) ([][]byte, error) {
	for {
		req := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
		req.AddRawData(request)
		req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_INET_DIAG: socket}
		messages, err := req.Execute(unix.NETLINK_INET_DIAG, 0)
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return messages, err
		}
	}
}
