package model

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// family is what IPv4 and IPv6 differ in.
type family struct {
	// parse reads the headers before the transport header; an error may have
	// cut what follows them.
	parse                 func(p *packet, cut bool) bool
	header                int // the length of the header, without options
	hopLimit, addresses   int // offsets in the header
	icmp, echo, echoReply uint8
	isError               func(kind uint8) bool

	// errors of our own: type and code, how much is quoted; and the IP header
	// in front of length bytes of what we say
	timeExceeded, tooBig [2]byte
	quoteMost            int
	answer               func(protocol uint8, length int) []byte
}

var ipv4 = family{
	parse:  (*packet).parseIPv4,
	header: 20, hopLimit: 8, addresses: 12,
	icmp: unix.IPPROTO_ICMP, echo: 8, echoReply: 0,
	isError:      func(kind uint8) bool { return kind == 3 || kind == 11 || kind == 12 },
	timeExceeded: [2]byte{11, 0}, tooBig: [2]byte{3, 4}, quoteMost: 80,
	answer: func(protocol uint8, length int) []byte {
		header := []byte{0x45, 0xc0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0}
		binary.BigEndian.PutUint16(header[2:], uint16(20+length))
		return header
	},
}

var ipv6 = family{
	parse:  (*packet).parseIPv6,
	header: 40, hopLimit: 7, addresses: 8,
	icmp: unix.IPPROTO_ICMPV6, echo: 128, echoReply: 129,
	isError:      func(kind uint8) bool { return kind < 128 },
	timeExceeded: [2]byte{3, 0}, tooBig: [2]byte{2, 0}, quoteMost: 100,
	answer: func(protocol uint8, length int) []byte {
		header := []byte{0x6c, 0, 0, 0, 0, 0, protocol, 64}
		binary.BigEndian.PutUint16(header[4:], uint16(length))
		return header
	},
}

func (p *packet) parseIPv4(cut bool) bool {
	ip := p.raw[p.network:p.end]
	if len(ip) < 20 || ip[0]>>4 != 4 {
		return false
	}
	header, length := int(ip[0]&15)*4, p.saidLength(ip[2:], 0)
	if cut {
		length = len(ip)
	}
	if header < 20 || length < header || length > len(ip) {
		return false
	}
	p.transport, p.end = p.network+header, p.network+length
	p.id = uint32(be16(ip[4:]))
	p.fragment, p.later = be16(ip[6:])&0x3fff != 0, be16(ip[6:])&0x1fff != 0
	p.ttl, p.protocol = ip[8], ip[9]
	p.src, p.dst = netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:]))
	return true
}

func (p *packet) parseIPv6(cut bool) bool {
	ip := p.raw[p.network:p.end]
	if len(ip) < 40 || ip[0]>>4 != 6 {
		return false
	}
	length := p.saidLength(ip[4:], 40)
	if cut {
		length = len(ip)
	}
	if length > len(ip) {
		return false
	}
	p.transport, p.end = p.network+40, p.network+length
	p.protocol, p.ttl = ip[6], ip[7]
	p.src, p.dst = netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:]))
	if cut {
		p.hidden = p.protocol == unix.IPPROTO_FRAGMENT && !p.skipExtension()
	} else {
		p.skipExtensions()
	}
	return true
}

// skipExtensions walks to the transport header, RFC 8200. There are seven
// extension headers at most, and they end within 256 bytes.
func (p *packet) skipExtensions() {
	for range 7 {
		if p.later || !isExtension(p.protocol) {
			return
		}
		if p.hidden = !p.skipExtension(); p.hidden {
			return
		}
	}
	p.hidden = !p.later && isExtension(p.protocol)
}

func isExtension(protocol uint8) bool {
	switch protocol {
	case unix.IPPROTO_HOPOPTS, unix.IPPROTO_ROUTING, unix.IPPROTO_FRAGMENT, unix.IPPROTO_DSTOPTS:
		return true
	}
	return false
}

// skipExtension steps over one header, false where that makes no sense: behind
// a routing header that leads on is another destination.
func (p *packet) skipExtension() bool {
	e := p.raw[p.transport:p.end]
	if len(e) < 8 {
		return false
	}
	length := (int(e[1]) + 1) * 8
	switch p.protocol {
	case unix.IPPROTO_FRAGMENT:
		length = 8
		if p.fragment {
			return false
		}
	case unix.IPPROTO_ROUTING:
		if e[3] != 0 {
			return false
		}
	}
	if length > len(e) || p.transport+length > 256 {
		return false
	}
	if p.protocol == unix.IPPROTO_FRAGMENT {
		p.fragment, p.later, p.id = be16(e[2:])&0xfff9 != 0, be16(e[2:])&0xfff8 != 0, binary.BigEndian.Uint32(e[4:])
	}
	p.protocol, p.transport = e[0], p.transport+length
	return true
}

// sourceRouted says whether a routing header of IPv6 leads on, or an option of
// IPv4 chooses the packet's way; options that contradict themselves end before it.
func (p *packet) sourceRouted() bool {
	if p.ethertype != etherIPv4 {
		return p.hidden && p.protocol == unix.IPPROTO_ROUTING
	}
	const end, nop, loose, strict = 0, 1, 131, 137
	options := p.raw[p.network+ipv4.header : p.transport]
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
