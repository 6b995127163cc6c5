/* SPDX-License-Identifier: GPL-2.0-only */
/* ICMP errors of our own, RFC 792 and 1191; ../ipv6/answer.h has the same for IPv6. */

/* A header with options, and behind it as much as has TCP's checksum. */
#define ANSWER_QUOTE_MAX4 (60 + ANSWER_TRANSPORT)

/* RFC 1122 3.2.2: no error about an error or a later fragment. */
static __always_inline bool answerable4(struct __sk_buff *skb, const struct packet4 *p)
{
	return !p->later && (p->key.protocol != IPPROTO_ICMP4 || p->has_ports);
}

/* What the pseudo header adds to the checksum: there is none. */
static __always_inline __u64 answer_pseudo4(const struct packet4 *p, __u32 length)
{
	return 0;
}

static __always_inline struct icmp_error answer_header4(const struct packet4 *p)
{
	struct icmp_error icmp = { .type = ICMP_TIME_EXCEEDED4 };

	if (p->drop == REASON_MTU_EXCEEDED) {
		icmp.type = ICMP_UNREACHABLE;
		icmp.code = ICMP_FRAGMENTATION_NEEDED;
		icmp.mtu = bpf_htonl(p->mtu);
	}
	return icmp;
}

/* write_answer4 writes the IPv4 header in front of `length` bytes of a protocol. */
static __always_inline bool write_answer4(struct __sk_buff *skb, __be32 src, __be32 dst, __u8 protocol, __u32 length)
{
	struct ipv4_header *ip = bytes(skb, LINK_LEN, sizeof(*ip));

	if (!ip)
		return false;
	*ip = (struct ipv4_header){
		.version_ihl = 0x45,
		.tos = ANSWER_CLASS,
		.total_len = bpf_htons(sizeof(*ip) + length),
		.ttl = ANSWER_TTL,
		.protocol = protocol,
		.src = src,
		.dst = dst,
	};
	/* Inserting a sum of zero words leaves the sum of all words, complemented. */
	ip->checksum = checksum_update(0xffff, (__u32)bpf_csum_diff(NULL, 0, (__be32 *)ip, sizeof(*ip), 0));
	return true;
}
