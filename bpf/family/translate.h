/* SPDX-License-Identifier: GPL-2.0-only */
/* Packets of flows, and ICMP errors about them. */

/*
 * may_leave finds the way to where the packet's flow leads; false sets the reason for
 * a drop.
 */
static __always_inline bool may_leave(struct __sk_buff *skb, packet_t *p, const flow_t *flow, bool translated)
{
	struct bpf_fib_lookup *fib;
	struct uplink *uplink;

	if (p->target == TARGET_STACK)
		return true;
	if (p->target != TARGET_OUTSIDE)
		return receiver(p, p->receiver);
	fib = route(skb, p, flow->src, flow->dst, false);
	if (!fib)
		return false;
	uplink = route_uplink(fib);
	if (!uplink) {
		p->drop = REASON_NOT_AN_UPLINK;
		return false;
	}
	if (same_addr(flow->src, uplink->AF(addr)) || source_is_local(skb, flow))
		return true;
	/*
	 * What the sender says next is a flow from another address. Without one
	 * the old may come back, as those of IPv6 do when a link was down.
	 */
	if (!translated && !is_zero(uplink->AF(addr)))
		flow_end(flow);
	p->drop = REASON_NO_SOURCE;
	return false;
}

/* send lets a translated packet go where may_leave has found the way. */
static __always_inline int send(struct __sk_buff *skb, packet_t *p, const flow_t *flow)
{
	struct endpoint *endpoint;
	struct bpf_fib_lookup *fib;
	__u32 index;

	if (p->target == TARGET_STACK)
		return to_stack(skb, p, flow);
	if (p->target == TARGET_OUTSIDE) {
		fib = this_route();
		if (!fib)
			return VERDICT_DROP;
		p->redirect = redirect_outside(skb, fib);
		return VERDICT_REDIRECT;
	}
	index = p->receiver;
	endpoint = bpf_map_lookup_elem(&endpoints, &index);
	return endpoint ? deliver(skb, p, endpoint) : drop(p, REASON_NO_ENDPOINT);
}

/*
 * carry translates a packet of a flow, unless it is an error that has been
 * translated already, and sends it where the flow leads. Like every function
 * that is not inlined, it is one so that the verifier follows it once, and not
 * from each of the ways that lead to it. What it has found out lies in the packet
 * and not in variables: the verifier follows what comes behind once for each thing
 * that they may be.
 */
__noinline int carry(struct __sk_buff *skb, packet_t *p, const flow_t *flow, bool translated)
{
	__u32 rule;

	if (!p || !flow)
		return VERDICT_DROP;
	p->target = flow->head.target;
	p->receiver = p->target == TARGET_PEER ? flow->head.peer : flow->head.endpoint;
	p->hops = flow->head.hops;
	rule = flow->head.rule;
	if (p->fragment && !p->later && !translated)
		first_fragment(p);
	if (p->hops && p->ttl <= p->hops)
		return drop(p, REASON_TTL_EXCEEDED);
	if (!may_leave(skb, p, flow, translated))
		return VERDICT_DROP;
	if (!translated && !rewrite(skb, p, flow, p->hops))
		return drop(p, REASON_REWRITE);
	count_translated(rule, p->length);
	return send(skb, p, flow);
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
