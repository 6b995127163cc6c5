/* SPDX-License-Identifier: GPL-2.0-only */
/* Changing a packet's addresses, ports and TTL, with their checksums. */
#ifndef SLUICE_REWRITE_H
#define SLUICE_REWRITE_H

#include "parse.h"

#define TCP_CHECKSUM 16
#define UDP_CHECKSUM 6
#define ICMP_CHECKSUM 2

/* RFC 1624: the difference that replacing `from` by `to` makes to a sum. */
static __always_inline __u64 sum_replace(__u64 sum, __u32 from, __u32 to)
{
	return sum + (__u32)~from + to;
}

static __always_inline __wsum sum_fold32(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (sum & 0xffffffff) + (sum >> 32);
}

/* The checksum field after a change by diff. */
static __always_inline __u16 checksum_update(__u16 checksum, __u64 diff)
{
	__u64 sum = (__u16)~checksum + diff;

	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/*
 * transport_checksum hands both differences to the kernel, which knows whether
 * the field holds a whole checksum or, for CHECKSUM_PARTIAL, the pseudo header's.
 */
static __always_inline bool transport_checksum(struct __sk_buff *skb, struct packet *p, __wsum addresses, __wsum ports)
{
	__u64 flags = 0;
	__u32 offset;

	switch (p->key.protocol) {
	case IPPROTO_TCP:
		offset = p->transport + TCP_CHECKSUM;
		break;
	case IPPROTO_UDP:
		offset = p->transport + UDP_CHECKSUM;
		flags = BPF_F_MARK_MANGLED_0;
		break;
	default: /* ICMP has no pseudo header */
		offset = p->transport + ICMP_CHECKSUM;
		addresses = 0;
	}
	if (addresses && bpf_l4_csum_replace(skb, offset, 0, addresses, flags | BPF_F_PSEUDO_HDR))
		return false;
	return !ports || !bpf_l4_csum_replace(skb, offset, 0, ports, flags);
}

static __always_inline bool write_ports(struct __sk_buff *skb, struct packet *p, const struct flow4 *to)
{
	struct icmp_echo *icmp;
	struct udp_header *ports;

	if (p->key.protocol == IPPROTO_ICMP) {
		icmp = transport_bytes(skb, p, sizeof(*icmp));
		if (!icmp)
			return false;
		icmp->id = p->key.echo_reply ? to->dport : to->sport;
		return true;
	}
	ports = transport_bytes(skb, p, sizeof(*ports)); /* TCP's begin alike */
	if (!ports)
		return false;
	ports->sport = to->sport;
	ports->dport = to->dport;
	return true;
}

/* rewrite_header4 gives the IPv4 header its addresses and takes hops from its TTL. */
static __always_inline bool rewrite_header4(struct __sk_buff *skb, struct packet *p, __be32 src, __be32 dst, __u8 hops)
{
	struct ipv4_header *ip = bytes(skb, ETH_LEN, sizeof(*ip));
	__u64 diff;

	if (!ip)
		return false;
	diff = sum_replace(sum_replace(0, ip->src, src), ip->dst, dst);
	ip->src = src;
	ip->dst = dst;
	/* The TTL is the first byte of its 16-bit word on the wire. */
	diff = sum_replace(diff, bpf_htons((__u16)ip->ttl << 8), bpf_htons((__u16)(ip->ttl - hops) << 8));
	ip->ttl -= hops;
	ip->checksum = checksum_update(ip->checksum, diff);
	return true;
}

/*
 * rewrite_ipv4 gives the packet the addresses and ports of `to` and takes `hops`
 * from its TTL, which the caller has checked.
 */
static __always_inline bool rewrite_ipv4(struct __sk_buff *skb, struct packet *p, const struct flow4 *to, __u8 hops)
{
	__u64 addresses = sum_replace(sum_replace(0, p->key.src, to->src), p->key.dst, to->dst);
	__u64 ports = sum_replace(sum_replace(0, p->key.sport, to->sport), p->key.dport, to->dport);
	bool same_addresses = p->key.src == to->src && p->key.dst == to->dst;
	bool same_ports = p->key.sport == to->sport && p->key.dport == to->dport;

	/* Only the first fragment has ports, and the checksum over all of them. */
	if (p->later)
		return rewrite_header4(skb, p, to->src, to->dst, hops);
	if (!transport_checksum(skb, p, same_addresses ? 0 : sum_fold32(addresses), same_ports ? 0 : sum_fold32(ports)) ||
	    (!same_ports && !write_ports(skb, p, to)))
		return false;
	return rewrite_header4(skb, p, to->src, to->dst, hops);
}

static __always_inline bool write_macs(struct __sk_buff *skb, struct packet *p, const __u8 *dst, const __u8 *src)
{
	struct eth_header *eth = bytes(skb, 0, sizeof(*eth));

	if (!eth)
		return false;
	__builtin_memcpy(eth->dst, dst, sizeof(eth->dst));
	__builtin_memcpy(eth->src, src, sizeof(eth->src));
	return true;
}

#endif
