// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hook `bridge`: egress of our bridges: what the host itself sends to
 * containers. A socket bound to 127.0.0.1 whose connection the socket hook
 * turned to a container gets the gateway's address here, and its replies are
 * turned back by the container hook.
 */
#include "translate.h"

static __always_inline int from_loopback(struct packet *p)
{
	struct snat_search search = { .skb = p->skb, .host_source = true };
	struct flow4 *flow = &search.flow;
	struct endpoint *endpoint;
	struct network *network;
	__be32 dst = p->key.dst;
	__u32 *index = bpf_map_lookup_elem(&endpoints4, &dst);
	__u32 number;
	__u16 reason = untranslatable(p);

	if (!index)
		return drop(p, REASON_MARTIAN);
	if (reason)
		return drop(p, reason);
	endpoint = bpf_map_lookup_elem(&endpoints, index);
	if (!endpoint)
		return drop(p, REASON_NO_ENDPOINT);
	number = endpoint->network;
	network = bpf_map_lookup_elem(&networks, &number);
	if (!network)
		return drop(p, REASON_NO_ENDPOINT);
	flow_begin(&flow->head, *index, 0);
	/* The bridge delivers: redirect_peer works at ingress only. */
	flow->head.target = TARGET_STACK;
	flow->head.back_target = TARGET_STACK;
	flow->head.back_zone = endpoint->network;
	flow->src = network->gateway4;
	flow->dst = p->key.dst;
	flow->dport = p->key.dport;
	search.key = p->key;
	if (!snat_claim4(&search))
		return drop(p, REASON_MASQUERADE_EXHAUSTED);
	return open4(p, flow);
}

static __always_inline int from_host(struct packet *p)
{
	struct flow4 *flow;

	if (p->skb->protocol != bpf_htons(ETH_P_IP) || !parse_ipv4(p) || !ipv4_loopback(p->key.src))
		return VERDICT_PASS;
	p->key.zone = ZONE_HOST;
	flow = p->has_ports ? flow_find4(p) : NULL;
	return flow ? follow4(p, flow) : from_loopback(p);
}

SEC("tc")
int bridge_egress(struct __sk_buff *skb)
{
	struct packet p = { .skb = skb };

	return leave(&p, HOOK_BRIDGE, from_host(&p));
}

char _license[] SEC("license") = "GPL";
