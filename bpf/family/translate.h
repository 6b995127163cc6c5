/* SPDX-License-Identifier: GPL-2.0-only */
/* Packets of flows, and ICMP errors about them. */

/*
 * carry translates a packet of a flow, unless it is an error that has been
 * translated already, and sends it where the flow leads. Like every function
 * that is not inlined, it is one so that the verifier follows it once, and not
 * from each of the ways that lead to it.
 */
__noinline int carry(struct __sk_buff *skb, packet_t *p, const flow_t *flow, bool translated)
{
	struct endpoint *endpoint = NULL;
	struct bpf_fib_lookup *fib = NULL;
	struct uplink *uplink;
	__u32 index, rule;
	__u8 target, hops;

	if (!p || !flow)
		return VERDICT_DROP;
	target = flow->head.target;
	index = target == TARGET_PEER ? flow->head.peer : flow->head.endpoint;
	hops = flow->head.hops;
	rule = flow->head.rule;
	if (p->fragment && !p->later && !translated)
		first_fragment(p);
	if (hops && p->ttl <= hops)
		return drop(p, REASON_TTL_EXCEEDED);
	if (target == TARGET_OUTSIDE) {
		fib = route(skb, p, flow->src, flow->dst, false);
		if (!fib)
			return VERDICT_DROP;
		uplink = route_uplink(fib);
		if (!uplink)
			return drop(p, REASON_NOT_AN_UPLINK);
		if (!same_addr(flow->src, uplink->AF(addr)) && !source_is_local(skb, flow)) {
			/*
			 * What the sender says next is a flow from another address. Without one
			 * the old may come back, as those of IPv6 do when a link was down.
			 */
			if (!translated && !is_zero(uplink->AF(addr)))
				flow_end(flow);
			return drop(p, REASON_NO_SOURCE);
		}
	} else if (target != TARGET_STACK) {
		endpoint = receiver(p, index);
		if (!endpoint)
			return VERDICT_DROP;
	}
	if (!translated && !rewrite(skb, p, flow, hops))
		return drop(p, REASON_REWRITE);
	count_translated(rule, p->length);
	if (!fib)
		return endpoint ? deliver(skb, p, endpoint) : to_stack(skb, p, flow);
	p->redirect = redirect_outside(skb, fib);
	return VERDICT_REDIRECT;
}

/* follow carries a packet of a flow. */
static __always_inline int follow(struct __sk_buff *skb, packet_t *p, const flow_t *flow)
{
	return carry(skb, p, flow, false);
}

/*
 * error carries an ICMP error about a packet of a flow, NO_VERDICT when it is
 * about none.
 */
__noinline int error(struct __sk_buff *skb, packet_t *p)
{
	quote_t quote = {};
	flow_t *flow;

	if (!p)
		return NO_VERDICT;
	flow = related(skb, p, &quote);
	if (!flow)
		return NO_VERDICT;
	/* A container tells of what it was sent itself. */
	if (p->sender && !same_addr(quote.key.src, p->key.src))
		return drop(p, REASON_SPOOFED_ADDRESS);
	if (flow->head.hops && p->ttl <= flow->head.hops)
		return drop(p, REASON_TTL_EXCEEDED);
	if (!rewrite_error(skb, p, &quote, flow))
		return drop(p, REASON_REWRITE);
	return carry(skb, p, flow, true);
}
