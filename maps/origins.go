package maps

import (
	"encoding/binary"
	"net/netip"

	"github.com/sluice-net/sluice/internal/datapath"
)

// Asked returns the address and port that a socket of the host had asked for
// when the socket hook gave it `got` instead; ok is false when it got what it
// asked for, or when that was too long ago. cookie is the socket's.
func (m *Maps) Asked(protocol uint8, cookie uint64, got netip.AddrPort) (asked netip.AddrPort, ok bool) {
	key := datapath.SocketKey{
		Cookie:   cookie,
		Addr:     got.Addr().As16(), // IPv4 is mapped
		Port:     networkOrder(got.Port()),
		Protocol: uint16(protocol),
	}
	var origin datapath.SocketOrigin
	if err := m.byName["socket_origins"].Lookup(&key, &origin); err != nil {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(netip.AddrFrom16(origin.Addr).Unmap(), networkOrder(origin.Port)), true
}

// networkOrder turns a port from host to network byte order, or back.
func networkOrder(port uint16) uint16 {
	var bytes [2]byte
	binary.BigEndian.PutUint16(bytes[:], port)
	return binary.NativeEndian.Uint16(bytes[:])
}
