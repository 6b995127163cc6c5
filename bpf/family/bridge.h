/* SPDX-License-Identifier: GPL-2.0-only */
/* What the host sends to containers: the body of hook `bridge`. */
#include "base.h"
#include "alias.h"

/* A socket that is bound to a loopback address, to an endpoint. */
__noinline int from_loopback(struct __sk_buff *skb, packet_t *p)
{
	__u32 *index;
	__u16 reason;
	addr_t dst;

	if (!p)
		return VERDICT_DROP;
	dst = p->key.dst;
	index = bpf_map_lookup_elem(&AF(endpoints), &dst);
	if (!index)
		return drop(p, REASON_MARTIAN);
	reason = untranslatable(p);
	return reason ? drop(p, reason) : meet(skb, p, *index, 0, p->key.src);
}

/* aim lets the bridge deliver a packet whose destination has changed. */
static __always_inline int aim(struct __sk_buff *skb, packet_t *p)
{
	ip_header_t *ip = bytes(skb, LINK_LEN, sizeof(*ip));
	struct endpoint *endpoint;
	struct eth_header *eth;
	__u32 *index;
	addr_t dst;

	if (!ip)
		return drop(p, REASON_REWRITE);
	dst = ip->dst;
	index = bpf_map_lookup_elem(&AF(endpoints), &dst);
	endpoint = index ? receiver(p, *index) : NULL;
	eth = bytes(skb, 0, sizeof(*eth));
	if (!endpoint || !eth)
		return drop(p, REASON_NO_ENDPOINT);
	__builtin_memcpy(eth->dst, endpoint->mac, sizeof(eth->dst));
	return VERDICT_PASS;
}

/* What is of no flow: it may open one, or be about one. */
static __always_inline int without_flow(struct __sk_buff *skb, packet_t *p)
{
	int verdict = p->icmp_error ? error(skb, p) : NO_VERDICT;

	if (verdict == NO_VERDICT)
		verdict = balance(skb, p);
	return verdict == NO_VERDICT ? from_loopback(skb, p) : verdict;
}

static __always_inline int bridge_ip(struct __sk_buff *skb, packet_t *p)
{
	found_t found = {};
	flow_t *flow;
	int verdict;
	bool vip;

	if (skb->ingress_ifindex)
		return drop(p, REASON_UNPUBLISHED);
	if (!parse_ip(skb, p))
		return VERDICT_PASS;
	vip = vip_of(p->key.dst);
	if (!vip && !is_loopback(p->key.src))
		return VERDICT_PASS;
	p->key.zone = ZONE_HOST;
	flow = flow_of(p, &found);
	verdict = flow ? OPENED : without_flow(skb, p);
	if (verdict == OPENED) {
		flow = flow ? flow : opened();
		verdict = flow ? follow(skb, p, flow) : VERDICT_DROP;
	}
	return vip && verdict == VERDICT_PASS ? aim(skb, p) : verdict;
}

static __always_inline int bridge_hook(struct __sk_buff *skb)
{
	packet_t *p = new_packet();

	return p ? leave(skb, p, HOOK_BRIDGE, bridge_ip(skb, p)) : TC_ACT_SHOT;
}
