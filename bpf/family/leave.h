/* SPDX-License-Identifier: GPL-2.0-only */
/* How a packet leaves: delivered to a container, to the outside, or not at all. */

/* The endpoint at an index, if it may be delivered to; NULL sets the reason for a drop. */
static __always_inline struct endpoint *receiver(packet_t *p, __u32 index)
{
	struct endpoint *endpoint = bpf_map_lookup_elem(&endpoints, &index);

	if (!endpoint || !(endpoint->flags & ENDPOINT_READY)) {
		p->drop = endpoint ? REASON_NOT_READY : REASON_NO_ENDPOINT;
		return NULL;
	}
	return endpoint;
}

/*
 * deliver puts the packet into a receiver's namespace. redirect_peer skips
 * eth_type_trans, and kernels differ in what they scrub: type, mark and time
 * stamp are ours to set.
 */
static __always_inline int deliver(struct __sk_buff *skb, packet_t *p, const struct endpoint *endpoint)
{
	struct network *network = network_of(endpoint);

	if (!network || (!LINK_LEN && !add_link(skb)) || !write_macs(skb, p, endpoint->mac, network->mac))
		return drop(p, REASON_REWRITE);
	if (skb->pkt_type != PACKET_HOST && bpf_skb_change_type(skb, PACKET_HOST))
		return drop(p, REASON_REWRITE);
	skb->mark = 0;
	skb->tstamp = 0;
	p->redirect = bpf_redirect_peer(endpoint->ifindex, 0);
	return VERDICT_REDIRECT;
}

/*
 * to_stack leaves the packet to the host. The stack takes one for ::1 from no
 * device but lo (RFC 4291 2.5.3), so it comes in there; for 127.0.0.0/8
 * route_localnet does.
 */
static __always_inline int to_stack(struct __sk_buff *skb, packet_t *p, const flow_t *flow)
{
	const __u8 none[6] = {};

	if (FAMILY == 4 || !is_loopback(flow->dst))
		return VERDICT_PASS;
	if (!write_macs(skb, p, none, none))
		return drop(p, REASON_REWRITE);
	skb->mark = 0;
	skb->tstamp = 0;
	p->redirect = bpf_redirect(LOOPBACK_IFINDEX, BPF_F_INGRESS);
	return VERDICT_REDIRECT;
}

/* redirect_outside hands the packet to the next hop of a route, and returns what the redirect helper does. */
static __always_inline int redirect_outside(struct __sk_buff *skb, const struct bpf_fib_lookup *fib)
{
	struct bpf_redir_neigh hop = { .nh_family = fib->family };

	__builtin_memcpy(hop.ipv6_nh, fib->ipv6_dst, sizeof(hop.ipv6_nh));
	skb->mark = 0;
	skb->tstamp = 0;
	return bpf_redirect_neigh(fib->ifindex, &hop, sizeof(hop), 0);
}

/*
 * Whether somebody's connection is gone for good. One that is being opened to
 * nobody may find somebody at its next try.
 */
static __always_inline bool lost_connection(const packet_t *p)
{
	return p->key.protocol == IPPROTO_TCP && !p->later &&
	       (p->drop == REASON_NO_FLOW || (p->drop == REASON_NO_ENDPOINT && !tcp_opens(p)));
}

/* leave counts the verdict and turns it into what tc understands. */
static __always_inline int leave(struct __sk_buff *skb, packet_t *p, enum hook hook, int verdict)
{
	count(&packet_counts, hook * VERDICTS + verdict);
	switch (verdict) {
	case VERDICT_PASS:
		return p->final ? TC_ACT_OK : TCX_NEXT;
	case VERDICT_REDIRECT:
		return p->redirect;
	}
	count(&drop_counts, p->drop);
	if (observe)
		report_drop(skb, p->drop, hook);
	if (p->drop == REASON_TTL_EXCEEDED || p->drop == REASON_MTU_EXCEEDED)
		return answer(skb, p);
	/* From the host's own stack, the answer goes back up. */
	if (lost_connection(p))
		return answer_reset(skb, p, hook == HOOK_BRIDGE ? BPF_F_INGRESS : 0);
	return TC_ACT_SHOT;
}
