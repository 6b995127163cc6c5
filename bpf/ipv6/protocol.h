/* SPDX-License-Identifier: GPL-2.0-only */
/* What is particular to IPv6; ../ipv4/protocol.h has the same for IPv4. */
#ifndef SLUICE_IPV6_PROTOCOL_H
#define SLUICE_IPV6_PROTOCOL_H

#include "../config.h"
#include "../wire.h"

#define SOCKET_FAMILY6 AF_INET6
#define TRANSPORT_MASK6 "0x1ff" /* IPV6_MAX_HEADERS and a transport header end before */
#define QUOTE_MASK6 "0x3ff"
#define ICMP_HAS_PSEUDO6 true /* RFC 4443 2.3 */
#define HEADER_HAS_SUM6 false
/* Without a checksum in its header, IPv6 leaves the sum over the packet as it was. */
#define CHECKSUM_FLAGS6 (BPF_F_PSEUDO_HDR | (csum_ipv6 ? BPF_F_IPV6 : 0))

static __always_inline bool is_icmp_error6(__u8 type)
{
	return type <= ICMP_LAST_ERROR6;
}

/* The protocol in a fragment's key: what tells packets apart beside addresses and identification. */
static __always_inline __u8 fragment_protocol6(__u8 protocol)
{
	return 0;
}

#endif
