// Package portspec is the grammar of published ports:
//
//	[IP:]HOST[-HOST]:CONTAINER[-CONTAINER][/PROTOCOL]
//	IP::CONTAINER[-CONTAINER][/PROTOCOL]
//	CONTAINER[-CONTAINER][/PROTOCOL]
//
// As in Docker, a host port of 0, or none before the colon, leaves the choice to
// the engine, an empty protocol is tcp, and an IPv6 address is in brackets or not.
package portspec

import (
	"fmt"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// Spec is what a port specification asks for.
type Spec struct {
	Protocol uint8 // IPPROTO_TCP or IPPROTO_UDP
	// HostAddr is 0.0.0.0 for every IPv4 address of the host, :: for every IPv6 one,
	// and zero for all.
	HostAddr netip.Addr

	// First to Last are the host's ports; both 0 leave the choice to the
	// engine.
	First, Last uint16

	// Target to TargetLast are the container's ports, as many as the
	// host's. When there is but one, and several of the host, the engine
	// chooses one of the host's.
	Target, TargetLast uint16
}

// String writes the specification in the grammar, protocol included.
func (s Spec) String() string {
	target := Span(s.Target, s.TargetLast) + "/" + ProtocolName(s.Protocol)
	host := ""
	if s.First != 0 {
		host = Span(s.First, s.Last)
	}
	switch {
	case s.HostAddr.Is6():
		return "[" + s.HostAddr.String() + "]:" + host + ":" + target
	case s.HostAddr.IsValid():
		return s.HostAddr.String() + ":" + host + ":" + target
	}
	if host == "" {
		return target
	}
	return host + ":" + target
}

// ProtocolName is the protocol's name in the grammar: "tcp" or "udp".
func ProtocolName(protocol uint8) string {
	switch protocol {
	case unix.IPPROTO_TCP:
		return "tcp"
	case unix.IPPROTO_UDP:
		return "udp"
	}
	return fmt.Sprintf("protocol %d", protocol)
}

// Span writes a port or a range of them.
func Span(first, last uint16) string {
	if first == last {
		return strconv.Itoa(int(first))
	}
	return fmt.Sprintf("%d-%d", first, last)
}
