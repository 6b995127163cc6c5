package e2e

import (
	"net"
	"slices"

	"github.com/google/gopacket/layers"
)

// Options of IPv4 that let the sender say by whom the packet goes (RFC 791,
// 3.1): one stop, which has not been reached.
func looseSourceRoute(stop string) []byte  { return sourceRoute(131, stop) }
func strictSourceRoute(stop string) []byte { return sourceRoute(137, stop) }

func sourceRoute(kind byte, stop string) []byte {
	return slices.Concat([]byte{kind, 7, 4}, net.ParseIP(stop).To4(), []byte{0})
}

// ipv4 are frames that are forged as IPv4 lets them be: broadcasts, ARP, options.
func (f forger) ipv4() []forged {
	routed := func(dst string, options []byte) []byte {
		return packet{srcMAC: firstMAC, dstMAC: gatewayMAC, src: port(f.first, "7"), dst: dst, options: options, payload: mark}.bytes()
	}
	return []forged{
		{"MAC of the gateway, to everybody", f.udp(gatewayMAC, layers.EthernetBroadcast, f.first, "255.255.255.255"), "spoofed-mac"},
		{"no address, to everybody", packet{
			srcMAC: firstMAC, dstMAC: layers.EthernetBroadcast, src: "0.0.0.0:68", dst: "255.255.255.255:67", payload: mark,
		}.bytes(), "spoofed-address"},
		{"broadcast address", f.udp(firstMAC, secondMAC, "172.17.255.255", f.beside), "spoofed-address"},
		{"to no address", f.own("0.0.0.0", "8080"), "martian"},

		{"ARP: the gateway is here", arp(layers.ARPReply, firstMAC, firstMAC, f.gateway, f.beside), "spoofed-arp"},
		{"ARP: a neighbour is here, unasked", arp(layers.ARPRequest, firstMAC, firstMAC, f.beside, f.beside), "spoofed-arp"},
		{"ARP: another MAC in the payload", arp(layers.ARPReply, firstMAC, nobodysMAC, f.first, f.beside), "spoofed-arp"},
		{"ARP by another MAC", arp(layers.ARPReply, nobodysMAC, firstMAC, f.first, f.beside), "spoofed-mac"},

		{"loose source route, to the outside", routed(port(f.client, "7"), looseSourceRoute(f.beside)), "source-route"},
		{"loose source route, by the gateway to loopback", routed(port(f.gateway, "8081"), looseSourceRoute(f.loopback)), "source-route"},
		{"strict source route, by the gateway to another network", routed(port(f.gateway, "53"), strictSourceRoute(f.inOther)), "source-route"},
	}
}
