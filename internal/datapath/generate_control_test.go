package datapath_test

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath/model"
	"github.com/sluice-net/sluice/maps"
)

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
