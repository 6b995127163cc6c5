/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Headers as they are on the wire: every field wider than a byte is in network
 * byte order. Sources: IEEE 802.3, RFC 826, 791, 8200, 9293, 768, 792, 4443, 4861.
 */
#ifndef SLUICE_WIRE_H
#define SLUICE_WIRE_H

#include "types.h"

#define ETH_LEN 14
/* What stands before the IP header: nothing on devices without a link layer. */
#ifndef LINK_LEN
#define LINK_LEN ETH_LEN
#endif
#define ETH_P_IP4 0x0800
#define ETH_P_ARP 0x0806
#define ETH_P_IP6 0x86DD

#define ARP_REQUEST 1
#define ARP_REPLY 2

#define IPPROTO_HOP_BY_HOP 0
#define IPPROTO_ICMP4 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_ROUTING 43
#define IPPROTO_FRAGMENT 44
#define IPPROTO_ICMP6 58
#define IPPROTO_DESTINATION 60

#define IPV4_FRAGMENT_MASK 0x3fff /* offset and "more fragments" */
#define IPV4_OFFSET_MASK 0x1fff

#define IPV6_FRAGMENT_MASK 0xfff9 /* offset and "more fragments" */
#define IPV6_OFFSET_MASK 0xfff8

/* RFC 792 */
#define ICMP_ECHO_REPLY4 0
#define ICMP_UNREACHABLE 3
#define ICMP_ECHO4 8
#define ICMP_TIME_EXCEEDED4 11
#define ICMP_PARAMETER_PROBLEM 12
#define ICMP_FRAGMENTATION_NEEDED 4 /* code of ICMP_UNREACHABLE */

/* RFC 4443, RFC 4861 */
#define ICMP_PACKET_TOO_BIG 2
#define ICMP_TIME_EXCEEDED6 3
#define ICMP_LAST_ERROR6 127
#define ICMP_ECHO6 128
#define ICMP_ECHO_REPLY6 129
#define ND_ROUTER_ADVERTISEMENT 134
#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136
#define ND_REDIRECT 137
#define ND_SOURCE_MAC 1 /* options */
#define ND_TARGET_MAC 2

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

struct eth_header {
	__u8 dst[6];
	__u8 src[6];
	__be16 type;
};

struct arp_ipv4 {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_len;
	__u8 protocol_len;
	__be16 op;
	__u8 sender_mac[6];
	__be32 sender;
	__u8 target_mac[6];
	__be32 target;
} __attribute__((packed));

struct ipv4_header {
	__u8 version_ihl;
	__u8 tos;
	__be16 total_len;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__u16 checksum;
	__be32 src;
	__be32 dst;
};

struct ipv6_header {
	__be32 version_class_flow;
	__be16 payload_len;
	__u8 next;
	__u8 hop_limit;
	struct addr6 src;
	struct addr6 dst;
};

/* How hop-by-hop options, destination options and routing headers begin. */
struct ipv6_extension {
	__u8 next;
	__u8 length; /* in units of eight bytes, the first not counted */
	__u8 routing_type;
	__u8 segments_left;
};

struct ipv6_fragment {
	__u8 next;
	__u8 reserved;
	__be16 offset;
	__be32 id;
};

struct tcp_header {
	__be16 sport;
	__be16 dport;
	__be32 seq;
	__be32 ack;
	__u8 data_offset; /* in 32-bit words, in the upper half */
	__u8 flags;
	__be16 window;
	__u16 checksum;
	__be16 urgent;
};

struct udp_header {
	__be16 sport;
	__be16 dport;
	__be16 len;
	__u16 checksum;
};

struct icmp_error {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be32 mtu; /* of the next hop; RFC 1191 gives IPv4 the lower half */
};

struct icmp_echo {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be16 id;
	__be16 seq;
};

#endif
