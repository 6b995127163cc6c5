/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ICMP errors that the host's stack cannot send for us, because it does not
 * forward: time exceeded and packet too big. The packet itself becomes the
 * error and goes back to where it came from.
 */

/* The headers that are put in front of what is quoted. */
#define ANSWER_HEADERS (sizeof(ip_header_t) + sizeof(struct icmp_error))

/* The one's complement sum of what is quoted, the ICMP header before it included. */
static __always_inline bool answer_sum(struct __sk_buff *skb, __u32 quoted, __u64 *sum)
{
	__u8 message[sizeof(struct icmp_error) + AF(ANSWER_QUOTE_MAX)] = {};
	__u32 len = sizeof(struct icmp_error) + quoted;

	if (len > sizeof(message) || bpf_skb_load_bytes(skb, LINK_LEN + sizeof(ip_header_t), message, len))
		return false;
	*sum += (__u32)bpf_csum_diff(NULL, 0, (__be32 *)message, sizeof(message), 0);
	return true;
}

/* Back to the device that the packet came from. */
static __always_inline bool swap_macs(struct __sk_buff *skb)
{
	struct eth_header *eth = bytes(skb, 0, sizeof(*eth));
	__u8 mac[6];

	if (!LINK_LEN)
		return true;
	if (!eth)
		return false;
	__builtin_memcpy(mac, eth->dst, sizeof(mac));
	__builtin_memcpy(eth->dst, eth->src, sizeof(mac));
	__builtin_memcpy(eth->src, mac, sizeof(mac));
	return true;
}

static __always_inline bool write_icmp(struct __sk_buff *skb, packet_t *p, __u32 quoted)
{
	struct icmp_error *icmp = bytes(skb, LINK_LEN + sizeof(ip_header_t), sizeof(*icmp));
	__u64 sum = answer_pseudo(p, sizeof(*icmp) + quoted);

	if (!icmp)
		return false;
	*icmp = answer_header(p);
	if (!answer_sum(skb, quoted, &sum))
		return false;
	icmp = bytes(skb, LINK_LEN + sizeof(ip_header_t), sizeof(*icmp));
	if (!icmp)
		return false;
	icmp->checksum = checksum_update(0xffff, sum);
	return true;
}

/*
 * answer turns a packet that is dropped into an error to its sender, and
 * returns what the redirect helper says; TC_ACT_SHOT when there is none.
 */
__noinline int answer(struct __sk_buff *skb, packet_t *p)
{
	__u32 quoted;

	if (!p || is_zero(p->self) || is_zero(p->key.src) || is_loopback(p->key.src) || is_multicast(p->key.src) ||
	    !answerable(skb, p) || !answer_allowed(p->sender))
		return TC_ACT_SHOT;
	quoted = p->transport - LINK_LEN + ANSWER_TRANSPORT;
	if (quoted > p->length)
		quoted = p->length;
	if (quoted > AF(ANSWER_QUOTE_MAX))
		return TC_ACT_SHOT;
	/* Cutting comes first: it ends GSO, which growing would refuse. */
	if (bpf_skb_change_tail(skb, LINK_LEN + quoted, 0) ||
	    bpf_skb_adjust_room(skb, ANSWER_HEADERS, BPF_ADJ_ROOM_MAC, 0) ||
	    !write_answer(skb, p->self, p->key.src, AF(IPPROTO_ICMP), sizeof(struct icmp_error) + quoted) ||
	    !write_icmp(skb, p, quoted) || !swap_macs(skb))
		return TC_ACT_SHOT;
	skb->mark = 0;
	skb->tstamp = 0;
	return bpf_redirect(skb->ifindex, 0);
}
