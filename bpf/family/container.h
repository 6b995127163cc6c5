/* SPDX-License-Identifier: GPL-2.0-only */
/* What containers send: the body of hook `container`. */
#include "base.h"
#include "publish.h"
#include "alias.h"
#include "neighbour.h"
#include "fast.h"
#include "next_hop.h"
#include "fast_out.h"

__noinline int tells_own(struct __sk_buff *skb, packet_t *p);

#if FAMILY == 4
#include "../ipv4/container.h"
#else
#include "../ipv6/nd.h"
#include "../ipv6/container.h"
#endif

/*
 * Whether an ICMP error is about what its sender was sent. Others' packets never
 * pass a container; and the host would believe what it hears of its own, and
 * narrow every network's way to a destination.
 */
__noinline int tells_own(struct __sk_buff *skb, packet_t *p)
{
	quote_t quote = {};
	struct sender s;

	if (!p || !sender_find(skb, &s))
		return false;
	quote.header = p->transport + sizeof(struct icmp_error);
	return parse_quote_header(skb, p, &quote) && own_address(quote.key.src, s.endpoint);
}

/* Inside the own network, without a flow: a neighbour, or an alias's members. */
static __always_inline int to_own_network(struct __sk_buff *skb, packet_t *p)
{
	__u32 *index = neighbour(p->key.dst);
	int verdict;

	if (index)
		return to_neighbour(skb, p, *index);
	verdict = balance(skb, p);
	return verdict == NO_VERDICT ? drop(p, REASON_NO_ENDPOINT) : verdict;
}

/* masquerade prepares the flow from the sender to the outside; NO_VERDICT when it has. */
__noinline int masquerade(struct __sk_buff *skb, packet_t *p)
{
	flow_t *flow = opening();
	struct bpf_fib_lookup *fib;
	struct uplink *uplink;
	struct sender s;
	addr_t zero = {};
	__u16 reason;

	if (!p || !flow || !sender_find(skb, &s))
		return VERDICT_DROP;
	if (!s.network->rule)
		return drop(p, REASON_INTERNAL);
	reason = untranslatable(p);
	if (!reason && p->ttl <= 1)
		reason = REASON_TTL_EXCEEDED;
	if (reason)
		return drop(p, reason);
	fib = route(skb, p, zero, p->key.dst, true);
	if (!fib)
		return VERDICT_DROP;
	uplink = route_uplink(fib);
	if (!uplink)
		return drop(p, REASON_NOT_AN_UPLINK);
	flow_begin(flow, s.index, s.network->rule);
	flow->src = source_of(fib, uplink);
	if (is_zero(flow->src))
		return drop(p, REASON_NO_SOURCE);
	flow->head.hops = 1;
	flow->head.target = TARGET_OUTSIDE;
	flow->head.back_target = TARGET_ENDPOINT;
	flow->head.back_zone = ZONE_OUTSIDE;
	flow->dst = p->key.dst;
	flow->dport = p->key.dport;
	return NO_VERDICT;
}

/* open_masqueraded opens it. A function of its own, since the two need more stack than there is. */
__noinline int open_masqueraded(struct __sk_buff *skb, packet_t *p)
{
	flow_t *flow = opening();

	if (!p || !flow)
		return VERDICT_DROP;
	return snat_claim(skb, true) ? open_flow(p, flow) : drop(p, REASON_MASQUERADE_EXHAUSTED);
}

/* Whether a published port leads out of an internal network. */
static __always_inline bool leaves_internal(const struct sender *s, __u32 index)
{
	struct rule *rule = bpf_map_lookup_elem(&rules, &index);
	struct endpoint *to;
	__u32 owner;

	if (s->network->rule || !rule)
		return false;
	owner = rule->endpoint;
	to = bpf_map_lookup_elem(&endpoints, &owner);
	return to && to->network != s->endpoint->network;
}

