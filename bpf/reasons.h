/* SPDX-License-Identifier: GPL-2.0-only */
/* Code generated from reasons.json by internal/reasons/gen; DO NOT EDIT. */
#ifndef SLUICE_REASONS_H
#define SLUICE_REASONS_H

enum reason {
	REASON_MALFORMED = 1, /* a header is truncated or contradicts itself */
	REASON_ETHERTYPE = 2, /* a container sent something that is neither IPv4, IPv6 nor ARP, or a VLAN tag */
	REASON_UNKNOWN_DEVICE = 3, /* the packet came from a veth that is no endpoint */
	REASON_SPOOFED_MAC = 4, /* the source MAC address is not the endpoint's */
	REASON_SPOOFED_ADDRESS = 5, /* the source address is not the endpoint's, or an ICMP error is about what another was sent */
	REASON_SPOOFED_ARP = 6, /* an ARP payload names an address that is not the endpoint's */
	REASON_MARTIAN = 7, /* an address where it may not be: loopback, zero, or from outside with one of ours */
	REASON_NO_ENDPOINT = 8, /* nobody in the network has the destination address */
	REASON_NOT_READY = 9, /* the destination endpoint's programs are not attached yet */
	REASON_ISOLATION = 10, /* the destination belongs to another network of this host */
	REASON_UNPUBLISHED = 11, /* from outside to an address of a container network without a flow, or forwarded to one by the stack */
	REASON_INTERNAL = 12, /* an internal network has no way to the outside, nor to other networks by their published ports */
	REASON_NO_FLOW = 13, /* a packet in the middle of a connection that is not known */
	REASON_NO_ROUTE = 14, /* the host has no route to the destination, or one that refuses it */
	REASON_NOT_AN_UPLINK = 15, /* the route leads through a device that is no uplink */
	REASON_NO_SOURCE = 16, /* the uplink has no address to masquerade with, or the host has lost the one that a flow has */
	REASON_FRAGMENT = 17, /* a fragment whose first one has not been seen, or that comes too late */
	REASON_PROTOCOL = 18, /* a protocol that cannot be translated */
	REASON_ICMP = 19, /* an ICMP message other than echo that would need translation */
	REASON_TTL_EXCEEDED = 20, /* the time to live ran out */
	REASON_MTU_EXCEEDED = 21, /* the packet is larger than the uplink's MTU */
	REASON_MASQUERADE_EXHAUSTED = 22, /* no free source port was found for the destination */
	REASON_CONNTRACK_INSERT = 23, /* the conntrack table took no new flow */
	REASON_REWRITE = 24, /* the kernel refused to change the packet */
	REASON_IPV6_DISABLED = 25, /* IPv6 from a network that has none */
	REASON_NO_MEMBER = 26, /* an alias none of whose members is up */
	REASON_SOURCE_ROUTE = 27, /* the sender chose the packet's way by an IPv4 option or an IPv6 routing header */
	REASON_SPOOFED_ND = 28, /* a neighbour discovery message names an address that is not the endpoint's, or plays the router */
	REASON_EXTENSION_HEADERS = 29, /* IPv6 extension headers that are too many, too long or broken: nobody can see what follows them */
	REASONS = 30,
};

#endif
