/* SPDX-License-Identifier: GPL-2.0-only */
/* Packets of flows, and ICMP errors about them. */
#ifndef SLUICE_TRANSLATE_H
#define SLUICE_TRANSLATE_H

#include "fragment.h"
#include "leave.h"
#include "related.h"

/*
 * carry4 translates a packet of a flow, or with `quote` an error about one of
 * the other half's, and sends it where the flow leads. Like every function that
 * is not inlined, it is one so that the verifier follows it once, and not from
 * each of the ways that lead to it.
 */
__noinline int carry4(struct __sk_buff *skb, struct packet *p, const struct flow4 *flow, const struct quote *quote)
{
	struct endpoint *endpoint = NULL;
	struct bpf_fib_lookup fib;
	__u32 index, rule;
	__u8 target, hops;
	__u16 reason;

	if (!p || !flow)
		return VERDICT_DROP;
	target = flow->head.target;
	index = target == TARGET_PEER ? flow->head.peer : flow->head.endpoint;
	hops = flow->head.hops;
	rule = flow->head.rule;
	if (p->fragment && !p->later && !quote)
		first_fragment4(p);
	if (hops && p->ttl <= hops)
		return drop(p, REASON_TTL_EXCEEDED);
	if (target == TARGET_OUTSIDE) {
		reason = route_ipv4(skb, p, flow->src, flow->dst, false, &fib);
		if (reason)
			return drop(p, reason);
		if (!route_uplink(&fib))
			return drop(p, REASON_NOT_AN_UPLINK);
	} else if (target != TARGET_STACK) {
		endpoint = receiver(p, index);
		if (!endpoint)
			return VERDICT_DROP;
	}
	if (!(quote ? rewrite_error4(skb, p, quote, flow, hops) : rewrite_ipv4(skb, p, flow, hops)))
		return drop(p, REASON_REWRITE);
	count_translated(rule, p->length);
	if (target == TARGET_OUTSIDE)
		return send_outside(skb, p, &fib);
	return endpoint ? deliver(skb, p, endpoint) : VERDICT_PASS;
}

/* follow4 carries a packet of a flow. */
static __always_inline int follow4(struct __sk_buff *skb, struct packet *p, const struct flow4 *flow)
{
	return carry4(skb, p, flow, NULL);
}

/* What a function says of a packet that is none of its business. */
#define NO_VERDICT (-1)

/*
 * error4 carries an ICMP error about a packet of a flow, NO_VERDICT when it is
 * about none.
 */
__noinline int error4(struct __sk_buff *skb, struct packet *p)
{
	struct quote quote = {};
	struct flow4 *flow;

	if (!p)
		return NO_VERDICT;
	flow = related4(skb, p, &quote);
	if (!flow)
		return NO_VERDICT;
	/* A container tells of what it was sent itself. */
	if (p->sender && quote.key.src != p->key.src)
		return drop(p, REASON_SPOOFED_ADDRESS);
	return carry4(skb, p, flow, &quote);
}

#endif
