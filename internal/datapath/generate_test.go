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
	destinations []netip.Addr
	sourcePorts  []uint16
	targetPorts  []uint16
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
		hostAddr, hostAddr, secondHostAddr, gatewayOne, gatewayTwo, gatewayThree, vipAddr, vipAddr,
		clientAddr, remoteAddr, remoteAddr, refused.Addr(), sideways.Addr().Next(), narrow.Addr().Next(), chosenSource.Addr(),
		addr("172.17.9.9"), addr("127.0.0.1"), addr("127.0.0.11"), addr("172.17.255.255"), addr("192.0.2.255"), addr("224.0.0.1"), addr("0.0.0.1"),
	}
	for _, place := range []string{"a", "a", "b", "c", "d", "i"} {
		all = append(all, g.w.places[place].addr)
	}
	return all
}

func (g *generator) destination() netip.Addr { return pick(g, g.destinations...) }

// target is where a packet from a place goes: in most cases to somebody who
// takes it.
func (g *generator) target(place string) netip.AddrPort {
	to := g.destination()
	if g.oneIn(2) {
		to = map[string]netip.Addr{"outside": hostAddr, "host": vipAddr, "loopback": addr("127.0.0.11")}[place]
	}
	if !to.IsValid() {
		to = pick(g, remoteAddr, remoteAddr, hostAddr, vipAddr)
	}
	return netip.AddrPortFrom(to, pick(g, g.targetPorts...))
}

// station is who sends from a place.
func (g *generator) station(place string) station {
	switch place {
	case "outside":
		return station{routerMAC, hostMAC, pick(g, clientAddr, clientAddr, remoteAddr, narrow.Addr().Next())}
	case "host":
		return station{gatewayMAC, g.w.a.mac, pick(g, gatewayOne, gatewayOne, loopback.addr, hostAddr)}
	case "loopback":
		return station{make([]byte, 6), make([]byte, 6), pick(g, loopback.addr, netip.MustParseAddr("127.0.0.11"))}
	case "side":
		return g.w.a.station
	}
	return g.w.places[place].station
}

