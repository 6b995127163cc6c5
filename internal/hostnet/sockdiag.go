package hostnet

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// States of sockets in linux/tcp_states.h, as bits; UDP uses the same.
const (
	stateClose  = 1 << 7
	stateListen = 1 << 10
	// stateBound is of TCP sockets that have a port and are yet to listen or to
	// connect. Kernels before 6.8 list none of them.
	stateBound = 1 << 13
	// stateConnected is of what has another end: established, SYN sent, and
	// every state of closing but TIME_WAIT. Of UDP there is only the first.
	stateConnected = 1<<1 | 1<<2 | 1<<4 | 1<<5 | 1<<8 | 1<<9 | 1<<11
)

// Of linux/inet_diag.h. Both structures have a struct inet_diag_sockid: source and
// destination port, source and destination address, device, cookie.
const (
	sizeofRequest = 56
	requestID     = 8
	sizeofMessage = 72
	messageID     = 4
	sizeofID      = 48
	v6OnlyAttr    = 11 // INET_DIAG_SKV6ONLY
)

// dumpListeners lists the sockets of one family that hold a port; the kernel
// picks them by state.
func dumpListeners(socket *nl.SocketHandle, protocol, family uint8) (Listeners, error) {
	states := uint32(stateListen | stateBound)
	if protocol == unix.IPPROTO_UDP {
		states = stateClose
	}
	messages, err := dumpSockets(socket, encodeRequest(protocol, family, states))
	if err != nil {
		return nil, err
	}
	return parseListeners(messages)
}

// encodeRequest is a struct inet_diag_req_v2 for sockets of any address.
func encodeRequest(protocol, family uint8, states uint32) []byte {
	b := make([]byte, sizeofRequest)
	b[0], b[1] = family, protocol
	binary.NativeEndian.PutUint32(b[4:], states)
	return b
}

func parseListeners(messages [][]byte) (Listeners, error) {
	var listeners Listeners
	for _, m := range messages {
		l, err := parseListener(m)
		if err != nil {
			return nil, err
		}
		if l.Addr.Port() != 0 {
			listeners = append(listeners, l)
		}
	}
	return listeners, nil
}

// parseListener reads a struct inet_diag_msg and its attributes.
func parseListener(m []byte) (l Listener, err error) {
	if len(m) < sizeofMessage {
		return l, fmt.Errorf("short sock_diag message of %d bytes", len(m))
	}
	port := binary.BigEndian.Uint16(m[messageID:])
	source := m[messageID+4:]
	addr := netip.AddrFrom4([4]byte(source))
	if m[0] == unix.AF_INET6 {
		addr = netip.AddrFrom16([16]byte(source))
	}
	l.Addr = netip.AddrPortFrom(addr, port)
	attrs, err := nl.ParseRouteAttr(m[sizeofMessage:])
	if err != nil {
		return l, err
	}
	for _, attr := range attrs {
		if attr.Attr.Type == v6OnlyAttr && len(attr.Value) > 0 {
			l.V6Only = attr.Value[0] != 0
		}
	}
	return l, nil
}
