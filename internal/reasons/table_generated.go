// Code generated from bpf/reasons.json by internal/reasons/gen; DO NOT EDIT.

package reasons

// The reasons for dropping a packet.
const (
	Malformed           Reason = 1  // a header is truncated or contradicts itself
	Ethertype           Reason = 2  // a container sent something that is neither IPv4, IPv6 nor ARP, or a VLAN tag
	UnknownDevice       Reason = 3  // the packet came from a veth that is no endpoint
	SpoofedMac          Reason = 4  // the source MAC address is not the endpoint's
	SpoofedAddress      Reason = 5  // the source address is not the endpoint's, or an ICMP error is about what another was sent
	SpoofedArp          Reason = 6  // an ARP payload names an address that is not the endpoint's
	Martian             Reason = 7  // an address where it may not be: loopback, zero, or from outside with one of ours
	NoEndpoint          Reason = 8  // nobody in the network has the destination address
	NotReady            Reason = 9  // the destination endpoint's programs are not attached yet
	Isolation           Reason = 10 // the destination belongs to another network of this host
	Unpublished         Reason = 11 // from outside to an address of a container network without a flow, or forwarded to one by the stack
	Internal            Reason = 12 // an internal network has no way to the outside, nor to other networks by their published ports
	NoFlow              Reason = 13 // a packet in the middle of a connection that is not known
	NoRoute             Reason = 14 // the host has no route to the destination, or one that refuses it
	NotAnUplink         Reason = 15 // the route leads through a device that is no uplink
	NoSource            Reason = 16 // the uplink has no address to masquerade with, or the host has lost the one that a flow has
	Fragment            Reason = 17 // a fragment whose first one has not been seen, or that comes too late
	Protocol            Reason = 18 // a protocol that cannot be translated
	Icmp                Reason = 19 // an ICMP message other than echo that would need translation
	TtlExceeded         Reason = 20 // the time to live ran out
	MtuExceeded         Reason = 21 // the packet is larger than the uplink's MTU
	MasqueradeExhausted Reason = 22 // no free source port was found for the destination
	ConntrackInsert     Reason = 23 // the conntrack table took no new flow
	Rewrite             Reason = 24 // the kernel refused to change the packet
	Ipv6Disabled        Reason = 25 // IPv6 from a network that has none
	NoMember            Reason = 26 // an alias none of whose members is up
	SourceRoute         Reason = 27 // the sender chose the packet's way by an IPv4 option or an IPv6 routing header
	SpoofedNd           Reason = 28 // a neighbour discovery message names an address that is not the endpoint's, or plays the router
	ExtensionHeaders    Reason = 29 // IPv6 extension headers that are too many, too long or broken: nobody can see what follows them
)

var table = [...]struct{ name, description string }{
	1:  {"malformed", "a header is truncated or contradicts itself"},
	2:  {"ethertype", "a container sent something that is neither IPv4, IPv6 nor ARP, or a VLAN tag"},
	3:  {"unknown-device", "the packet came from a veth that is no endpoint"},
	4:  {"spoofed-mac", "the source MAC address is not the endpoint's"},
	5:  {"spoofed-address", "the source address is not the endpoint's, or an ICMP error is about what another was sent"},
	6:  {"spoofed-arp", "an ARP payload names an address that is not the endpoint's"},
	7:  {"martian", "an address where it may not be: loopback, zero, or from outside with one of ours"},
	8:  {"no-endpoint", "nobody in the network has the destination address"},
	9:  {"not-ready", "the destination endpoint's programs are not attached yet"},
	10: {"isolation", "the destination belongs to another network of this host"},
	11: {"unpublished", "from outside to an address of a container network without a flow, or forwarded to one by the stack"},
	12: {"internal", "an internal network has no way to the outside, nor to other networks by their published ports"},
	13: {"no-flow", "a packet in the middle of a connection that is not known"},
	14: {"no-route", "the host has no route to the destination, or one that refuses it"},
	15: {"not-an-uplink", "the route leads through a device that is no uplink"},
	16: {"no-source", "the uplink has no address to masquerade with, or the host has lost the one that a flow has"},
	17: {"fragment", "a fragment whose first one has not been seen, or that comes too late"},
	18: {"protocol", "a protocol that cannot be translated"},
	19: {"icmp", "an ICMP message other than echo that would need translation"},
	20: {"ttl-exceeded", "the time to live ran out"},
	21: {"mtu-exceeded", "the packet is larger than the uplink's MTU"},
	22: {"masquerade-exhausted", "no free source port was found for the destination"},
	23: {"conntrack-insert", "the conntrack table took no new flow"},
	24: {"rewrite", "the kernel refused to change the packet"},
	25: {"ipv6-disabled", "IPv6 from a network that has none"},
	26: {"no-member", "an alias none of whose members is up"},
	27: {"source-route", "the sender chose the packet's way by an IPv4 option or an IPv6 routing header"},
	28: {"spoofed-nd", "a neighbour discovery message names an address that is not the endpoint's, or plays the router"},
	29: {"extension-headers", "IPv6 extension headers that are too many, too long or broken: nobody can see what follows them"},
}
