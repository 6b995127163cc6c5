package datapath_test

import (
	"errors"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath/model"
	"github.com/sluice-net/sluice/maps"
)

// step is one thing that happens to a world. A step that makes no sense any
// more, because another one was left out, does nothing.
type step interface{ do(w *world) error }

type (
	// sends is a frame that a container sends, by its place, or that comes
	// from "outside", from the "host" to a bridge, or over a sandbox's
	// "loopback" device.
	sends struct {
		from   string
		frame  frame
		damage []edit
		cut    int // bytes that the frame is left with, 0 for all
		gso    int
		summed bool // by the device that it comes from, where BPF_PROG_TEST_RUN can do that
		// forwarded says that the stack has it from the uplink
		forwarded bool
	}
	// edit changes one byte of a frame.
	edit struct {
		at  int
		xor byte
	}

	setsEndpoint struct {
		index             uint32
		place             string
		ready, translated bool
	}
	clearsEndpoint struct{ index uint32 }
	setsRule       struct {
		index uint32
		rule  maps.Rule
	}
	clearsRule    struct{ index uint32 }
	setsAlias     []uint32 // the members
	clearsAlias   struct{}
	hostAddresses []netip.Addr // beside the gateways, with their twins
	uplinks       struct{ up bool }
	// hasThird says whether the host has its third address, which the maps are
	// not told.
	hasThird struct{ has bool }

	// evicts takes one half out of the conntrack table, as a full one does.
	evicts struct{ half model.Key }
	// ages lets so many seconds pass without a packet.
	ages struct{ seconds uint32 }
	// begins lets so many flows of both families have begun, and nothing left of them.
	begins struct{ flows uint32 }
	// silences lets a sender have had its share of our ICMP errors, or not.
	silences struct {
		sender uint32
		silent bool
	}
	// opens is a socket of the host.
	opens  struct{ socket model.Socket }
	closes struct{ socket model.Socket }
)

func (s sends) raw() []byte {
	raw := s.frame.bytes()
	for _, e := range s.damage {
		if e.at < len(raw) {
			raw[e.at] ^= e.xor
		}
	}
	if s.cut > 0 {
		raw = raw[:min(s.cut, len(raw))]
	}
	return raw
}

func (s sends) do(w *world) error {
	raw := s.raw()
	w.last = heard{}
	if !testRunTakes(raw) {
		return nil
	}
	return w.send(s, raw)
}

func (s setsEndpoint) do(w *world) error {
	e := w.places[s.place]
	for index := range uint32(worldIndices) {
		if there, ok := w.m.Endpoint(index); ok && index != s.index && there.Ifindex == uint32(e.ifindex) {
			return nil
		}
	}
	addrs := []netip.Addr{e.addr, six(e.addr)}
	if e.network == networkThree {
		addrs = addrs[:1]
	}
	w.m.SetEndpoint(s.index, model.Endpoint{
		Network: e.network, Addrs: addrs, MAC: e.mac, Ifindex: uint32(e.ifindex), Ready: s.ready, Translated: s.translated,
	})
	written := maps.Endpoint{
		Network: e.network, Addr: e.addr, MAC: e.mac, Ifindex: uint32(e.ifindex), Ready: s.ready, Translated: s.translated,
	}
	if len(addrs) > 1 {
		written.Addr6 = addrs[1]
	}
	return w.maps.SetEndpoint(s.index, written)
}

func (s clearsEndpoint) do(w *world) error {
	w.m.ClearEndpoint(s.index)
	return w.maps.ClearEndpoint(s.index)
}

func (s setsRule) do(w *world) error {
	w.m.SetRule(s.index, s.rule)
	return w.maps.SetRule(s.index, s.rule)
}

func (s clearsRule) do(w *world) error {
	w.m.ClearRule(s.index)
	return w.maps.ClearRule(s.index)
}

func (s setsAlias) do(w *world) error {
	for _, addr := range []netip.Addr{vipAddr, six(vipAddr)} {
		w.m.Aliases[addr] = model.Alias{Index: aliasIndex, Rule: aliasRule, Members: s}
	}
	return w.maps.SetAlias(aliasIndex, maps.Alias{Network: networkOne, Addr: vipAddr, Addr6: six(vipAddr), Rule: aliasRule, Members: s})
}