/* To an address of the host: one of its published ports, or the host itself. */
static __always_inline int to_host(struct __sk_buff *skb, packet_t *p, const struct sender *s)
{
	__u32 rule = published_to(skb, p);

	if (!rule)
		return flow_is_carried(skb, p) ? drop(p, REASON_NO_FLOW) : VERDICT_PASS;
	return leaves_internal(s, rule) ? drop(p, REASON_INTERNAL) : publish(skb, p, rule);
}

static __always_inline bool address_of_host(const packet_t *p, const struct sender *s)
{
	addr_t dst = p->key.dst;
	struct host_addr *host = bpf_map_lookup_elem(&AF(host_addrs), &dst);

	/* Another network's gateway is an address of that network. */
	return host && (!host->network || host->network == s->endpoint->network);
}

/* What is of no flow: it may open one, or be about one. */
static __always_inline int without_flow(struct __sk_buff *skb, packet_t *p, const struct sender *s)
{
	int verdict = p->icmp_error ? error(skb, p) : NO_VERDICT;

	if (verdict != NO_VERDICT)
		return verdict;
	if (in_own_network(p->key.dst, s))
		return to_own_network(skb, p);
	if (address_of_host(p, s))
		return to_host(skb, p, s);
	if (address_of_a_network(p->key.dst))
		return drop(p, REASON_ISOLATION);
	verdict = masquerade(skb, p);
	return verdict == NO_VERDICT ? open_masqueraded(skb, p) : verdict;
}

static __always_inline int container_ip(struct __sk_buff *skb, packet_t *p, const struct sender *s,
					const found_t *found)
{
	flow_t *flow;
	__u32 *index;
	int verdict;

	if (FAMILY == 6 && is_zero(s->endpoint->AF(addr)))
		return drop(p, REASON_IPV6_DISABLED);
	p->sender = s->index;
	p->self = s->network->AF(gateway);
	if (!parse_ip(skb, p))
		return drop(p, REASON_MALFORMED);
	verdict = check_source(skb, p, s);
	if (verdict != NO_VERDICT)
		return verdict;
	p->key.zone = s->endpoint->network;
	/* Nobody reaches the sender by translation: its neighbours have no flows with it. */
	if (in_own_network(p->key.dst, s) && !(s->endpoint->flags & ENDPOINT_TRANSLATED)) {
		index = neighbour(p->key.dst);
		if (index)
			return to_neighbour(skb, p, *index);
	}
	flow = flow_of(p, found);
	if (!flow) {
		verdict = without_flow(skb, p, s);
		if (verdict != OPENED)
			return verdict;
		flow = opened();
	}
	return flow ? follow(skb, p, flow) : VERDICT_DROP;
}

static __always_inline int from_container(struct __sk_buff *skb, packet_t *p, const struct sender *s, const found_t *found)
{
	struct eth_header *eth;

	if (!s)
		return drop(p, REASON_UNKNOWN_DEVICE);
	p->final = s->endpoint->flags & ENDPOINT_FINAL;
	eth = bytes(skb, 0, sizeof(*eth));
	if (!eth)
		return drop(p, REASON_MALFORMED);
	if (!same_mac(eth->src, s->endpoint->mac))
		return drop(p, REASON_SPOOFED_MAC);
	if (skb->vlan_present)
		return drop(p, REASON_ETHERTYPE);
	return eth->type == bpf_htons(AF(ETH_P_IP)) ? container_ip(skb, p, s, found) : container_other(skb, p, s, eth->type);
}

static __always_inline int container_hook(struct __sk_buff *skb)
{
	found_t found = {};
	struct sender s = {};
	bool known = sender_find(skb, &s);
	int code = known ? fast_out(skb, &s, &found) : NO_VERDICT;
	packet_t *p;

	if (code != NO_VERDICT)
		return code;
	p = new_packet();
	return p ? leave(skb, p, HOOK_CONTAINER, from_container(skb, p, known ? &s : NULL, &found)) : TC_ACT_SHOT;
}
