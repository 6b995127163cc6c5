package e2e

import (
	"net"
	"net/netip"
	"slices"
)

// Types of messages and options of neighbour discovery (RFC 4861 4).
const (
	routerAdvertisement = 134
	solicitation        = 135
	advertisement       = 136
	redirectMessage     = 137

	sourceMAC, targetMAC = 1, 2
)

// Extension headers of IPv6, by their numbers.
const (
	routingHeader       = 43
	destinationOptions  = 60
	deprecatedRoute     = 0 // RFC 5095
	segmentRouting      = 4 // RFC 8754
	allNodes            = "ff02::1"
	allNodesMAC         = "33:33:00:00:00:01"
	nobodysInterface    = "fe80::1234"
	neighboursInterface = "fe80::42:acff:fe11:3"
)

func macOption(kind byte, mac net.HardwareAddr) []byte { return slices.Concat([]byte{kind, 1}, mac) }

// routedBy lets a frame go by a stop that has not been reached: the routing header
// has the whole way, of which its destination is the first part.
func routedBy(frame []byte, kind byte, stop string) []byte {
	const oneLeft = 1
	return behind(frame, routingHeader, slices.Concat([]byte{kind, oneLeft, 0, 0, 0, 0}, netip.MustParseAddr(stop).AsSlice())...)
}

// ipv6 are frames that are forged as IPv6 lets them be: neighbour discovery,
// addresses of the link, extension headers.
func (f forger) ipv6() []forged {
	everybody := mustMAC(allNodesMAC)
	says := func(kind uint8, target string, options ...[]byte) []byte {
		return discovery(firstMAC, everybody, f.first, allNodes, kind, target, options...)
	}
	own := macOption(targetMAC, firstMAC)
	hidden := says(routerAdvertisement, f.gateway)
	for range 8 {
		hidden = behind(hidden, destinationOptions, 1, 4, 0, 0, 0, 0)
	}
	byOther := says(advertisement, f.first, own)
	copy(byOther[6:], nobodysMAC)
	return []forged{
		{"MAC of the gateway, to everybody", f.udp(gatewayMAC, everybody, f.first, allNodes), "spoofed-mac"},
		{"no address, to a neighbour", f.udp(firstMAC, secondMAC, "::", f.beside), "spoofed-address"},
		{"address of a group", f.udp(firstMAC, secondMAC, allNodes, f.beside), "spoofed-address"},
		{"a neighbour's address of the link", f.udp(firstMAC, gatewayMAC, neighboursInterface, f.gateway), "spoofed-address"},
		{"an address of the link of its own choice", f.udp(firstMAC, everybody, nobodysInterface, allNodes), "spoofed-address"},
		{"to no address", f.own("::", "8080"), "martian"},
		{"to a loopback address of IPv4", f.own("::ffff:127.0.0.1", "8081"), "martian"},

		{"the gateway is here", says(advertisement, f.gateway, own), "spoofed-nd"},
		{"a neighbour is here, unasked", says(advertisement, f.beside, own), "spoofed-nd"},
		{"another MAC in the option", says(advertisement, f.first, macOption(targetMAC, nobodysMAC)), "spoofed-nd"},
		{"solicits with another MAC", says(solicitation, f.beside, macOption(sourceMAC, secondMAC)), "spoofed-nd"},
		{"plays the router", says(routerAdvertisement, f.gateway), "spoofed-nd"},
		{"redirects", says(redirectMessage, f.beside, own), "spoofed-nd"},
		{"in a neighbour's name", discovery(firstMAC, everybody, f.beside, allNodes, advertisement, f.beside, own), "spoofed-address"},
		{"advertises by another MAC", byOther, "spoofed-mac"},
		{"plays the router behind options", behind(says(routerAdvertisement, f.gateway), destinationOptions, 1, 4, 0, 0, 0, 0), "spoofed-nd"},
		{"plays the router where nobody looks", hidden, "extension-headers"},

		{"routing header, to the outside", routedBy(f.own(f.client, "7"), deprecatedRoute, f.beside), "source-route"},
		{"routing header, by the gateway to loopback", routedBy(f.own(f.gateway, "8081"), deprecatedRoute, f.loopback), "source-route"},
		{"segment routing, by the gateway to another network", routedBy(f.own(f.gateway, "53"), segmentRouting, f.inOther), "source-route"},
	}
}
