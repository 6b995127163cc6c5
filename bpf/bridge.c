// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hook `bridge`: egress of our bridges: what the host itself sends to
 * containers, by sockets of every kind. Connections to an alias go to its
 * members. A socket bound to 127.0.0.1 whose connection the socket hook turned
 * to a container gets the gateway's address. Replies are turned back by the
 * container hook.
 */
#include "alias.h"

/* A socket that is bound to a loopback address, to an endpoint. */
static __always_inline int from_loopback(struct packet *p)
{
	__be32 dst = p->key.dst;
	__u32 *index = bpf_map_lookup_elem(&endpoints4, &dst);
	__u16 reason = untranslatable(p);

	if (!index)
		return drop(p, REASON_MARTIAN);
	return reason ? drop(p, reason) : meet4(p, *index, 0, 0, p->key.src);
}

/* aim lets the bridge deliver a packet whose destination has changed. */
static __always_inline int aim(struct packet *p)
{
	struct ipv4_header *ip = bytes(p->skb, ETH_LEN, sizeof(*ip));
	struct endpoint *endpoint;
	struct eth_header *eth;
	__u32 *index;
	__be32 dst;

	if (!ip)
		return drop(p, REASON_REWRITE);
	dst = ip->dst;
	index = bpf_map_lookup_elem(&endpoints4, &dst);
	endpoint = index ? receiver(p, *index) : NULL;
	eth = bytes(p->skb, 0, sizeof(*eth));
	if (!endpoint || !eth)
		return drop(p, REASON_NO_ENDPOINT);
	__builtin_memcpy(eth->dst, endpoint->mac, sizeof(eth->dst));
	return VERDICT_PASS;
}

static __always_inline int from_host(struct packet *p)
{
	struct flow4 *flow;
	struct vip *vip;
	int verdict;

	if (p->skb->protocol != bpf_htons(ETH_P_IP) || !parse_ipv4(p))
		return VERDICT_PASS;
	vip = vip4(p->key.dst);
	if (!vip && !ipv4_loopback(p->key.src))
		return VERDICT_PASS;
	p->key.zone = ZONE_HOST;
	flow = p->has_ports ? flow_find4(p) : NULL;
	if (flow)
		verdict = follow4(p, flow);
	else
		verdict = vip ? balance4(p, vip, 0) : from_loopback(p);
	return vip && verdict == VERDICT_PASS ? aim(p) : verdict;
}

SEC("tc")
int bridge_egress(struct __sk_buff *skb)
{
	struct packet p = { .skb = skb };

	return leave(&p, HOOK_BRIDGE, from_host(&p));
}

char _license[] SEC("license") = "GPL";
