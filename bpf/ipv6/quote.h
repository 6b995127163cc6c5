/* SPDX-License-Identifier: GPL-2.0-only */
/* The IPv6 header that an ICMPv6 error quotes; ../ipv4/quote.h has the same for IPv4. */

/*
 * parse_quote_header6 fills the addresses and the protocol of an answer to the
 * quoted packet, and where its transport header is. Of the extension headers
 * only a first fragment's is walked over: hosts hardly send others.
 */
static __always_inline bool parse_quote_header6(struct __sk_buff *skb, struct packet6 *p, struct quote6 *q)
{
	struct ipv6_header *ip = quoted_bytes6(skb, p, q->header, sizeof(*ip));
	struct ipv6_fragment *fragment;

	if (!ip || (ip->version_class_flow & bpf_htonl(0xf0000000)) != bpf_htonl(0x60000000))
		return false;
	q->transport = q->header + sizeof(*ip);
	q->key.src = ip->dst;
	q->key.dst = ip->src;
	q->key.protocol = ip->next;
	if (q->key.protocol != IPPROTO_FRAGMENT)
		return true;
	fragment = quoted_bytes6(skb, p, q->transport, sizeof(*fragment));
	if (!fragment || fragment->offset & bpf_htons(IPV6_OFFSET_MASK))
		return false;
	q->transport += sizeof(*fragment);
	q->key.protocol = fragment->next;
	return true;
}

/* turn_back_header6 gives the quoted header its old addresses; it has no checksum. */
static __always_inline bool turn_back_header6(struct __sk_buff *skb, struct packet6 *p, const struct quote6 *q,
					      const struct flow6 *flow, __u64 addresses)
{
	struct ipv6_header *ip = quoted_bytes6(skb, p, q->header, sizeof(*ip));

	if (!ip)
		return false;
	ip->src = flow->dst;
	ip->dst = flow->src;
	return true;
}
