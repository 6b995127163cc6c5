// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hook `bridge`: egress of our bridges: what the host itself sends to
 * containers, by sockets of every kind. Connections to an alias go to its
 * members. A socket bound to 127.0.0.1 whose connection the socket hook turned
 * to a container gets the gateway's address. Replies are turned back by the
 * container hook. What the stack forwards is not the host's: it came by a
 * device that is no uplink, or by a source route.
 */
#include "alias.h"

/* A socket that is bound to a loopback address, to an endpoint. */
__noinline int from_loopback(struct __sk_buff *skb, struct packet *p)
{
	__u32 *index;
	__u16 reason;
	__be32 dst;

	if (!p)
		return VERDICT_DROP;
	dst = p->key.dst;
	index = bpf_map_lookup_elem(&endpoints4, &dst);
	if (!index)
		return drop(p, REASON_MARTIAN);
	reason = untranslatable(p);
	return reason ? drop(p, reason) : meet4(skb, p, *index, 0, p->key.src);
}

/* aim lets the bridge deliver a packet whose destination has changed. */
static __always_inline int aim(struct __sk_buff *skb, struct packet *p)
{
	struct ipv4_header *ip = bytes(skb, ETH_LEN, sizeof(*ip));
	struct endpoint *endpoint;
	struct eth_header *eth;
	__u32 *index;
	__be32 dst;

	if (!ip)
		return drop(p, REASON_REWRITE);
	dst = ip->dst;
	index = bpf_map_lookup_elem(&endpoints4, &dst);
	endpoint = index ? receiver(p, *index) : NULL;
	eth = bytes(skb, 0, sizeof(*eth));
	if (!endpoint || !eth)
		return drop(p, REASON_NO_ENDPOINT);
	__builtin_memcpy(eth->dst, endpoint->mac, sizeof(eth->dst));
	return VERDICT_PASS;
}

/* What is of no flow: it may open one, or be about one. */
static __always_inline int without_flow4(struct __sk_buff *skb, struct packet *p)
{
	int verdict = p->icmp_error ? error4(skb, p) : NO_VERDICT;

	if (verdict == NO_VERDICT)
		verdict = balance4(skb, p);
	return verdict == NO_VERDICT ? from_loopback(skb, p) : verdict;
}

static __always_inline int from_host(struct __sk_buff *skb, struct packet *p)
{
	struct flow4 *flow;
	int verdict;
	bool vip;

	if (skb->ingress_ifindex)
		return drop(p, REASON_UNPUBLISHED);
	if (skb->protocol != bpf_htons(ETH_P_IP) || !parse_ipv4(skb, p))
		return VERDICT_PASS;
	vip = vip4(p->key.dst);
	if (!vip && !ipv4_loopback(p->key.src))
		return VERDICT_PASS;
	p->key.zone = ZONE_HOST;
	flow = flow_of4(p);
	verdict = flow ? OPENED : without_flow4(skb, p);
	if (verdict == OPENED) {
		flow = flow ? flow : opening();
		verdict = flow ? follow4(skb, p, flow) : VERDICT_DROP;
	}
	return vip && verdict == VERDICT_PASS ? aim(skb, p) : verdict;
}

SEC("tc")
int bridge_egress(struct __sk_buff *skb)
{
	struct packet p = {};

	return leave(skb, &p, HOOK_BRIDGE, from_host(skb, &p));
}

char _license[] SEC("license") = "GPL";
