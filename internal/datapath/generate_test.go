package datapath_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	stdmaps "maps"

	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/datapath/model"
	"github.com/sluice-net/sluice/maps"
)

// generator makes steps that mean something: it answers what has arrived, goes
// on with what was sent, and changes one thing here and there. Each has a few
// places, addresses and ports of its own, so that packets meet.
type generator struct {
	*rand.Rand
	w      *world
	queued []step
	heard  []heard
	sent   []sends

	places       []string
	destinations []netip.Addr // of IPv4, as all addresses until they are used
	sourcePorts  []uint16
	targetPorts  []uint16
	sixes        int  // how many of four packets are IPv6
	six          bool // the next one is
}

const remembered = 12

var (
	allSourcePorts = []uint16{40000, 40001, 40002, 40003, 80, published, 53, datapath.ResolverPort}
	allTargetPorts = []uint16{80, 443, 53, published, 9000, 9001, 9002, 40000, datapath.ResolverPort, 65534}
	allPlaces      = []string{"a", "b", "c", "d", "i", "outside", "host", "loopback", "side"}
	tcpFlags       = []uint8{syn, syn, syn, syn | ack, ack, ack, psh | ack, fin | ack, rst, rst | ack, syn | fin, 0, 0xff}
	seconds        = []uint32{1, 9, 11, 29, 31, 59, 61, 119, 121, 239, 241, 299, 301, 7439, 7441}
)

func newGenerator(w *world, seed uint64) *generator {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0)), w: w}
	g.places = append(some(g, 3, allPlaces), "outside", pick(g, "a", "b", "c", "d"))
	g.destinations = append(some(g, 4, g.allDestinations()), pick(g, remoteAddr, clientAddr), pick(g, hostAddr, vipAddr))
	g.sixes = pick(g, 0, 2, 4, 4)
	g.sourcePorts, g.targetPorts = some(g, 3, allSourcePorts), append(some(g, 2, allTargetPorts), published)
	return g
}

func pick[T any](g *generator, from ...T) T { return from[g.IntN(len(from))] }

// some picks n of a list.
func some[T any](g *generator, n int, from []T) (picked []T) {
	for range n {
		picked = append(picked, pick(g, from...))
	}
	return picked
}

// oneIn is true once in n times.
func (g *generator) oneIn(n int) bool { return g.IntN(n) == 0 }

// allDestinations are the addresses that a packet may be for.
func (g *generator) allDestinations() []netip.Addr {
	all := []netip.Addr{
		hostAddr, hostAddr, secondHostAddr, ipv4.thirdHost, gatewayOne, gatewayTwo, gatewayThree, vipAddr, vipAddr,
		clientAddr, remoteAddr, remoteAddr, refused.Addr(), sideways.Addr().Next(), narrow.Addr().Next(), chosenSource.Addr(),
		addr("172.17.9.9"), addr("127.0.0.1"), addr("127.0.0.11"), addr("172.17.255.255"), addr("192.0.2.255"), addr("224.0.0.1"), addr("0.0.0.1"),
	}
	for _, place := range []string{"a", "a", "b", "c", "d", "i"} {
		all = append(all, g.w.places[place].addr)
	}
	return all
}

// twin is an address of the family that the next packet has.
func (g *generator) twin(addr netip.Addr) netip.Addr {
	if g.six {
		return six(addr)
	}
	return addr
}

func (g *generator) destination() netip.Addr { return g.twin(pick(g, g.destinations...)) }

// target is where a packet from a place goes: in most cases to somebody who
// takes it.
func (g *generator) target(place string) netip.AddrPort {
	to := g.destination()
	if g.oneIn(2) {
		to = g.twin(map[string]netip.Addr{"outside": pick(g, hostAddr, hostAddr, ipv4.thirdHost), "host": vipAddr, "loopback": addr("127.0.0.11")}[place])
	}
	if !to.IsValid() {
		to = g.twin(pick(g, remoteAddr, remoteAddr, hostAddr, vipAddr))
	}
	return netip.AddrPortFrom(to, pick(g, g.targetPorts...))
}

// station is who sends from a place.
func (g *generator) station(place string) station {
	s := g.w.places[place].station
	switch place {
	case "outside":
		s = station{routerMAC, hostMAC, pick(g, clientAddr, clientAddr, remoteAddr, narrow.Addr().Next())}
	case "host":
		s = station{gatewayMAC, g.w.a.mac, pick(g, gatewayOne, gatewayOne, loopback.addr, hostAddr)}
	case "loopback":
		s = station{make([]byte, 6), make([]byte, 6), pick(g, loopback.addr, addr("127.0.0.11"))}
	case "side":
		s = g.w.a.station
	}
	s.addr = g.twin(s.addr)
	return s
}

// next is the next step. Half of all frames have their sum beside them: their
// checksums go by other ways, and so do they.
func (g *generator) next() step {
	s := g.choose()
	if sent, ok := s.(sends); ok {
		sent.summed = g.oneIn(2)
		return sent
	}
	return s
}

