package model

import (
	"golang.org/x/sys/unix"
)

// Sums computes every checksum of a frame from scratch: the offset of the
// field, and the sum of RFC 1071 over all that it covers, 0xffff when it is
// right. Of a fragment, and of a quoted packet that was cut, it is the sum of
// what is there; a translation leaves that as it was, too. A UDP checksum that
// is not used has no sum. gso is as in Frame.
func Sums(raw []byte, gso int) map[int]uint16 {
	sums := map[int]uint16{}
	p := &packet{raw: raw, gso: gso}
	if len(raw) < ethernetLength {
		return sums
	}
	if p.ethertype = be16(raw[12:]); !p.isIP() || !p.parse() {
		return sums
	}
	p.sums(sums)
	if p.isError && !p.later {
		if q := p.quoted(); q != nil {
			q.sums(sums)
		}
	}
	return sums
}

func (p *packet) sums(sums map[int]uint16) {
	if p.ethertype == etherIPv4 {
		sums[p.network+10] = sum(p.raw[p.network:p.transport])
	}
	if p.later || p.hidden {
		return
	}
	segment := p.raw[p.transport:p.end]
	pseudo := append(append(p.src.AsSlice(), p.dst.AsSlice()...), 0, p.protocol, byte(len(segment)>>8), byte(len(segment)))
	switch {
	case p.protocol == unix.IPPROTO_TCP && len(segment) >= tcpHeader:
		sums[p.transport+16] = sum(pseudo, segment)
	case p.protocol == unix.IPPROTO_UDP && len(segment) >= udpHeader && be16(segment[6:]) != 0:
		sums[p.transport+6] = sum(pseudo, segment)
	case p.protocol == p.ip().icmp && p.protocol == unix.IPPROTO_ICMPV6:
		sums[p.transport+2] = sum(pseudo, segment)
	case p.protocol == p.ip().icmp:
		sums[p.transport+2] = sum(segment)
	}
}

// sum is the one's complement sum of parts of even length, but for the last.
func sum(parts ...[]byte) uint16 {
	var sum uint32
	for _, part := range parts {
		for len(part) > 1 {
			sum, part = sum+uint32(be16(part)), part[2:]
		}
		if len(part) > 0 {
			sum += uint32(part[0]) << 8
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	if sum == 0 {
		return 0xffff // the other zero
	}
	return uint16(sum)
}
