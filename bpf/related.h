/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ICMP errors about packets of flows (RFC 5508 section 4). An error quotes a
 * packet as it was when it left: translated. What an answer to that packet
 * would get, the error gets too, and the quote is turned back.
 */
#ifndef SLUICE_RELATED_H
#define SLUICE_RELATED_H

#include "conntrack.h"
#include "rewrite.h"

struct quote {
	__u32 header;         /* offset of the quoted IPv4 header */
	__u32 transport;      /* and of the transport header behind it */
	struct flow_key4 key; /* of an answer to the quoted packet */
};

/* quoted_bytes is transport_bytes for what lies behind a second IPv4 header. */
static __always_inline void *quoted_bytes(struct __sk_buff *skb, struct packet *p, __u32 offset, __u32 size)
{
	if (offset + size > ETH_LEN + (__u32)p->length)
		return NULL;
	asm volatile("%0 &= 0xff" : "+r"(offset));
	return bytes(skb, offset, size);
}

/* The first eight bytes of the transport header, which every error has. */
static __always_inline bool quote_transport(struct __sk_buff *skb, struct packet *p, __u8 protocol, struct quote *q)
{
	struct udp_header *ports = quoted_bytes(skb, p, q->transport, sizeof(*ports)); /* TCP's begin alike */
	struct icmp_echo *icmp = (void *)ports;

	if (!ports)
		return false;
	switch (protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		q->key.sport = ports->dport;
		q->key.dport = ports->sport;
		return true;
	case IPPROTO_ICMP:
		if (icmp->type == ICMP_ECHO) {
			q->key.dport = icmp->id;
			q->key.echo_reply = 1;
			return true;
		}
		q->key.sport = icmp->id;
		return icmp->type == ICMP_ECHO_REPLY;
	}
	return false;
}

/* parse_quote4 reads the quoted packet, false when no flow can be told from it. */
static __always_inline bool parse_quote4(struct __sk_buff *skb, struct packet *p, struct quote *q)
{
	struct ipv4_header *ip;
	__u32 header_len;

	q->header = p->transport + sizeof(struct icmp_error);
	ip = quoted_bytes(skb, p, q->header, sizeof(*ip));
	if (!ip || ip->version_ihl >> 4 != 4 || ip->fragment & bpf_htons(IPV4_OFFSET_MASK))
		return false;
	header_len = (ip->version_ihl & 0xf) * 4;
	/* The error goes to whoever sent the packet. */
	if (header_len < sizeof(*ip) || ip->src != p->key.dst)
		return false;
	q->transport = q->header + header_len;
	q->key.src = ip->dst;
	q->key.dst = ip->src;
	q->key.protocol = ip->protocol;
	q->key.zone = p->key.zone;
	return quote_transport(skb, p, ip->protocol, q);
}

/* related4 returns the flow whose packet an error quotes, or NULL. */
static __always_inline struct flow4 *related4(struct __sk_buff *skb, struct packet *p, struct quote *q)
{
	return parse_quote4(skb, p, q) ? flow_peek4(&q->key) : NULL;
}

/*
 * turn_back_ports gives the quoted packet back its ports and its checksum, as
 * far as it was quoted, and returns what that adds to the error's own sum.
 * `addresses` is what the new addresses add to a pseudo header.
 */
static __always_inline __u64 turn_back_ports(struct __sk_buff *skb, struct packet *p, const struct quote *q, const struct flow4 *flow,
					     __u64 addresses)
{
	struct udp_header *ports = quoted_bytes(skb, p, q->transport, sizeof(*ports));
	struct icmp_echo *icmp = (void *)ports;
	__u64 diff = sum_replace(sum_replace(0, q->key.dport, flow->dport), q->key.sport, flow->sport);
	struct tcp_header *tcp;
	__u16 old;

	if (!ports)
		return 0;
	if (q->key.protocol == IPPROTO_ICMP) {
		/* No pseudo header: the checksum makes up for the identifier. */
		icmp->id = q->key.echo_reply ? flow->dport : flow->sport;
		icmp->checksum = checksum_update(icmp->checksum, diff);
		return 0;
	}
	ports->sport = flow->dport;
	ports->dport = flow->sport;
	if (q->key.protocol == IPPROTO_UDP) {
		old = ports->checksum;
		if (!old)
			return diff;
		ports->checksum = checksum_update(old, addresses + diff);
		if (!ports->checksum)
			ports->checksum = 0xffff;
		return sum_replace(diff, old, ports->checksum);
	}
	tcp = quoted_bytes(skb, p, q->transport, sizeof(*tcp));
	if (!tcp)
		return diff; /* cut off before the checksum, RFC 792 allows it */
	old = tcp->checksum;
	tcp->checksum = checksum_update(old, addresses + diff);
	return sum_replace(diff, old, tcp->checksum);
}

/* turn_back gives the quoted packet back its addresses and ports, and the error its checksum. */
static __always_inline bool turn_back(struct __sk_buff *skb, struct packet *p, const struct quote *q, const struct flow4 *flow)
{
	__u64 addresses = sum_replace(sum_replace(0, q->key.dst, flow->dst), q->key.src, flow->src);
	struct ipv4_header *ip = quoted_bytes(skb, p, q->header, sizeof(*ip));
	struct icmp_error *icmp;
	__u64 diff;

	if (!ip)
		return false;
	ip->src = flow->dst;
	ip->dst = flow->src;
	/* The header's checksum makes up for its addresses. */
	ip->checksum = checksum_update(ip->checksum, addresses);
	diff = turn_back_ports(skb, p, q, flow, addresses);
	icmp = transport_bytes(skb, p, sizeof(*icmp));
	if (!icmp)
		return false;
	icmp->checksum = checksum_update(icmp->checksum, diff);
	return true;
}

/*
 * rewrite_error4 translates an error. Who sent it stays visible, unless that is
 * the very endpoint whose address is translated.
 */
static __always_inline bool rewrite_error4(struct __sk_buff *skb, struct packet *p, const struct quote *q, const struct flow4 *flow, __u8 hops)
{
	return turn_back(skb, p, q, flow) &&
	       rewrite_header4(skb, p, p->key.src == q->key.src ? flow->src : p->key.src, flow->dst, hops);
}

#endif
