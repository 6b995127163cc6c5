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

	tcpHeader, udpHeader, icmpHeader = 20, 8, 8
)

// packet is what the model reads of a frame. Offsets begin at the frame's
// first byte.
type packet struct {
	raw       []byte
	gso       int // the length of a segment's payload, 0 when it is no GSO packet
	ethertype uint16

	src, dst  netip.Addr
	ttl       uint8 // or hop limit
	protocol  uint8
	network   int // offset of the IP header
	transport int // and of the transport header
	end       int // and of what follows the IP packet
	id        uint32
	fragment  bool // any fragment that has others
	later     bool // one without a transport header
	hidden    bool // extension headers hide the transport header

	flags     uint8 // of TCP
	isError   bool  // an ICMP error: it quotes a packet
	hasPorts  bool
	sport     uint16 // of an echo request: the identifier
	dport     uint16 // of an echo reply: the identifier
	echoReply bool

	sender   uint32     // the endpoint that has sent it, 0 outside
	self     netip.Addr // who speaks to its sender for the host
	zone     uint16
	fresh    []int // offsets of checksums made anew
	answered bool
	mtu      int // that of the route, when the packet does not fit
}

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }

// isIP says whether a frame holds IPv4 or IPv6.
func (p *packet) isIP() bool { return p.ethertype == etherIPv4 || p.ethertype == etherIPv6 }

// ip is what the packet's family differs in.
func (p *packet) ip() family {
	if p.ethertype == etherIPv4 {
		return ipv4
	}
	return ipv6
}

// parse reads the IP and the transport header of a frame, false for what no
// correct host sends. The addresses are valid as soon as the IP header makes
// sense.
func (p *packet) parse() bool {
	p.network, p.end = ethernetLength, len(p.raw)
	if !p.ip().parse(p, false) {
		return false
	}
	return p.later || p.hidden || p.parseTransport(tcpHeader)
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
	case p.ip().icmp:
		if len(segment) < icmpHeader {
			return false
		}
		p.parseICMP(segment)
	}
	return true
}

func (p *packet) parseICMP(message []byte) {
	switch kind := message[0]; {
	case kind == p.ip().echo:
		p.sport, p.hasPorts = be16(message[4:]), true
	case kind == p.ip().echoReply:
		p.dport, p.hasPorts, p.echoReply = be16(message[4:]), true, true
	default:
		p.isError = p.ip().isError(kind)
	}
}

// quotedHeader is the packet that an ICMP error is about, nil when what is quoted
// is no beginning of a packet.
func (p *packet) quotedHeader() *packet {
	q := &packet{raw: p.raw[:p.end], ethertype: p.ethertype, network: p.transport + icmpHeader, end: p.end}
	if !q.ip().parse(q, true) || q.later || q.hidden {
		return nil
	}
	return q
}

// quotes says whether an ICMP error is about a packet to an endpoint.
func (p *packet) quotes(e Endpoint) bool {
	q := p.quotedHeader()
	return q != nil && e.owns(q.dst)
}

// quoted is the packet that an ICMP error is about, nil when no flow can be
// told from it. Of its transport header there need not be more than 8 bytes.
func (p *packet) quoted() *packet {
	q := p.quotedHeader()
	if q == nil || q.src != p.dst {
		return nil // the error goes to whoever sent the packet
	}
	if !q.parseTransport(8) || !q.hasPorts {
		return nil
	}
	return q
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
	case p.protocol != p.ip().icmp:
		binary.BigEndian.PutUint16(ports, to.Sport)
		binary.BigEndian.PutUint16(ports[2:], to.Dport)
	case p.echoReply:
		binary.BigEndian.PutUint16(ports[4:], to.Dport)
	default:
		binary.BigEndian.PutUint16(ports[4:], to.Sport)
	}
}

func (p *packet) writeAddresses(src, dst netip.Addr, hops uint8) {
	header := p.raw[p.network:]
	header[p.ip().hopLimit] -= hops
	copy(header[p.ip().addresses:], append(src.AsSlice(), dst.AsSlice()...))
}

// writeMACs gives the frame other hardware addresses.
func (p *packet) writeMACs(dst, src []byte) {
	copy(p.raw, dst)
	copy(p.raw[6:], src)
}

// saidLength is what an IP header says of a packet's length: nothing of one that is
// to be cut and longer than 16 bits can say, which is all of the frame.
func (p *packet) saidLength(field []byte, more int) int {
	if n := int(be16(field)); n != 0 || p.gso == 0 {
		return n + more
	}
	return p.end - p.network
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
	length := p.transport - p.network + header + p.gso
	if p.ethertype != etherIPv4 && p.length() > 0xffff+ipv6.header && p.transport > p.network+ipv6.header {
		length -= 8 // the kernel's own jumbo option, which it takes away
	}
	return min(length, 0xffff)
}

// opens says whether the packet may begin a flow.
func (p *packet) opens() bool {
	if p.protocol == unix.IPPROTO_TCP {
		return p.flags&(tcpSYN|tcpACK|tcpRST|tcpFIN) == tcpSYN
	}
	return !p.echoReply
}
