package datapath_test

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/gopacket/layers"
)

func (g *generator) fresh() sends {
	g.six = g.IntN(4) < g.sixes
	from := pick(g, g.places...)
	sender := g.station(from)
	to := g.target(from)
	port := pick(g, g.sourcePorts...)
	f := sender.udp(port, to)
	switch g.IntN(10) {
	case 0, 1, 2, 3:
		f = sender.tcp(port, to, pick(g, tcpFlags...))
	case 4:
		f = sender.echo(pick(g, uint16(0), 1, 65535), to.Addr())
	case 5:
		f = sender.echo(pick(g, uint16(0), 1, 65535), to.Addr())
		f.icmp = pick(g, uint8(0), 5, 11, 13, 129, 133, 134, 136, 3)
	case 6:
		f.protocol = pick(g, layers.IPProtocolGRE, layers.IPProtocolSCTP, layers.IPProtocolNoNextHeader)
	}
	return sends{from: from, frame: f}
}

// burst is one flow after the other to the same port of the same host.
func (g *generator) burst() step {
	s := g.fresh()
	for _, place := range []string{"a", "c"} {
		for port := uint16(40000); port < 40003; port++ {
			next := s
			next.from = place
			next.frame.srcMAC, next.frame.dstMAC, next.frame.src = g.w.places[place].mac, gatewayMAC, g.twin(g.w.places[place].addr)
			next.frame.sport, next.frame.flags = port, syn
			g.queued = append(g.queued, next)
		}
	}
	return s
}

// answer is what whoever got a frame sends back.
func (g *generator) answer(h heard) sends {
	f, ok := decode(h.raw)
	if !ok {
		return g.fresh()
	}
	g.six = f.src.Is6()
	return sends{from: h.at, frame: f.answer(g.station(h.at), pick(g, uint8(ack), ack, syn|ack, fin|ack, rst))}
}

// complain is an ICMP error about a frame from where it has arrived, or from
// a router on its way.
func (g *generator) complain(h heard) sends {
	about, ok := decode(h.raw)
	if !ok {
		return g.fresh()
	}
	g.six = about.src.Is6()
	at := h.at
	if g.oneIn(6) {
		at = pick(g, g.places...)
	}
	from := g.station(at)
	if from.addr = about.dst; g.oneIn(3) {
		from.addr = g.station(at).addr
	}
	kind, quoted := pick(g, byte(3), 3, 11, 12, 5), pick(g, 27, 28, 40, 1500)
	if g.six {
		kind, quoted = pick(g, byte(1), 1, 2, 3, 4, 127, 137), pick(g, 47, 48, 60, 1200)
	}
	rest := append([]byte{0, 0, 5, 0}, h.raw[14:min(len(h.raw), 14+quoted)]...)
	return sends{from: at, frame: from.message(about.src, kind, pick(g, byte(0), 1, 3, 4), rest)}
}

// decode reads the fields of a frame that an answer needs.
func decode(raw []byte) (f frame, ok bool) {
	at := 0
	switch {
	case isIPv4(raw):
		at = transportAt(raw)
		f = frame{src: netip.AddrFrom4([4]byte(raw[26:])), dst: netip.AddrFrom4([4]byte(raw[30:])), protocol: layers.IPProtocol(raw[23])}
	case len(raw) >= 54 && raw[12] == 0x86 && raw[13] == 0xdd:
		at = 54
		f = frame{src: netip.AddrFrom16([16]byte(raw[22:])), dst: netip.AddrFrom16([16]byte(raw[38:])), protocol: layers.IPProtocol(raw[20])}
	}
	if at == 0 || len(raw) < at+8 {
		return frame{}, false
	}
	f.payload = []byte("as it was answered")
	f.sport, f.dport = binary.BigEndian.Uint16(raw[at:]), binary.BigEndian.Uint16(raw[at+2:])
	switch f.protocol {
	case layers.IPProtocolTCP, layers.IPProtocolUDP:
		return f, true
	case layers.IPProtocolICMPv4, layers.IPProtocolICMPv6:
		f.icmp = raw[at]
		return f.echoID(binary.BigEndian.Uint16(raw[at+4:])), true
	}
	return frame{}, false
}
