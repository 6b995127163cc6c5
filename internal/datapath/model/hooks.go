package model

import (
	"bytes"
	"encoding/binary"
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
	switch p.ethertype {
	case etherIPv4:
		return m.containerIP(p, from)
	case etherARP:
		return m.containerARP(p, from)
	case etherIPv6:
		return drop(reasons.Ipv6Disabled)
	}
	return drop(reasons.Ethertype)
}

func (m *Model) containerIP(p *packet, from Endpoint) verdict {
	network := m.Networks[from.Network]
	if !p.parse(ethernetLength) {
		return drop(reasons.Malformed)
	}
	p.self, p.zone = network.gateway(p.src), from.Network
	inside := network.contains(p.dst) && p.dst != network.gateway(p.dst)
	switch {
	case !from.has(p.src):
		return drop(reasons.SpoofedAddress)
	case p.sourceRouted():
		return drop(reasons.SourceRoute)
	case martian(p.dst):
		return drop(reasons.Martian)
	case multicastOrReserved(p.dst), network.broadcast(p.dst):
		return pass
	case inside && !from.Translated && m.endpointAt(p.dst) != 0:
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

func (e Endpoint) has(addr netip.Addr) bool {
	for _, a := range e.Addrs {
		if a == addr {
			return true
		}
	}
	return false
}

// addr is the endpoint's address of a family.
func (e Endpoint) addr(like netip.Addr) netip.Addr {
	for _, a := range e.Addrs {
		if a.Is4() == like.Is4() {
			return a
		}
	}
	return netip.Addr{}
}

func (m *Model) toOwnNetwork(p *packet) verdict {
	if index := m.endpointAt(p.dst); index != 0 {
		return m.deliver(p, index)
	}
	if v, ok := m.balance(p); ok {
		return v
	}
	return drop(reasons.NoEndpoint)
}

// containerARP takes ARP for IPv4 over Ethernet, RFC 826.
func (m *Model) containerARP(p *packet, from Endpoint) verdict {
	const length, op, senderMAC, sender, targetMAC, target = 28, 6, 8, 14, 18, 24
	arp := p.raw[ethernetLength:]
	if len(arp) < length || !bytes.HasPrefix(arp, []byte{0, 1, 8, 0, 6, 4}) {
		return drop(reasons.Malformed)
	}
	from4 := netip.AddrFrom4([4]byte(arp[sender:]))
	if !bytes.Equal(arp[senderMAC:sender], from.MAC) || !from4.IsUnspecified() && !from.has(from4) {
		return drop(reasons.SpoofedArp)
	}
	asked := netip.AddrFrom4([4]byte(arp[target:]))
	if _, vip := m.Aliases[asked]; !vip || be16(arp[op:]) != 1 {
		return pass
	}
	mac := append([]byte{0x02, 0x42}, asked.AsSlice()...)
	p.writeMACs(arp[senderMAC:sender], mac)
	binary.BigEndian.PutUint16(arp[op:], 2)
	copy(arp[targetMAC:], arp[senderMAC:target])
	copy(arp[senderMAC:], mac)
	copy(arp[sender:], asked.AsSlice())
	return redirect
}

func (m *Model) uplink(p *packet, ifindex uint32) verdict {
	if !bytes.Equal(p.raw[:6], m.Devices[ifindex]) {
		return pass // of no concern to this host
	}
	switch p.ethertype {
	case etherIPv4:
		return m.uplinkIP(p)
	}
	return pass
}

func (m *Model) uplinkIP(p *packet) verdict {
	if !p.parse(ethernetLength) || p.sourceRouted() {
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
	case p.ethertype != etherIPv4:
		return pass
	case forwarded:
		return drop(reasons.Unpublished)
	case !p.parse(ethernetLength):
		return pass
	}
	_, vip := m.Aliases[p.dst]
	if !vip && !p.src.IsLoopback() {
		return pass
	}
	p.zone = datapath.ZoneHost
	v := m.fromHost(p)
	if !vip || v != pass {
		return v
	}
	// The bridge delivers to the address that it is for now.
	to, ok := m.endpoints[m.endpointAt(netip.AddrFrom4([4]byte(p.raw[p.network+16:])))]
	if !ok || !to.Ready {
		return drop(reasons.NoEndpoint)
	}
	copy(p.raw, to.MAC)
	return pass
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
	if p.ethertype != etherIPv4 || !p.parse(ethernetLength) || !p.hasPorts || p.protocol == unix.IPPROTO_ICMP {
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