func (g *generator) choose() step {
	if len(g.queued) > 0 {
		s := g.queued[0]
		g.queued = g.queued[1:]
		return s
	}
	switch n := g.IntN(100); {
	case n < 2:
		return g.burst()
	case n < 4:
		return g.story()
	case n < 12:
		return g.control()
	case n < 18 && len(g.w.m.Halves()) > 0:
		return evicts{g.half()}
	case n < 22:
		return ages{pick(g, seconds...)}
	case n < 50 && len(g.heard) > 0:
		return g.vary(g.answer(pick(g, g.heard...)))
	case n < 60 && len(g.heard) > 0:
		return g.vary(g.complain(pick(g, g.heard...)))
	case n < 72 && len(g.sent) > 0:
		return g.vary(pick(g, g.sent...))
	}
	return g.vary(g.fresh())
}

// note remembers what a step has led to.
func (g *generator) note(s step) {
	if s, ok := s.(sends); ok && len(s.damage) == 0 && s.frame.raw == nil {
		g.sent = append(g.sent, s)
		g.sent = g.sent[max(0, len(g.sent)-remembered):]
	}
	if g.w.last.at != "" {
		g.heard = append(g.heard, g.w.last)
		g.heard = g.heard[max(0, len(g.heard)-remembered):]
	}
}

func (g *generator) half() model.Key {
	keys := slices.SortedFunc(stdmaps.Keys(g.w.m.Halves()), func(a, b model.Key) int {
		return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b))
	})
	return pick(g, keys...)
}

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

// control is a change that the control plane makes.
func (g *generator) control() step {
	index := uint32(1 + g.IntN(worldIndices-1))
	switch g.IntN(17) {
	case 13:
		return clearsAlias{}
	case 0, 1:
		return clearsEndpoint{uint32(1 + g.IntN(8))}
	case 2, 3, 4:
		return g.endpoint()
	case 5:
		return clearsRule{index}
	case 6, 7:
		return g.rule()
	case 8, 9:
		return setsAlias([][]uint32{{}, {1}, {2}, {1, 2}, {2, 1, 4}, {6}}[g.IntN(6)])
	case 10:
		return pick[step](g, hostAddresses{hostAddr}, hostAddresses{hostAddr, secondHostAddr, ipv4.thirdHost}, hasThird{true}, hasThird{false})
	case 11:
		return pick(g, uplinks{true}, uplinks{true}, uplinks{g.oneIn(2)})
	case 12:
		return silences{uint32(g.IntN(5)), g.oneIn(2)}
	}
	if len(g.w.m.Sockets) > 0 && g.oneIn(2) {
		return closes{pick(g, g.w.m.Sockets...)}
	}
	return opens{g.socket()}
}

// endpoint is one that comes back, or changes its flags, or has another index.
func (g *generator) endpoint() step {
	index := uint32(1 + g.IntN(len(home)))
	if g.oneIn(6) {
		return setsEndpoint{uint32(6 + g.IntN(2)), pick(g, home[:4]...), true, true}
	}
	return setsEndpoint{index, home[index-1], !g.oneIn(4), g.oneIn(2)}
}

// home are the places of the endpoints from 1 on.
var home = []string{"a", "b", "c", "d", "i"}

func (g *generator) rule() step {
	index := uint32(1 + g.IntN(worldIndices-1))
	switch index {
	case aliasRule:
		return setsRule{index, maps.Rule{Kind: maps.RuleAlias, Network: networkOne}}
	case masqueradeOne, masqueradeTwo:
		return setsRule{index, maps.Rule{Kind: maps.RuleMasquerade, Network: uint16(index)}}
	}
	first := pick(g, g.targetPorts...)
	g.six = g.IntN(4) < g.sixes
	return setsRule{index, maps.Rule{
		Kind: maps.RulePublish, Protocol: pick(g, uint8(unix.IPPROTO_TCP), unix.IPPROTO_UDP),
		HostAddr: g.twin(pick(g, netip.IPv4Unspecified(), netip.IPv4Unspecified(), hostAddr, secondHostAddr, loopback.addr)),
		First:    first, Last: first + uint16(g.IntN(2)), Target: pick(g, uint16(80), 53, 65535), Endpoint: uint32(1 + g.IntN(3)),
	}}
}

// socket is one that a flow of ours could meet.
func (g *generator) socket() model.Socket {
	g.six = g.IntN(4) < g.sixes
	local := netip.AddrPortFrom(g.twin(pick(g, hostAddr, secondHostAddr, gatewayOne, netip.IPv4Unspecified())), pick(g, uint16(published), 53, 65533, 65534, 65535, 61000))
	s := model.Socket{Protocol: pick(g, uint8(unix.IPPROTO_TCP), unix.IPPROTO_UDP), Local: local}
	if s.Protocol == unix.IPPROTO_UDP && g.oneIn(2) {
		s.Remote = netip.AddrPortFrom(g.twin(pick(g, clientAddr, remoteAddr)), pick(g, append(g.sourcePorts, g.targetPorts...)...))
	}
	return s
}
