package model

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/reasons"
)

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
	p.answered = true
	return redirect
}

// Types of ICMPv6, RFC 4861.
const (
	routerAdvertisement, solicitation, advertisement, ndRedirect = 134, 135, 136, 137
)

// discover drops what speaks for others in neighbour discovery, and answers
// solicitations of VIPs and of neighbours; false on everything else.
func (m *Model) discover(p *packet, from Endpoint) (verdict, bool) {
	const flags, target, option = 4, 8, 24
	if p.ethertype != etherIPv6 || p.protocol != unix.IPPROTO_ICMPV6 || p.later || p.hidden {
		return verdict{}, false
	}
	nd := p.raw[p.transport:p.end]
	kind := nd[0]
	switch {
	case kind == routerAdvertisement, kind == ndRedirect:
		return drop(reasons.SpoofedNd), true
	case kind != solicitation && kind != advertisement:
		return verdict{}, false
	case p.fragment || len(nd) < option || len(nd) > option && !ownOption(nd[option:], from):
		return drop(reasons.SpoofedNd), true
	}
	asked := netip.AddrFrom16([16]byte(nd[target:]))
	if (kind == advertisement || p.src.IsUnspecified()) && !from.owns(asked) {
		return drop(reasons.SpoofedNd), true
	}
	mac := m.solicited(asked, from)
	switch {
	case kind != solicitation || mac == nil || p.ttl != 255 || p.src.IsUnspecified() || p.transport != ethernetLength+ipv6.header:
		return verdict{}, false
	case len(nd) == option && p.dst.IsMulticast():
		return drop(reasons.Malformed), true
	}
	p.writeMACs(p.raw[6:12], mac)
	p.writeAddresses(asked, p.src, 0)
	nd[0] = advertisement
	binary.BigEndian.PutUint32(nd[flags:], 0x60000000)
	if len(nd) > option {
		copy(nd[option:], append([]byte{2, 1}, mac...))
	}
	p.answered, p.fresh = true, []int{p.transport + 2}
	return redirect, true
}

// solicited is the MAC address of who has an address, nil when it is not ours to
// say: of a VIP, or of another endpoint in the sender's network.
func (m *Model) solicited(asked netip.Addr, from Endpoint) []byte {
	if _, vip := m.Aliases[asked]; vip {
		last := asked.As16()
		return append([]byte{0x02, 0x42}, last[12:]...)
	}
	to := m.endpoints[m.endpointAt(asked)]
	if !to.Ready || to.Network != from.Network || from.has(asked) {
		return nil
	}
	return to.MAC
}

// ownOption says whether the one option of a message names no link-layer
// address, or the endpoint's.
func ownOption(option []byte, from Endpoint) bool {
	if len(option) != 8 {
		return false
	}
	return option[0] != 1 && option[0] != 2 || bytes.Equal(option[2:], from.MAC)
}

// owns says whether an IPv6 address is the endpoint's: its own, or the
// link-local one that is made of its MAC address (RFC 4291 appendix A).
func (e Endpoint) owns(addr netip.Addr) bool {
	m := e.MAC
	linkLocal := netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
	return e.has(addr) || addr == linkLocal
}
