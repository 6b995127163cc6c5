/* SPDX-License-Identifier: GPL-2.0-only */
/* What is particular to IPv4; ../ipv6/protocol.h has the same for IPv6. */
#ifndef SLUICE_IPV4_PROTOCOL_H
#define SLUICE_IPV4_PROTOCOL_H

#include "../wire.h"

#define SOCKET_FAMILY4 AF_INET
#define TRANSPORT_MASK4 "0x7f" /* an Ethernet and an IPv4 header end before */
#define QUOTE_MASK4 "0xff"     /* and a second IPv4 header behind an ICMP header */
#define ICMP_HAS_PSEUDO4 false /* its checksum covers no addresses */
#define HEADER_HAS_SUM4 true   /* the header's checksum makes up for its addresses */
#define CHECKSUM_FLAGS4 BPF_F_PSEUDO_HDR

static __always_inline bool is_icmp_error4(__u8 type)
{
	return type == ICMP_UNREACHABLE || type == ICMP_TIME_EXCEEDED4 || type == ICMP_PARAMETER_PROBLEM;
}

/* The protocol in a fragment's key: what tells packets apart beside addresses and identification. */
static __always_inline __u8 fragment_protocol4(__u8 protocol)
{
	return protocol;
}

#endif