func (clearsAlias) do(w *world) error {
	w.m.ClearAlias(aliasIndex, vipAddr, six(vipAddr))
	return w.maps.ClearAlias(aliasIndex, vipAddr, six(vipAddr))
}

func (s hostAddresses) do(w *world) error {
	addrs := []maps.HostAddr{
		{Addr: gatewayOne, Network: networkOne}, {Addr: gatewayTwo, Network: networkTwo}, {Addr: gatewayThree, Network: networkThree},
		{Addr: six(gatewayOne), Network: networkOne}, {Addr: six(gatewayTwo), Network: networkTwo},
	}
	for _, addr := range s {
		addrs = append(addrs, maps.HostAddr{Addr: addr}, maps.HostAddr{Addr: six(addr)})
	}
	w.m.HostAddrs = map[netip.Addr]uint16{}
	for _, a := range addrs {
		w.m.HostAddrs[a.Addr] = a.Network
	}
	return w.maps.SetHostAddrs(addrs)
}

func (s uplinks) do(w *world) error {
	up := map[uint32]maps.Uplink{}
	w.m.Uplinks = map[uint32][]netip.Addr{}
	if s.up {
		up[uint32(w.uplink)] = maps.Uplink{IPv4: hostAddr, IPv6: six(hostAddr), Ethernet: true}
		w.m.Uplinks[uint32(w.uplink)] = []netip.Addr{hostAddr, six(hostAddr)}
	}
	w.forgetNextHops()
	return w.maps.SetUplinks(up)
}

func (s hasThird) do(w *world) error {
	w.setThird(s.has)
	w.modelRoutes()
	return nil
}

func (s evicts) do(w *world) error {
	w.m.Evict(s.half)
	w.evict(s.half)
	return nil
}

func (s ages) do(w *world) error {
	w.m.Age(s.seconds)
	for _, table := range w.tables() {
		table.restore(w, -s.seconds)
	}
	return nil
}

func (s begins) do(w *world) error {
	w.m.Begin(s.flows)
	ends := w.waitingEnds()
	for i := range ends {
		ends[i].Begun += s.flows
	}
	w.setWaitingEnds(ends)
	return nil
}

func (s silences) do(w *world) error {
	w.m.Silent[s.sender] = s.silent
	until := uint64(0)
	if s.silent {
		until = uint64(uptime(w.t)+1000) * 1e9
	}
	w.write("answer_limits", s.sender, until)
	return nil
}

func (s opens) do(w *world) error {
	if w.sockets[s.socket] != nil {
		return nil
	}
	closer, err := openSocket(s.socket)
	if errors.Is(err, unix.EADDRINUSE) {
		return nil
	}
	if err != nil {
		return err
	}
	w.sockets[s.socket] = closer.Close
	w.m.Sockets = append(w.m.Sockets, s.socket)
	return nil
}

// openSocket makes a listening socket of TCP, or one of UDP, of one family.
func openSocket(s model.Socket) (interface{ Close() error }, error) {
	family := "4"
	if s.Local.Addr().Is6() {
		family = "6"
	}
	switch {
	case s.Protocol == unix.IPPROTO_TCP:
		return net.ListenTCP("tcp"+family, net.TCPAddrFromAddrPort(s.Local))
	case s.Remote.IsValid():
		return net.DialUDP("udp"+family, net.UDPAddrFromAddrPort(s.Local), net.UDPAddrFromAddrPort(s.Remote))
	}
	return net.ListenUDP("udp"+family, net.UDPAddrFromAddrPort(s.Local))
}

func (s closes) do(w *world) error {
	if w.sockets[s.socket] == nil {
		return nil
	}
	w.m.Sockets = slices.DeleteFunc(w.m.Sockets, func(open model.Socket) bool { return open == s.socket })
	err := w.sockets[s.socket]()
	delete(w.sockets, s.socket)
	return err
}
