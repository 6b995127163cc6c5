package model

import (
	"bytes"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
)

func (m *Model) container(p *packet, ifindex uint32) verdict {
	for index, e := range m.endpoints {
		if e.Ifindex == ifindex {
			p.sender = index
		}
	}
	from, known := m.endpoints[p.sender]
	if !known {
		return drop(reasons.UnknownDevice)
	}
	if !bytes.Equal(p.raw[6:12], from.MAC) {
		return drop(reasons.SpoofedMac)
	}
	switch {
	case p.isIP():
		return m.containerIP(p, from)
	case p.ethertype == etherARP:
		return m.containerARP(p, from)
	}
	return drop(reasons.Ethertype)
}

func (m *Model) containerIP(p *packet, from Endpoint) verdict {
	network := m.Networks[from.Network]
	if p.ethertype == etherIPv6 && !from.addr(netip.IPv6Unspecified()).IsValid() {
		return drop(reasons.Ipv6Disabled)
	}
	if !p.parse() {
		return drop(reasons.Malformed)
	}
	p.self, p.zone = network.gateway(p.src), from.Network
	if v, ok := m.checkSource(p, from, network); ok {
		return v
	}
	inside := network.contains(p.dst) && p.dst != network.gateway(p.dst)
	if inside && !from.Translated && m.endpointAt(p.dst) != 0 {
		return m.deliver(p, m.endpointAt(p.dst))
	}
	if f := m.flowOf(p); f != nil {
		return m.carry(p, f, nil)
	}
	if v, ok := m.carryError(p); ok {
		return v
	}
	toNetwork, ofHost := m.HostAddrs[p.dst]
	switch {
	case inside:
		return m.toOwnNetwork(p)
	case ofHost && (toNetwork == 0 || toNetwork == from.Network):
		return m.publish(p)
	case m.inANetwork(p.dst):
		return drop(reasons.Isolation)
	}
	return m.masquerade(p, network)
}

// checkSource drops what is not from the sender, and passes to the bridge what
// is for all or for one of the link; false on the rest.
func (m *Model) checkSource(p *packet, from Endpoint, network Network) (verdict, bool) {
	own := from.has(p.src)
	if p.ethertype == etherIPv6 {
		// Before it has an address, a host speaks to groups.
		own = from.owns(p.src) || p.src.IsUnspecified() && isMulticast(p.dst)
	}
	switch {
	case !own:
		return drop(reasons.SpoofedAddress), true
	case p.sourceRouted():
		return drop(reasons.SourceRoute), true
	case p.hidden:
		return drop(reasons.ExtensionHeaders), true
	case p.isError && !p.quotes(from):
		return drop(reasons.SpoofedAddress), true
	}
	if v, ok := m.discover(p, from); ok {
		return v, true
	}
	switch {
	case isMartian(p.dst):
		return drop(reasons.Martian), true
	case isMulticast(p.dst), network.broadcast(p.dst), isLinkLocal(p.dst):
		return pass, true
	case !isLinkLocal(p.src):
		return verdict{}, false
	case p.dst == network.gateway(p.dst):
		return pass, true // nothing is translated
	}
	_, vip := m.Aliases[p.dst]
	return drop(reasons.Martian), vip || !network.contains(p.dst)
}

func (e Endpoint) has(addr netip.Addr) bool {
	for _, a := range e.Addrs {
		if a == addr {
			return true
		}
	}
	return false
}

// addr is the endpoint's address of a family.
func (e Endpoint) addr(like netip.Addr) netip.Addr { return ofFamily(e.Addrs, like) }

func (m *Model) toOwnNetwork(p *packet) verdict {
	if index := m.endpointAt(p.dst); index != 0 {
		return m.deliver(p, index)
	}
	if v, ok := m.balance(p); ok {
		return v
	}
	return drop(reasons.NoEndpoint)
}

func (m *Model) uplink(p *packet, ifindex uint32) verdict {
	if !bytes.Equal(p.raw[:6], m.Devices[ifindex]) || !p.isIP() {
		return pass // of no concern to this host, or to us
	}
	return m.uplinkIP(p)
}

func (m *Model) uplinkIP(p *packet) verdict {
	if !p.parse() || p.sourceRouted() {
		return m.notOurs(p)
	}
	if isLinkLocal(p.src) || isLinkLocal(p.dst) {
		return m.notOurs(p)
	}
	p.self, p.zone = p.dst, datapath.ZoneOutside
	if f := m.flowOf(p); f != nil {
		return m.carry(p, f, nil)
	}
	if v, ok := m.carryError(p); ok {
		return v
	}
	if network, ok := m.HostAddrs[p.dst]; ok && network == 0 {
		return m.publish(p)
	}
	return m.notOurs(p)
}

func (m *Model) notOurs(p *packet) verdict {
	if m.inANetwork(p.dst) {
		return drop(reasons.Unpublished)
	}
	return pass
}

func (m *Model) bridge(p *packet, forwarded bool) verdict {
	switch {
	case !p.isIP():
		return pass
	case forwarded:
		return drop(reasons.Unpublished)
	case !p.parse():
		return pass
	}
	_, vip := m.Aliases[p.dst]
	if !vip && !isLoopback(p.src) {
		return pass
	}
	p.zone = datapath.ZoneHost
	v := m.fromHost(p)
	if !vip || v != pass {
		return v
	}
	// The bridge delivers to the address that it is for now.
	to, ok := m.endpoints[m.endpointAt(p.leavesTo())]
	if !ok || !to.Ready {
		return drop(reasons.NoEndpoint)
	}
	copy(p.raw, to.MAC)
	return pass
}

// leavesTo is the destination that the frame has now.
func (p *packet) leavesTo() netip.Addr {
	size := p.dst.BitLen() / 8
	at := p.network + p.ip().addresses + size
	addr, _ := netip.AddrFromSlice(p.raw[at : at+size])
	return addr
}

func (m *Model) fromHost(p *packet) verdict {
	if f := m.flowOf(p); f != nil {
		return m.carry(p, f, nil)
	}
	if v, ok := m.carryError(p); ok {
		return v
	}
	if v, ok := m.balance(p); ok {
		return v
	}
	index := m.endpointAt(p.dst)
	if index == 0 {
		return drop(reasons.Martian)
	}
	if reason := untranslatable(p); reason != 0 {
		return drop(reason)
	}
	return m.meet(p, index, 0, p.src)
}

// resolver swaps the port at which name servers are asked for the one where
// the daemon listens.
func (m *Model) resolver(p *packet) verdict {
	const asked, listens = 53, datapath.ResolverPort
	server := netip.AddrFrom4([4]byte{127, 0, 0, 11})
	if p.ethertype != etherIPv4 || !p.parse() || !p.hasPorts || p.protocol == unix.IPPROTO_ICMP {
		return pass
	}
	to := p.key()
	switch {
	case p.dst == server && p.dport == asked:
		to.Dport = listens
	case p.src == server && p.sport == listens:
		to.Sport = asked
	}
	p.write(to, 0)
	return pass
}
