package packet

import (
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

func (s *Summary) addIPv4(b []byte) {
	s.Protocol = "ipv4"
	header, err := ipv4.ParseHeader(b)
	if err != nil {
		s.say("truncated header")
		return
	}
	s.setAddrs(header.Src, header.Dst, header.Protocol)
	rest := withoutPadding(b[header.Len:], header.TotalLen-header.Len)
	switch more := header.Flags&ipv4.MoreFragments != 0; {
	case header.FragOff != 0:
		s.sayFragment(header.ID, header.FragOff, more)
	case more:
		s.addTransport(header.Protocol, rest)
		s.sayFragment(header.ID, 0, more)
	default:
		s.addTransport(header.Protocol, rest)
	}
}

// ipv6Option is the beginning of a hop-by-hop, routing or destination header,
// and ipv6Fragment a fragment header (RFC 8200, section 4).
type (
	ipv6Option   struct{ Next, Length uint8 }
	ipv6Fragment struct {
		Next, Reserved uint8
		Offset         uint16 // and "more fragments" in the lowest bit
		ID             uint32
	}
)

func (s *Summary) addIPv6(b []byte) {
	s.Protocol = "ipv6"
	header, err := ipv6.ParseHeader(b)
	if err != nil {
		s.say("truncated header")
		return
	}
	s.addBehindIPv6(header, header.NextHeader, withoutPadding(b[ipv6.HeaderLen:], header.PayloadLen))
}

// withoutPadding cuts what Ethernet adds to short packets. A packet that is
// longer than its length field can say has none, and 0 there.
func withoutPadding(b []byte, length int) []byte {
	if length > 0 && length < len(b) {
		return b[:length]
	}
	return b
}

// addBehindIPv6 goes past extension headers.
func (s *Summary) addBehindIPv6(header *ipv6.Header, next int, rest []byte) {
	for {
		s.setAddrs(header.Src, header.Dst, next)
		switch next {
		case unix.IPPROTO_HOPOPTS, unix.IPPROTO_ROUTING, unix.IPPROTO_DSTOPTS:
			option, _, ok := take[ipv6Option](rest)
			length := 8 * (int(option.Length) + 1)
			if !ok || length > len(rest) {
				return
			}
			next, rest = int(option.Next), rest[length:]
		case unix.IPPROTO_FRAGMENT:
			fragment, behind, ok := take[ipv6Fragment](rest)
			if !ok {
				return
			}
			s.setAddrs(header.Src, header.Dst, int(fragment.Next))
			units := int(fragment.Offset >> 3)
			if units == 0 {
				s.addBehindIPv6(header, int(fragment.Next), behind)
			}
			s.sayFragment(int(fragment.ID), units, fragment.Offset&1 != 0)
			return
		default:
			s.addTransport(next, rest)
			return
		}
	}
}

func (s *Summary) setAddrs(src, dst net.IP, protocol int) {
	s.Source, s.Destination = netip.AddrPortFrom(address(src), 0), netip.AddrPortFrom(address(dst), 0)
	s.Protocol = protocolName(protocol)
}

func address(raw []byte) netip.Addr {
	addr, _ := netip.AddrFromSlice(raw)
	return addr.Unmap()
}

// sayFragment says which part of a packet this is; units are those of the
// header, eight bytes.
func (s *Summary) sayFragment(id, units int, more bool) {
	last := ""
	if !more {
		last = " (last)"
	}
	s.say("fragment %#x at %d%s", id, units*8, last)
}

// protocolNames are what users call the protocols of IP.
var protocolNames = map[int]string{
	unix.IPPROTO_ICMP: "icmp", unix.IPPROTO_ICMPV6: "icmp6", unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp",
	unix.IPPROTO_IGMP: "igmp", unix.IPPROTO_IPIP: "ipip", unix.IPPROTO_IPV6: "ipv6", unix.IPPROTO_GRE: "gre",
	unix.IPPROTO_ESP: "esp", unix.IPPROTO_AH: "ah", unix.IPPROTO_SCTP: "sctp", unix.IPPROTO_DCCP: "dccp",
	unix.IPPROTO_UDPLITE: "udplite", unix.IPPROTO_HOPOPTS: "hop-by-hop", unix.IPPROTO_ROUTING: "routing",
	unix.IPPROTO_FRAGMENT: "fragment", unix.IPPROTO_DSTOPTS: "destination-options", unix.IPPROTO_NONE: "no-next-header",
}

func protocolName(protocol int) string {
	if name := protocolNames[protocol]; name != "" {
		return name
	}
	return fmt.Sprintf("protocol %d", protocol)
}
