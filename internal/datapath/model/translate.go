package model

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
)

// flowOf is the flow of a packet. A later fragment has the ports of the first.
func (m *Model) flowOf(p *packet) *Flow {
	if p.later {
		f, ok := m.fragments[p.fragmentKey()]
		if !ok || int32(m.Now-f.seen) > 30 {
			return nil
		}
		p.sport, p.dport, p.echoReply, p.hasPorts = f.first.Sport, f.first.Dport, f.first.EchoReply, true
		p.protocol = f.first.Protocol
	}
	return m.find(p)
}

func (p *packet) fragmentKey() fragmentKey {
	key := fragmentKey{src: p.src, dst: p.dst, id: p.id, zone: p.zone}
	if p.ethertype == etherIPv4 {
		key.protocol = p.protocol // RFC 791; not so in RFC 8200
	}
	return key
}

// carry translates a packet of a flow, or an error with the packet that it
// quotes, and sends it where the flow leads.
func (m *Model) carry(p *packet, f *Flow, quoted *packet) verdict {
	key := p.key()
	if quoted != nil {
		key = quoted.key().answer(p.zone)
	}
	target := f.target
	if key != f.Forward {
		target = f.backTarget
	}
	to := f.leaves(key)
	if p.fragment && !p.later && quoted == nil {
		m.fragments[p.fragmentKey()] = fragment{key, m.Now}
	}
	if f.hops > 0 && p.ttl <= f.hops {
		return drop(reasons.TtlExceeded)
	}
	receiver := f.endpoint.index
	switch target {
	case targetOutside:
		route, reason := m.route(p, to.Dst)
		if reason != 0 {
			return drop(reason)
		}
		source := ofFamily(m.Uplinks[route.Ifindex], to.Src)
		if to.Src != source && !m.routeTo(to.Src).Local {
			if quoted == nil && source.IsValid() {
				m.end(f, key) // the host has lost the address, and has another
			}
			return drop(reasons.NoSource)
		}
	case targetPeer:
		receiver = f.peer.index
		fallthrough
	case targetEndpoint:
		if !m.endpoints[receiver].Ready {
			return drop(reasons.NotReady)
		}
	}
	if quoted == nil {
		p.write(to, f.hops)
	} else {
		p.writeError(key, to, f.hops, quoted)
	}
	m.countTranslated(f, p)
	switch target {
	case targetOutside:
		return redirect
	case targetStack:
		if to.Dst.Is6() && isLoopback(to.Dst) {
			p.writeMACs(make([]byte, 6), make([]byte, 6)) // it comes in by lo
			return redirect
		}
		return pass
	}
	return m.deliver(p, receiver)
}

// writeError translates an error: what it quotes is turned back, and who sent
// it stays visible unless that is whose address is translated.
func (p *packet) writeError(key, to Key, hops uint8, quoted *packet) {
	src := p.src
	if src == key.Src {
		src = to.Src
	}
	p.writeAddresses(src, to.Dst, hops)
	quoted.write(to.answer(0), 0)
}

// carryError carries an ICMP error about a packet of a flow, false when it is
// about none.
func (m *Model) carryError(p *packet) (verdict, bool) {
	if !p.isError {
		return verdict{}, false
	}
	quoted := p.quoted()
	if quoted == nil {
		return verdict{}, false
	}
	key := quoted.key().answer(p.zone)
	f := m.peek(key)
	switch {
	case f == nil:
		return verdict{}, false
	case p.sender != 0 && key.Src != p.src:
		return drop(reasons.SpoofedAddress), true
	}
	return m.carry(p, f, quoted), true
}

// deliver puts a packet into an endpoint's namespace.
func (m *Model) deliver(p *packet, index uint32) verdict {
	to := m.endpoints[index]
	if !to.Ready {
		return drop(reasons.NotReady)
	}
	p.writeMACs(to.MAC, m.Networks[to.Network].MAC)
	return redirect
}

// route is the route to an address, or why the packet cannot take it.
func (m *Model) route(p *packet, to netip.Addr) (Route, reasons.Reason) {
	r := m.routeTo(to)
	switch {
	case r.Ifindex == 0:
		return r, reasons.NoRoute
	case p.mtuLength() > r.MTU:
		p.mtu = r.MTU
		return r, reasons.MtuExceeded
	case m.Uplinks[r.Ifindex] == nil:
		return r, reasons.NotAnUplink
	}
	return r, 0
}

// untranslatable is why a packet cannot begin a flow, 0 when it can.
func untranslatable(p *packet) reasons.Reason {
	switch {
	case p.later:
		return reasons.Fragment
	case p.hasPorts && p.opens():
		return 0
	case p.hasPorts:
		return reasons.NoFlow
	case p.protocol == p.ip().icmp:
		return reasons.Icmp
	}
	return reasons.Protocol
}

// masquerade opens a flow to the outside, with an address of the host.
func (m *Model) masquerade(p *packet, network Network) verdict {
	if network.Rule == 0 {
		return drop(reasons.Internal)
	}
	if reason := untranslatable(p); reason != 0 {
		return drop(reason)
	}
	if p.ttl <= 1 {
		return drop(reasons.TtlExceeded)
	}
	route, reason := m.route(p, p.dst)
	if reason != 0 {
		return drop(reason)
	}
	f := m.begin(p, p.sender, network.Rule)
	f.hops, f.target, f.backTarget = 1, targetOutside, targetEndpoint
	inside := p.key()
	inside.Src = m.source(route, p.dst)
	if !inside.Src.IsValid() {
		return drop(reasons.NoSource)
	}
	f.Back = inside.answer(datapath.ZoneOutside)
	if !m.claimPort(f, true) {
		return drop(reasons.MasqueradeExhausted)
	}
	return m.open(p, f)
}

