/* SPDX-License-Identifier: GPL-2.0-only */
/* What comes from outside: the body of hook `uplink`. */
#include "base.h"
#include "publish.h"
#include "fast.h"
#include "fast_in.h"

static __always_inline bool address_of_host(addr_t addr)
{
	struct host_addr *host = bpf_map_lookup_elem(&AF(host_addrs), &addr);

	return host && !host->network;
}

/* What no flow and no published port has taken. */
static __always_inline int not_ours(packet_t *p)
{
	return address_of_a_network(p->key.dst) ? drop(p, REASON_UNPUBLISHED) : VERDICT_PASS;
}

/*
 * Whether a source is one that the stack would refuse, whom a published port
 * passes by: one that no host has, or one of ours, which nobody outside has.
 */
static __always_inline bool martian_source(const packet_t *p)
{
	addr_t src = p->key.src;

	return is_martian(src) || is_multicast(src) || bpf_map_lookup_elem(&AF(host_addrs), &src) ||
	       address_of_a_network(src);
}

/* What is of no flow: it may open one, or be about one. */
static __always_inline int without_flow(struct __sk_buff *skb, packet_t *p)
{
	int verdict = p->icmp_error ? error(skb, p) : NO_VERDICT;
	__u32 rule;

	if (verdict != NO_VERDICT)
		return verdict;
	rule = published_to(skb, p);
	if (!address_of_host(p->key.dst))
		return not_ours(p);
	if (!rule)
		return flow_is_carried(skb, p) ? drop(p, REASON_NO_FLOW) : VERDICT_PASS;
	return martian_source(p) ? drop(p, REASON_MARTIAN) : publish(skb, p, rule);
}

static __always_inline int uplink_ip(struct __sk_buff *skb, packet_t *p, const found_t *found)
{
	flow_t *flow;
	int verdict;

	/* The stack refuses and counts it; a source route if accept_source_route is 0. */
	if (!parse_ip(skb, p) || source_routed(skb, p))
		return not_ours(p);
	/* Of one link alone: the way back could not be told from the address. */
	if (is_link_local(p->key.src) || is_link_local(p->key.dst))
		return not_ours(p);
	p->key.zone = ZONE_OUTSIDE;
	p->self = p->key.dst;
	flow = flow_of(p, found);
	if (!flow) {
		verdict = without_flow(skb, p);
		if (verdict != OPENED)
			return verdict;
		flow = opened();
	}
	return flow ? follow(skb, p, flow) : VERDICT_DROP;
}

static __always_inline int uplink_hook(struct __sk_buff *skb)
{
	found_t found = {};
	int code = fast_in(skb, &found);
	packet_t *p;

	if (code != NO_VERDICT)
		return code;
	p = new_packet();
	return p ? leave(skb, p, HOOK_UPLINK, uplink_ip(skb, p, &found)) : TC_ACT_SHOT;
}
