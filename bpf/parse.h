/* SPDX-License-Identifier: GPL-2.0-only */
/* From a packet's headers to the key of its flow. */
#ifndef SLUICE_PARSE_H
#define SLUICE_PARSE_H

#include "enter.h"

/* The transport header, which must lie in the IP packet: padding may follow that. */
static __always_inline void *transport_header(struct __sk_buff *skb, struct packet *p, __u32 size)
{
	return p->transport + size <= ETH_LEN + (__u32)p->length ? transport_bytes(skb, p, size) : NULL;
}

static __always_inline bool parse_tcp(struct __sk_buff *skb, struct packet *p)
{
	struct tcp_header *tcp = transport_header(skb, p, sizeof(*tcp));

	if (!tcp)
		return false;
	p->key.sport = tcp->sport;
	p->key.dport = tcp->dport;
	p->tcp_flags = tcp->flags;
	p->has_ports = true;
	return true;
}

static __always_inline bool parse_udp(struct __sk_buff *skb, struct packet *p)
{
	struct udp_header *udp = transport_header(skb, p, sizeof(*udp));

	if (!udp)
		return false;
	p->key.sport = udp->sport;
	p->key.dport = udp->dport;
	p->has_ports = true;
	return true;
}

/* An echo's identifier takes the place of the port of whoever asked. */
static __always_inline bool parse_icmp(struct __sk_buff *skb, struct packet *p)
{
	struct icmp_echo *icmp = transport_header(skb, p, sizeof(*icmp));

	if (!icmp)
		return false;
	if (icmp->type == ICMP_ECHO) {
		p->key.sport = icmp->id;
		p->has_ports = true;
	} else if (icmp->type == ICMP_ECHO_REPLY) {
		p->key.dport = icmp->id;
		p->key.echo_reply = 1;
		p->has_ports = true;
	} else {
		p->icmp_error = icmp->type == ICMP_UNREACHABLE || icmp->type == ICMP_TIME_EXCEEDED ||
				icmp->type == ICMP_PARAMETER_PROBLEM;
	}
	return true;
}

/*
 * parse_ipv4 fills everything but the key's zone. Later fragments and protocols
 * without ports leave has_ports false; false is returned for what no correct
 * host sends.
 */
static __always_inline bool parse_ipv4(struct __sk_buff *skb, struct packet *p)
{
	struct ipv4_header *ip = bytes(skb, ETH_LEN, sizeof(*ip));
	__u32 header_len;

	if (!ip || ip->version_ihl >> 4 != 4)
		return false;
	header_len = (ip->version_ihl & 0xf) * 4;
	p->length = bpf_ntohs(ip->total_len);
	if (header_len < sizeof(*ip) || p->length < header_len || ETH_LEN + (__u32)p->length > skb->len)
		return false;
	p->transport = ETH_LEN + header_len;
	p->ttl = ip->ttl;
	p->fragment = ip->fragment & bpf_htons(IPV4_FRAGMENT_MASK);
	p->later = ip->fragment & bpf_htons(IPV4_OFFSET_MASK);
	p->id = ip->id;
	p->key.src = ip->src;
	p->key.dst = ip->dst;
	p->key.protocol = ip->protocol;
	if (p->later)
		return true;
	switch (p->key.protocol) {
	case IPPROTO_TCP:
		return parse_tcp(skb, p);
	case IPPROTO_UDP:
		return parse_udp(skb, p);
	case IPPROTO_ICMP:
		return parse_icmp(skb, p);
	}
	return true;
}

static __always_inline bool ipv4_loopback(__be32 addr)
{
	return (addr & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
}

/* 224.0.0.0/4, 240.0.0.0/4 and the limited broadcast address. */
static __always_inline bool ipv4_multicast_or_reserved(__be32 addr)
{
	return (addr & bpf_htonl(0xe0000000)) == bpf_htonl(0xe0000000);
}

static __always_inline bool tcp_opens(const struct packet *p)
{
	return (p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
}

#endif