// publish opens a flow to a published port of the host, if the packet is for
// one; everything else is the host's own.
func (m *Model) publish(p *packet) verdict {
	if !p.hasPorts || !p.opens() || m.socketConnected(p.key()) {
		return pass
	}
	index := m.published(p.protocol, p.dst, p.dport)
	if index == 0 {
		return pass
	}
	if p.sender == 0 && m.martianSource(p.src) {
		return drop(reasons.Martian)
	}
	if m.leavesInternal(p.sender, m.rules[index].Endpoint) {
		return drop(reasons.Internal)
	}
	if p.later {
		return drop(reasons.Fragment)
	}
	rule := m.rules[index]
	to, itself := m.endpoints[rule.Endpoint], p.sender == rule.Endpoint
	if !to.Ready {
		return drop(reasons.NotReady)
	}
	f := m.begin(p, rule.Endpoint, index)
	f.hops, f.target, f.backTarget = 1, targetEndpoint, targetOutside
	if p.sender != 0 {
		f.backTarget, f.peer = targetPeer, m.reference(p.sender)
	}
	inside := p.key()
	inside.Dst, inside.Dport = to.addr(p.dst), rule.Target+(p.dport-rule.First)
	if itself {
		inside.Src = m.Networks[to.Network].gateway(p.dst)
	}
	f.Back = inside.answer(to.Network)
	if (itself || !m.claim(f)) && !m.claimPort(f, itself) {
		return drop(reasons.MasqueradeExhausted)
	}
	return m.open(p, f)
}

// leavesInternal says whether an endpoint is another's than an internal network's,
// which its sender is in.
func (m *Model) leavesInternal(sender, to uint32) bool {
	network := m.endpoints[sender].Network
	return sender != 0 && m.Networks[network].Rule == 0 && m.endpoints[to].Network != network
}

// martianSource says whether nobody outside has an address.
func (m *Model) martianSource(addr netip.Addr) bool {
	_, ofHost := m.HostAddrs[addr]
	return isMartian(addr) || isMulticast(addr) || ofHost || m.inANetwork(addr)
}

// socketConnected says whether a connected socket of the host owns a datagram.
func (m *Model) socketConnected(k Key) bool {
	for _, s := range m.Sockets {
		if s.Protocol == unix.IPPROTO_UDP && s.Remote.IsValid() && s.gets(k) {
			return true
		}
	}
	return false
}

// connected says whether a connected socket of the host gets the packets of a key.
func (m *Model) connected(k Key) bool {
	return slices.ContainsFunc(m.Sockets, func(s Socket) bool { return s.Remote.IsValid() && s.gets(k) })
}

// balance opens a flow to the member of an alias whose turn it is, false when
// the packet is for no alias.
func (m *Model) balance(p *packet) (verdict, bool) {
	alias, ok := m.Aliases[p.dst]
	if !ok {
		return verdict{}, false
	}
	if reason := untranslatable(p); reason != 0 {
		return drop(reason), true
	}
	if len(alias.Members) == 0 {
		return drop(reasons.NoMember), true
	}
	turn := turn{alias.Index, p.ethertype}
	member := alias.Members[m.turns[turn]%uint64(len(alias.Members))]
	m.turns[turn]++
	src := p.src
	if member == p.sender {
		src = p.dst
	}
	return m.meet(p, member, alias.Rule, src), true
}

// meet opens a flow inside a network to an endpoint, which sees its client as
// src, or as the gateway when that is a loopback address.
func (m *Model) meet(p *packet, index, rule uint32, src netip.Addr) verdict {
	to, known := m.endpoints[index]
	if !known || !to.Ready {
		return drop(reasons.NotReady)
	}
	f := m.begin(p, index, rule)
	f.target, f.backTarget = targetStack, targetStack
	if p.sender != 0 {
		f.target, f.backTarget, f.peer = targetEndpoint, targetPeer, m.reference(p.sender)
	}
	inside := p.key()
	inside.Src, inside.Dst = src, to.addr(p.dst)
	loopback := isLoopback(src)
	if loopback {
		inside.Src = m.Networks[to.Network].gateway(p.dst)
	}
	f.Back = inside.answer(to.Network)
	own := !loopback && (p.sender != index || p.sport != p.dport) && (p.sender != 0 || !m.connected(f.Back))
	if (!own || !m.claim(f)) && !m.claimPort(f, p.sender == 0) {
		return drop(reasons.MasqueradeExhausted)
	}
	return m.open(p, f)
}

func (m *Model) begin(p *packet, endpoint, rule uint32) *Flow {
	return &Flow{
		Forward: p.key(), endpoint: m.reference(endpoint), rule: reference{rule, m.ruleGenerations[rule]},
		created: m.Now, seen: [2]uint32{m.Now, m.Now},
	}
}

// open enters a flow whose back half is claimed, and carries its first packet.
func (m *Model) open(p *packet, f *Flow) verdict {
	m.flows[f.Forward] = f
	if f.rule.index != 0 {
		counters := m.Rules[f.rule.index]
		counters.Flows++
		counters.FlowBytes += uint64(p.length())
		m.Rules[f.rule.index] = counters
	}
	m.takeOver(m.queueOf(f.Forward))
	return m.carry(p, f, nil)
}

func (m *Model) countTranslated(f *Flow, p *packet) {
	if f.rule.index == 0 {
		return
	}
	counters := m.Rules[f.rule.index]
	counters.Packets++
	counters.Bytes += uint64(p.length())
	m.Rules[f.rule.index] = counters
}
