/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Resets, RFC 9293 3.10.7.1: segments of no connection that are dropped for that
 * reach nobody who could answer them, and whoever sent one would try for a
 * quarter of an hour.
 */

/* What answers a segment that carries `length` bytes behind its header. */
static __always_inline struct tcp_header reset_for(const struct tcp_header *tcp, __u32 length)
{
	struct tcp_header reset = {
		.sport = tcp->dport,
		.dport = tcp->sport,
		.data_offset = sizeof(reset) / 4 << 4,
		.flags = TCP_RST,
	};

	if (tcp->flags & TCP_ACK) {
		reset.seq = tcp->ack;
		return reset;
	}
	reset.flags |= TCP_ACK;
	reset.ack = bpf_htonl(bpf_ntohl(tcp->seq) + length + !!(tcp->flags & TCP_SYN) + !!(tcp->flags & TCP_FIN));
	return reset;
}

static __always_inline bool write_reset(struct __sk_buff *skb, const packet_t *p, struct tcp_header *reset)
{
	struct tcp_header *tcp = bytes(skb, LINK_LEN + sizeof(ip_header_t), sizeof(*tcp));
	addr_t zero = {};
	__u64 sum;

	if (!tcp)
		return false;
	sum = sum_fold32(addr_diff(addr_diff(0, zero, p->key.src), zero, p->key.dst));
	sum += (__u64)bpf_htonl(sizeof(*reset)) + bpf_htonl(IPPROTO_TCP);
	sum += (__u32)bpf_csum_diff(NULL, 0, (__be32 *)reset, sizeof(*reset), 0);
	reset->checksum = checksum_update(0xffff, sum);
	*tcp = *reset;
	return true;
}

/*
 * answer_reset turns a segment that is dropped into a reset to its sender, which
 * `flags` of bpf_redirect lead to, and returns what the helper says; TC_ACT_SHOT
 * when there is none.
 */
__noinline int answer_reset(struct __sk_buff *skb, packet_t *p, __u64 flags)
{
	struct tcp_header *tcp, reset;

	if (!p)
		return TC_ACT_SHOT;
	tcp = transport_bytes(skb, p, sizeof(*tcp));
	if (!tcp || tcp->flags & TCP_RST || flows_are_carried() || !answer_allowed(p->sender))
		return TC_ACT_SHOT;
	reset = reset_for(tcp, p->length + LINK_LEN - p->transport - (tcp->data_offset >> 4) * 4);
	if (bpf_skb_change_tail(skb, LINK_LEN + sizeof(ip_header_t) + sizeof(reset), 0) ||
	    !write_answer(skb, p->key.dst, p->key.src, IPPROTO_TCP, sizeof(reset)) || !write_reset(skb, p, &reset) ||
	    !swap_macs(skb))
		return TC_ACT_SHOT;
	skb->mark = 0;
	skb->tstamp = 0;
	return bpf_redirect(skb->ifindex, flags);
}
