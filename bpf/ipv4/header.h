/* SPDX-License-Identifier: GPL-2.0-only */
/* The IPv4 header, RFC 791; ../ipv6/header.h has the same for IPv6. */

/*
 * parse_ip4 fills everything but the key's zone. Later fragments and protocols
 * without ports leave has_ports false; false is returned for what no correct
 * host sends.
 */
static __always_inline bool parse_ip4(struct __sk_buff *skb, struct packet4 *p)
{
	struct ipv4_header *ip = bytes(skb, LINK_LEN, sizeof(*ip));
	__u32 header_len;

	if (!ip || ip->version_ihl >> 4 != 4)
		return false;
	header_len = (ip->version_ihl & 0xf) * 4;
	p->length = whole_length(skb, bpf_ntohs(ip->total_len), 0);
	if (header_len < sizeof(*ip) || p->length < header_len || LINK_LEN + p->length > skb->len)
		return false;
	p->transport = LINK_LEN + header_len;
	p->ttl = ip->ttl;
	p->fragment = ip->fragment & bpf_htons(IPV4_FRAGMENT_MASK);
	p->later = ip->fragment & bpf_htons(IPV4_OFFSET_MASK);
	p->id = ip->id;
	p->key.src = ip->src;
	p->key.dst = ip->dst;
	p->key.protocol = ip->protocol;
	return p->later || parse_transport4(skb, p);
}

/* Whether the transport header of a whole packet follows at once. */
static __always_inline bool is_plain4(const struct ipv4_header *ip)
{
	return ip->version_ihl == 0x45 && !(ip->fragment & bpf_htons(IPV4_FRAGMENT_MASK));
}

static __always_inline __u32 ip_length4(const struct ipv4_header *ip)
{
	return bpf_ntohs(ip->total_len);
}

static __always_inline __u8 ip_protocol4(const struct ipv4_header *ip)
{
	return ip->protocol;
}

static __always_inline __u8 ip_ttl4(const struct ipv4_header *ip)
{
	return ip->ttl;
}

/* set_header4 gives the header its addresses and takes hops from its TTL. */
static __always_inline void set_header4(struct ipv4_header *ip, __be32 src, __be32 dst, __u8 hops)
{
	__u64 diff = sum_replace(sum_replace(0, ip->src, src), ip->dst, dst);
	ip->src = src;
	ip->dst = dst;
	/* The TTL is the first byte of its 16-bit word on the wire. */
	diff = sum_replace(diff, bpf_htons((__u16)ip->ttl << 8), bpf_htons((__u16)(ip->ttl - hops) << 8));
	ip->ttl -= hops;
	ip->checksum = checksum_update(ip->checksum, diff);
}

static __always_inline bool rewrite_header4(struct __sk_buff *skb, __be32 src, __be32 dst, __u8 hops)
{
	struct ipv4_header *ip = bytes(skb, LINK_LEN, sizeof(*ip));

	if (!ip)
		return false;
	set_header4(ip, src, dst, hops);
	return true;
}
