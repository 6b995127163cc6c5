package datapath_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	stdmaps "maps"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/datapath/model"
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
	case n < 20:
		return begins{pick(g, 1, g.w.m.Patience-1, g.w.m.Patience)}
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