// next is the next step.
func (g *generator) next() step {
	if len(g.queued) > 0 {
		s := g.queued[0]
		g.queued = g.queued[1:]
		return s
	}
	switch n := g.IntN(100); {
	case n < 2:
		return g.burst()
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
		f.icmp = pick(g, uint8(layers.ICMPv4TypeEchoReply), layers.ICMPv4TypeTimestampRequest, layers.ICMPv4TypeRedirect, layers.ICMPv4TypeTimeExceeded)
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
			next.frame.srcMAC, next.frame.dstMAC, next.frame.src = g.w.places[place].mac, gatewayMAC, g.w.places[place].addr
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
	return sends{from: h.at, frame: f.answer(g.station(h.at), pick(g, uint8(ack), ack, syn|ack, fin|ack, rst))}
}

// complain is an ICMP error about a frame from where it has arrived, or from
// a router on its way.
func (g *generator) complain(h heard) sends {
	about, ok := decode(h.raw)
	if !ok {
		return g.fresh()
	}
	at := h.at
	if g.oneIn(6) {
		at = pick(g, g.places...)
	}
	from := g.station(at)
	if from.addr = about.dst; g.oneIn(3) {
		from.addr = g.station(at).addr
	}
	quoted := h.raw[14:]
	quoted = quoted[:min(len(quoted), pick(g, 27, 28, 40, 1500))]
	message := append([]byte{pick(g, byte(3), 3, 11, 12, 5), pick(g, byte(0), 1, 3, 4), 0, 0, 0, 0, 5, 0}, quoted...)
	binary.BigEndian.PutUint16(message[2:], ^sum16(message))
	f := from.frame(layers.IPProtocolICMPv4, 0, netip.AddrPortFrom(about.src, 0))
	f.raw = message
	return sends{from: at, frame: f}
}

// decode reads the fields of a frame that an answer needs.
func decode(raw []byte) (frame, bool) {
	if !isIPv4(raw) {
		return frame{}, false
	}
	at := transportAt(raw)
	f := frame{
		src: netip.AddrFrom4([4]byte(raw[26:])), dst: netip.AddrFrom4([4]byte(raw[30:])),
		protocol: layers.IPProtocol(raw[23]), payload: []byte("as it was answered"),
	}
	if len(raw) < at+8 {
		return frame{}, false
	}
	f.sport, f.dport = binary.BigEndian.Uint16(raw[at:]), binary.BigEndian.Uint16(raw[at+2:])
	if f.protocol == layers.IPProtocolICMPv4 {
		f.icmp = raw[at]
		f = f.id(binary.BigEndian.Uint16(raw[at+4:]))
	}
	return f, f.protocol == layers.IPProtocolICMPv4 || f.protocol == layers.IPProtocolTCP || f.protocol == layers.IPProtocolUDP
}

// vary changes a frame in one way, in most cases in none.
func (g *generator) vary(s sends) sends {
	f := &s.frame
	switch g.IntN(48) {
	case 0, 1:
		f.ttl = pick(g, uint8(0), 1, 1, 2)
	case 2:
		f.options = append([]byte{pick(g, byte(148), 148, 131, 137, 1, 0), 4, 0, 0}, make([]byte, 4*g.IntN(10))...)
		f.options[1] = uint8(len(f.options))
	case 3:
		f.noChecksum = f.protocol == layers.IPProtocolUDP && f.raw == nil && f.offset == 0
	case 4:
		f.padding = make([]byte, 1+g.IntN(20))
	case 5, 6, 7:
		s.damage = []edit{{g.IntN(14 + 20 + 28), byte(1 << g.IntN(8))}}
	case 8:
		s.damage = []edit{{g.IntN(64), byte(g.IntN(256))}, {g.IntN(64), byte(g.IntN(256))}}
	case 9:
		s.cut = 15 + g.IntN(60)
	case 10:
		f.src = g.destination()
	case 11:
		f.srcMAC = pick(g, routerMAC, gatewayMAC, g.w.b.mac)
	case 12:
		f.dstMAC = pick(g, routerMAC, hostMAC, mustMAC("ff:ff:ff:ff:ff:ff"))
	case 13, 14:
		f.payload = bytes.Repeat([]byte{0x5a}, pick(g, 0, 1, narrowMTU-28, narrowMTU-27, 1472, 1473, 3000))
	case 15:
		f.payload = make([]byte, 3000)
		s.gso = pick(g, narrowMTU-40, narrowMTU-28, 1448, 1460, 1461, 1472, 1473)
	case 16, 17, 18, 19:
		return g.fragments(s)
	case 20, 21:
		f.flags = pick(g, tcpFlags...)
	case 22:
		f.sport = pick(g, g.sourcePorts...)
	case 26:
		f.src = pick(g, g.w.b.addr, hostAddr, addr("127.0.0.1"))
	case 23:
		s.from = pick(g, g.places...)
	case 24:
		return g.arp()
	case 25:
		s.forwarded = true
	}
	return s
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

// arp is a request or an answer of a container, as a frame of raw bytes.
func (g *generator) arp() sends {
	place := pick(g, "a", "b", "d")
	e := g.w.places[place]
	sender := pick(g, e.addr, e.addr, e.addr, netip.IPv4Unspecified(), g.w.c.addr)
	message := slices.Concat([]byte{0, 1, 8, 0, 6, 4, 0, pick(g, byte(1), 1, 2)}, e.mac, sender.AsSlice(), make([]byte, 6), g.destination().AsSlice())
	return sends{from: place, frame: frame{srcMAC: e.mac, dstMAC: mustMAC("ff:ff:ff:ff:ff:ff"), arp: message}}
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
		return pick[step](g, hostAddresses{hostAddr}, hostAddresses{hostAddr, secondHostAddr})
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
		return setsEndpoint{uint32(6 + g.IntN(2)), pick(g, home...), true, true}
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
	return setsRule{index, maps.Rule{
		Kind: maps.RulePublish, Protocol: pick(g, uint8(unix.IPPROTO_TCP), unix.IPPROTO_UDP),
		HostAddr: pick(g, netip.IPv4Unspecified(), netip.IPv4Unspecified(), hostAddr, secondHostAddr, loopback.addr),
		First:    first, Last: first + uint16(g.IntN(2)), Target: pick(g, uint16(80), 53, 65535), Endpoint: uint32(1 + g.IntN(3)),
	}}
}

// socket is one that a flow of ours could meet.
func (g *generator) socket() model.Socket {
	local := netip.AddrPortFrom(pick(g, hostAddr, secondHostAddr, gatewayOne, netip.IPv4Unspecified()), pick(g, uint16(published), 53, 65533, 65534, 65535, 61000))
	s := model.Socket{Protocol: pick(g, uint8(unix.IPPROTO_TCP), unix.IPPROTO_UDP), Local: local}
	if s.Protocol == unix.IPPROTO_UDP && g.oneIn(2) {
		s.Remote = netip.AddrPortFrom(pick(g, clientAddr, remoteAddr), pick(g, append(g.sourcePorts, g.targetPorts...)...))
	}
	return s
}
