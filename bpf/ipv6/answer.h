/* SPDX-License-Identifier: GPL-2.0-only */
/* ICMPv6 errors of our own, RFC 4443; ../ipv4/answer.h has the same for IPv4. */

/*
 * A header, some extensions and what tells the flow. RFC 4443 would have as much
 * of the packet as fits; but its sum is made on the stack, and receivers look no
 * further.
 */
#define ANSWER_QUOTE_MAX6 (40 + 40 + ANSWER_TRANSPORT)

/* RFC 4443 2.4 (e): no error about an error. A later fragment may be too big. */
static __always_inline bool answerable6(struct __sk_buff *skb, const struct packet6 *p)
{
	return p->key.protocol != IPPROTO_ICMP6 || p->has_ports || p->later;
}

/* What the pseudo header adds to the checksum of `length` bytes. */
static __always_inline __u64 answer_pseudo6(const struct packet6 *p, __u32 length)
{
	struct addr6 zero = {};

	return sum_fold32(addr_diff6(addr_diff6(0, zero, p->self), zero, p->key.src)) + (__u64)bpf_htonl(length) +
	       bpf_htonl(IPPROTO_ICMP6);
}

static __always_inline struct icmp_error answer_header6(const struct packet6 *p)
{
	struct icmp_error icmp = { .type = ICMP_TIME_EXCEEDED6 };

	if (p->drop == REASON_MTU_EXCEEDED) {
		icmp.type = ICMP_PACKET_TOO_BIG;
		icmp.mtu = bpf_htonl(p->mtu);
	}
	return icmp;
}

/* write_answer6 writes the IPv6 header in front of `length` bytes of a protocol. */
static __always_inline bool write_answer6(struct __sk_buff *skb, struct addr6 src, struct addr6 dst, __u8 protocol,
					  __u32 length)
{
	struct ipv6_header *ip = bytes(skb, LINK_LEN, sizeof(*ip));

	if (!ip)
		return false;
	*ip = (struct ipv6_header){
		.version_class_flow = bpf_htonl(0x60000000 | ANSWER_CLASS << 20),
		.payload_len = bpf_htons(length),
		.next = protocol,
		.hop_limit = ANSWER_TTL,
		.src = src,
		.dst = dst,
	};
	return true;
}
