package datapath_test

import (
	"bytes"
	"net/netip"

	"github.com/google/gopacket/layers"
)

// vary changes a frame in one way, in most cases in none.
func (g *generator) vary(s sends) sends {
	f := &s.frame
	g.six = f.src.Is6()
	headers := 14 + 20 + 28
	if g.six {
		headers = 14 + 40 + 48
	}
	switch g.IntN(50) {
	case 0, 1:
		f.ttl = pick(g, uint8(0), 1, 1, 2)
	case 2, 3:
		g.options(f)
	case 4:
		f.noChecksum = f.protocol == layers.IPProtocolUDP && f.raw == nil && f.offset == 0
	case 5:
		f.padding = make([]byte, 1+g.IntN(20))
	case 6, 7, 8:
		s.damage = []edit{{g.IntN(headers), byte(1 << g.IntN(8))}}
	case 9:
		s.damage = []edit{{g.IntN(headers), byte(g.IntN(256))}, {g.IntN(headers), byte(g.IntN(256))}}
	case 10:
		s.cut = 15 + g.IntN(headers)
	case 11:
		f.src = g.destination()
	case 12:
		f.src = g.twin(pick(g, g.w.b.addr, hostAddr, loopback.addr))
	case 13:
		f.srcMAC = pick(g, routerMAC, gatewayMAC, g.w.b.mac)
	case 14:
		f.dstMAC = pick(g, routerMAC, hostMAC, mustMAC("ff:ff:ff:ff:ff:ff"))
	case 15, 16:
		f.payload = bytes.Repeat([]byte{0x5a}, pick(g, 0, 1, narrowMTU-28, narrowMTU-27, narrowMTU-48, narrowMTU-47, 1472, 1473, 3000))
	case 17:
		f.payload = make([]byte, 3000)
		s.gso = pick(g, narrowMTU-40, narrowMTU-28, 1448, 1460, 1461, 1472, 1473)
	case 18, 19, 20, 21:
		return g.fragments(s)
	case 22, 23:
		f.flags = pick(g, tcpFlags...)
	case 24:
		f.sport = pick(g, g.sourcePorts...)
	case 25:
		s.from = pick(g, g.places...)
	case 26, 27:
		return g.neighbour()
	case 28:
		s.forwarded = true
	case 29:
		g.linkLocal(f)
	}
	return s
}

// options gives a frame options of IPv4, or extension headers of IPv6.
func (g *generator) options(f *frame) {
	if !g.six {
		f.options = append([]byte{pick(g, byte(148), 148, 131, 137, 1, 0), 4, 0, 0}, make([]byte, 4*g.IntN(10))...)
		f.options[1] = uint8(len(f.options))
		return
	}
	for range 1 + g.IntN(4) {
		kind := pick(g, layers.IPProtocolIPv6HopByHop, layers.IPProtocolIPv6Routing, layers.IPProtocolIPv6Destination, layers.IPProtocolIPv6Fragment)
		body := make([]byte, 6+8*pick(g, 0, 0, 1, 5))
		body[1] = pick(g, byte(0), 0, 1)
		f.extensions = append(f.extensions, extension{kind, body})
	}
}

// linkLocal lets a frame of IPv6 come from or go to an address of the link.
func (g *generator) linkLocal(f *frame) {
	if !g.six {
		return
	}
	if m := f.srcMAC; g.oneIn(2) {
		f.src = netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
		return
	}
	f.dst = addr("fe80::1")
}

// fragments cuts a frame and queues all parts but one, in any order.
func (g *generator) fragments(s sends) sends {
	first, middle, last := s.frame.fragments()
	parts := []step{}
	for _, f := range []frame{first, middle, last} {
		s.frame = f
		parts = append(parts, s)
	}
	if g.oneIn(2) {
		g.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	}
	if g.oneIn(4) {
		parts = append(parts, parts[1:]...)
	}
	g.queued = append(g.queued, parts[1:]...)
	return parts[0].(sends)
}
