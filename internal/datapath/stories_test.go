package datapath_test

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath/model"
)

// story begins one of a few that chance alone would hardly tell, and queues
// what goes on.
func (g *generator) story() step {
	g.six = g.IntN(4) < g.sixes
	steps := pick(g, g.lostSource, g.connectedSocket, g.takenPort, g.boundToLoopback, g.largeSegments, g.lateFragment)()
	g.queued = append(g.queued, steps[1:]...)
	return steps[0]
}

func (g *generator) at(addr netip.Addr, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(g.twin(addr), port)
}

func (g *generator) from(place string) station {
	s := g.w.places[place].station
	if place == "outside" {
		s = client
	}
	s.addr = g.twin(s.addr)
	return s
}

// published is a request from outside to an address of the host, and the answer.
func (g *generator) published(host netip.Addr) (request, answer sends) {
	request = sends{from: "outside", frame: g.from("outside").udp(40000, g.at(host, published))}
	answer = sends{from: "a", frame: g.from("a").udp(target, g.at(client.addr, 40000))}
	return request, answer
}

// lostSource is a flow to an address that the host loses, and perhaps gets back.
func (g *generator) lostSource() []step {
	request, answer := g.published(ipv4.thirdHost)
	return []step{hasThird{true}, request, answer, hasThird{g.oneIn(3)}, answer, request, answer, hasThird{true}, answer}
}

// connectedSocket is a socket of the host that owns what a published port would take.
func (g *generator) connectedSocket() []step {
	request, answer := g.published(hostAddr)
	owner := model.Socket{Protocol: unix.IPPROTO_UDP, Local: g.at(hostAddr, published), Remote: g.at(client.addr, 40000)}
	return []step{opens{owner}, request, answer, closes{owner}, request, answer}
}

// takenPort is a port of masquerade that a socket and a published port take.
func (g *generator) takenPort() []step {
	port := pick(g, uint16(65532), 65533, 65534, 65535)
	to := g.at(remoteAddr, 443)
	listener := model.Socket{Protocol: unix.IPPROTO_TCP, Local: g.at(hostAddr, port)}
	rule := publishedRule(unix.IPPROTO_TCP, g.twin(netip.IPv4Unspecified()))
	rule.First, rule.Last = 65532, 65532
	all := []step{opens{listener}, setsRule{14, rule}}
	for n := range uint16(5) {
		all = append(all, sends{from: "a", frame: g.from("a").tcp(41000+n, to, syn)})
	}
	return append(all, closes{listener})
}

// boundToLoopback is a socket of the host that speaks from a loopback address to
// an endpoint, which comes and goes.
func (g *generator) boundToLoopback() []step {
	s := loopback
	s.addr = g.twin(s.addr)
	request := sends{from: "host", frame: s.udp(40000, g.at(g.w.a.addr, target))}
	return []step{request, request, setsEndpoint{1, "a", false, true}, request, setsEndpoint{1, "a", true, true}, request, clearsEndpoint{1}, request}
}

// largeSegments are packets that the device cuts.
func (g *generator) largeSegments() []step {
	to := g.at(pick(g, remoteAddr, narrow.Addr().Next()), 443)
	f := pick(g, g.from("a").tcp(40000, to, syn), g.from("a").udp(40000, to))
	f.payload = make([]byte, 2500)
	all := []step{}
	for _, segment := range []int{narrowMTU - 60, narrowMTU - 40, narrowMTU - 28, 1440, 1441, 1460, 1461, 1472, 1473} {
		all = append(all, sends{from: "a", frame: f, gso: segment})
	}
	return all
}

// lateFragment is one whose flow has ended in between.
func (g *generator) lateFragment() []step {
	request, _ := g.published(hostAddr)
	first, middle, last := request, request, request
	first.frame, middle.frame, last.frame = request.frame.fragments()
	rule := uint32(publishUDP)
	if g.six {
		rule = publishUDP6
	}
	again := setsRule{rule, publishedRule(unix.IPPROTO_UDP, g.twin(netip.IPv4Unspecified()))}
	return []step{again, first, middle, clearsRule{rule}, last, again, last, first, last}
}
