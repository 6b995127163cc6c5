package model

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	ethernetLength = 14

	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd

	tcpFIN, tcpSYN, tcpRST, tcpACK = 0x01, 0x02, 0x04, 0x10

	icmpEchoReply, icmpUnreachable, icmpEcho     = 0, 3, 8
	icmpTimeExceeded, icmpParameterProblem       = 11, 12
	icmpFragmentationNeeded                      = 4 // a code of icmpUnreachable
	icmpHeader, udpHeader, tcpHeader, ipv4Header = 8, 8, 20, 20
)

// packet is what the model reads of a frame. Offsets begin at the frame's
// first byte.
type packet struct {
	raw       []byte
	gso       int // the length of a segment's payload, 0 when it is no GSO packet
	ethertype uint16

	src, dst  netip.Addr
	ttl       uint8
	protocol  uint8
	network   int // offset of the IP header
	transport int // and of the transport header
	end       int // and of what follows the IP packet
	id        uint32
	fragment  bool // any fragment
	later     bool // one without a transport header

	flags     uint8 // of TCP
	isError   bool  // an ICMP error: it quotes a packet
	hasPorts  bool
	sport     uint16 // of an echo request: the identifier
	dport     uint16 // of an echo reply: the identifier
	echoReply bool

	sender uint32     // the endpoint that has sent it, 0 outside
	self   netip.Addr // who speaks to its sender for the host
	zone   uint16
	mtu    int // that of the route, when the packet does not fit
}

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }

// parse reads the IP and the transport header of the packet at an offset of
// the frame, false for what no correct host sends. The addresses are valid as
// soon as the IP header makes sense.
func (p *packet) parse(at int) bool {
	p.network, p.end = at, len(p.raw)
	if !p.parseIPv4(false) {
		return false
	}
	return p.later || p.parseTransport(tcpHeader)
}

// parseIPv4 reads the IP header; an error may have cut what follows it.
func (p *packet) parseIPv4(cut bool) bool {
	ip := p.raw[p.network:p.end]
	if len(ip) < ipv4Header || ip[0]>>4 != 4 {
		return false
	}
	header, length := int(ip[0]&15)*4, int(be16(ip[2:]))
	if cut {
		length = len(ip)
	}
	if header < ipv4Header || length < header || length > len(ip) {
		return false
	}
	p.transport, p.end = p.network+header, p.network+length
	p.id = uint32(be16(ip[4:]))
	p.fragment, p.later = be16(ip[6:])&0x3fff != 0, be16(ip[6:])&0x1fff != 0
	p.ttl, p.protocol = ip[8], ip[9]
	p.src, p.dst = netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:]))
	return true
}

// parseTransport reads ports and the like; tcp is how many bytes of TCP there
// must be: an error quotes eight.
func (p *packet) parseTransport(tcp int) bool {
	segment := p.raw[p.transport:p.end]
	switch p.protocol {
	case unix.IPPROTO_TCP:
		if len(segment) < tcp {
			return false
		}
		p.sport, p.dport, p.hasPorts = be16(segment), be16(segment[2:]), true
		if tcp == tcpHeader {
			p.flags = segment[13]
		}
	case unix.IPPROTO_UDP:
		if len(segment) < udpHeader {
			return false
		}
		p.sport, p.dport, p.hasPorts = be16(segment), be16(segment[2:]), true
	case unix.IPPROTO_ICMP:
		if len(segment) < icmpHeader {
			return false
		}
		p.parseICMP(segment)
	}
	return true
}

func (p *packet) parseICMP(message []byte) {
	switch message[0] {
	case icmpEcho:
		p.sport, p.hasPorts = be16(message[4:]), true
	case icmpEchoReply:
		p.dport, p.hasPorts, p.echoReply = be16(message[4:]), true, true
	case icmpUnreachable, icmpTimeExceeded, icmpParameterProblem:
		p.isError = true
	}
}

// quoted is the packet that an ICMP error is about, nil when no flow can be
// told from it. Of its transport header there need not be more than 8 bytes.
func (p *packet) quoted() *packet {
	q := &packet{raw: p.raw[:p.end], network: p.transport + icmpHeader, end: p.end}
	if !q.parseIPv4(true) || q.later || q.src != p.dst {
		return nil // the error goes to whoever sent the packet
	}
	if !q.parseTransport(8) || !q.hasPorts {
		return nil
	}
	return q
}

// sourceRouted says whether an option of IPv4 chooses the packet's way; options
// that contradict themselves end before it.
func (p *packet) sourceRouted() bool {
	const end, nop, loose, strict = 0, 1, 131, 137
	options := p.raw[p.network+ipv4Header : p.transport]
	for len(options) > 0 {
		length := 1
		switch options[0] {
		case loose, strict:
			return true
		case end:
			return false
		case nop:
		default:
			if len(options) < 2 || options[1] < 2 || int(options[1]) > len(options) {
				return false
			}
			length = int(options[1])
		}
		options = options[length:]
	}
	return false
}

// key is what flows are found by.
func (p *packet) key() Key {
	return Key{
		Src: p.src, Dst: p.dst, Sport: p.sport, Dport: p.dport,
		Zone: p.zone, Protocol: p.protocol, EchoReply: p.echoReply,
	}
}

// write gives the packet other addresses and, where it has them, ports.
// Checksums stay as they are; see Sums.
func (p *packet) write(to Key, hops uint8) {
	p.writeAddresses(to.Src, to.Dst, hops)
	if p.later {
		return
	}
	ports := p.raw[p.transport:]
	switch {
	case p.protocol != unix.IPPROTO_ICMP:
		binary.BigEndian.PutUint16(ports, to.Sport)
		binary.BigEndian.PutUint16(ports[2:], to.Dport)
	case p.echoReply:
		binary.BigEndian.PutUint16(ports[4:], to.Dport)
	default:
		binary.BigEndian.PutUint16(ports[4:], to.Sport)
	}
}

func (p *packet) writeAddresses(src, dst netip.Addr, hops uint8) {
	ip := p.raw[p.network:]
	ip[8] -= hops
	copy(ip[12:], src.AsSlice())
	copy(ip[16:], dst.AsSlice())
}

// writeMACs gives the frame other hardware addresses.
func (p *packet) writeMACs(dst, src []byte) {
	copy(p.raw, dst)
	copy(p.raw[6:], src)
}

// length is that of the IP packet.
func (p *packet) length() int { return p.end - p.network }

// mtuLength is the length that has to fit an MTU: that of a segment.
func (p *packet) mtuLength() int {
	if p.gso == 0 {
		return p.length()
	}
	header := udpHeader
	if p.protocol == unix.IPPROTO_TCP {
		header = tcpHeader
		if p.transport+tcpHeader <= len(p.raw) {
			header = int(p.raw[p.transport+12]>>4) * 4
		}
	}
	return p.transport - p.network + header + p.gso
}

// opens says whether the packet may begin a flow.
func (p *packet) opens() bool {
	if p.protocol == unix.IPPROTO_TCP {
		return p.flags&(tcpSYN|tcpACK|tcpRST|tcpFIN) == tcpSYN
	}
	return !p.echoReply
}
