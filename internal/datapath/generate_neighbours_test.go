package datapath_test

import (
	"net/netip"
	"slices"
)

// neighbour is a message of ARP or of neighbour discovery of a container.
func (g *generator) neighbour() sends {
	place := pick(g, "a", "b", "d")
	e := g.w.places[place]
	if g.six {
		return sends{from: place, frame: g.discovery(e)}
	}
	sender := pick(g, e.addr, e.addr, e.addr, netip.IPv4Unspecified(), g.w.c.addr)
	message := slices.Concat([]byte{0, 1, 8, 0, 6, 4, 0, pick(g, byte(1), 1, 2)}, e.mac, sender.AsSlice(), make([]byte, 6), g.destination().AsSlice())
	return sends{from: place, frame: frame{srcMAC: e.mac, dstMAC: mustMAC("ff:ff:ff:ff:ff:ff"), arp: message}}
}

func (g *generator) discovery(e endpoint) frame {
	from := station{e.mac, e.hop, six(e.addr)}
	to := pick(g, addr("ff02::1:ff00:2"), addr("ff02::1"), six(vipAddr), six(gatewayOne))
	rest := append(make([]byte, 4), pick(g, six(vipAddr), six(vipAddr), six(e.addr), six(g.w.b.addr)).AsSlice()...)
	switch g.IntN(6) {
	case 0:
	case 1:
		rest = append(rest, 14, 1, 1, 2, 3, 4, 5, 6) // a nonce, RFC 7527
	case 2:
		rest = slices.Concat(rest, []byte{1, 1}, g.w.b.mac)
	default:
		rest = slices.Concat(rest, []byte{pick(g, byte(1), 1, 2), 1}, e.mac)
	}
	f := frame{srcMAC: e.mac, src: from.addr}
	switch g.IntN(4) {
	case 0:
		from.addr = netip.IPv6Unspecified()
	case 1:
		g.six = true
		g.linkLocal(&f)
		from.addr = f.src
	}
	f = from.message(to, pick(g, byte(135), 135, 135, 136, 133, 134, 137), 0, rest)
	f.ttl = 255
	return f
}
