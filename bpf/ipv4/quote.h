/* SPDX-License-Identifier: GPL-2.0-only */
/* The IPv4 header that an ICMP error quotes; ../ipv6/quote.h has the same for IPv6. */

/*
 * parse_quote_header4 fills the addresses and the protocol of an answer to the
 * quoted packet, and where its transport header is.
 */
static __always_inline bool parse_quote_header4(struct __sk_buff *skb, struct packet4 *p, struct quote4 *q)
{
	struct ipv4_header *ip = quoted_bytes4(skb, p, q->header, sizeof(*ip));
	__u32 header_len;

	if (!ip || ip->version_ihl >> 4 != 4 || ip->fragment & bpf_htons(IPV4_OFFSET_MASK))
		return false;
	header_len = (ip->version_ihl & 0xf) * 4;
	if (header_len < sizeof(*ip) || q->header + header_len > LINK_LEN + p->length)
		return false;
	q->transport = q->header + header_len;
	q->key.src = ip->dst;
	q->key.dst = ip->src;
	q->key.protocol = ip->protocol;
	return true;
}

/* turn_back_header4 gives the quoted header its old addresses, which add `addresses` to a sum. */
static __always_inline bool turn_back_header4(struct __sk_buff *skb, struct packet4 *p, const struct quote4 *q,
					      const struct flow4 *flow, __u64 addresses)
{
	struct ipv4_header *ip = quoted_bytes4(skb, p, q->header, sizeof(*ip));

	if (!ip)
		return false;
	ip->src = flow->dst;
	ip->dst = flow->src;
	ip->checksum = checksum_update(ip->checksum, addresses);
	return true;
}
