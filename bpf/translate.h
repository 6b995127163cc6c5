/* SPDX-License-Identifier: GPL-2.0-only */
/* Packets of flows, and the making of flows. */
#ifndef SLUICE_TRANSLATE_H
#define SLUICE_TRANSLATE_H

#include "leave.h"
#include "snat.h"

/* follow4 translates a packet of a flow and sends it where the flow leads. */
static __always_inline int follow4(struct packet *p, const struct flow4 *flow)
{
	__u8 target = flow->head.target;
	__u32 index = target == TARGET_PEER ? flow->head.peer : flow->head.endpoint;
	__u8 hops = flow->head.hops;
	struct endpoint *endpoint = NULL;
	struct bpf_fib_lookup fib;
	__u32 rule = flow->head.rule;
	__u16 reason;

	if (p->fragment)
		return drop(p, REASON_FRAGMENT);
	if (hops && p->ttl <= hops)
		return drop(p, REASON_TTL_EXCEEDED);
	if (target == TARGET_OUTSIDE) {
		reason = route_ipv4(p, flow->src, flow->dst, false, &fib);
		if (reason)
			return drop(p, reason);
		if (!route_uplink(&fib))
			return drop(p, REASON_NOT_AN_UPLINK);
	} else if (target != TARGET_STACK) {
		endpoint = receiver(p, index);
		if (!endpoint)
			return VERDICT_DROP;
	}
	if (!rewrite_ipv4(p, flow, hops))
		return drop(p, REASON_REWRITE);
	count_translated(rule, p->length);
	if (target == TARGET_OUTSIDE)
		return send_outside(p, &fib);
	return endpoint ? deliver(p, endpoint) : VERDICT_PASS;
}

/* The parts of a new flow's head that every kind shares. */
static __always_inline void flow_begin(struct flow_head *head, __u32 endpoint, __u32 rule)
{
	struct endpoint *e = bpf_map_lookup_elem(&endpoints, &endpoint);
	struct rule *r = bpf_map_lookup_elem(&rules, &rule);

	head->created = now_seconds();
	head->seen = head->created;
	head->direction = DIRECTION_FORWARD;
	head->endpoint = endpoint;
	head->endpoint_generation = e ? e->generation : 0;
	head->rule = rule;
	head->rule_generation = r ? r->generation : 0;
}

/* Whether a packet may begin a flow; an ICMP echo reply or half a TCP connection may not. */
static __always_inline bool begins_flow(const struct packet *p)
{
	if (p->key.protocol == IPPROTO_TCP)
		return tcp_opens(p);
	return !p->key.echo_reply;
}

/* The reason why a packet cannot be translated, 0 when it can. */
static __always_inline __u16 untranslatable(const struct packet *p)
{
	if (p->fragment)
		return REASON_FRAGMENT;
	if (p->has_ports)
		return begins_flow(p) ? 0 : REASON_NO_FLOW;
	return p->key.protocol == IPPROTO_ICMP ? REASON_ICMP : REASON_PROTOCOL;
}

/* open4 inserts a new flow whose reply half is claimed, and sends its first packet on. */
static __always_inline int open4(struct packet *p, const struct flow4 *flow)
{
	if (!flow_commit4(&p->key, flow))
		return drop(p, REASON_CONNTRACK_INSERT);
	count_flow(flow->head.rule, p->length);
	return follow4(p, flow);
}

/*
 * A connected socket of the host owns a datagram that a published port would
 * take otherwise; TCP needs no such look, since only a SYN opens a flow.
 */
static __always_inline bool host_socket_connected(struct packet *p)
{
	struct bpf_sock_tuple tuple = {
		.ipv4 = {
			.saddr = p->key.src,
			.daddr = p->key.dst,
			.sport = p->key.sport,
			.dport = p->key.dport,
		},
	};
	struct bpf_sock *sk;
	bool connected;

	if (p->key.protocol != IPPROTO_UDP)
		return false;
	sk = bpf_sk_lookup_udp(p->skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	connected = sk->state == BPF_TCP_ESTABLISHED;
	bpf_sk_release(sk);
	return connected;
}

/* The rule of the published port that a packet opens a flow to, or NULL. */
static __always_inline struct rule *published_to4(struct packet *p, __u32 *index)
{
	struct rule *rule;

	if (!p->has_ports || !begins_flow(p))
		return NULL;
	rule = published4(p->key.protocol, p->key.dst, p->key.dport, index);
	return rule && !host_socket_connected(p) ? rule : NULL;
}

/*
 * publish4 opens a flow to the endpoint behind a published port. The client's
 * address stays, unless the client is the endpoint itself, which then sees its
 * gateway. `peer` is the client's endpoint, 0 for a client outside.
 */
static __always_inline int publish4(struct packet *p, const struct rule *rule, __u32 index, __u32 peer)
{
	struct snat_search search = { .skb = p->skb, .key = p->key };
	struct flow4 *flow = &search.flow;
	__u32 owner = rule->endpoint;
	struct endpoint *endpoint = bpf_map_lookup_elem(&endpoints, &owner);
	struct endpoint *client = bpf_map_lookup_elem(&endpoints, &peer);
	struct network *network;
	__u32 number;

	if (p->fragment)
		return drop(p, REASON_FRAGMENT);
	if (!endpoint || !client || !(endpoint->flags & ENDPOINT_READY))
		return drop(p, REASON_NOT_READY);
	number = endpoint->network;
	network = bpf_map_lookup_elem(&networks, &number);
	if (!network)
		return drop(p, REASON_NO_ENDPOINT);
	flow_begin(&flow->head, owner, index);
	flow->head.hops = 1;
	flow->head.target = TARGET_ENDPOINT;
	flow->head.back_target = peer ? TARGET_PEER : TARGET_OUTSIDE;
	flow->head.back_zone = endpoint->network;
	flow->head.peer = peer;
	flow->head.peer_generation = peer ? client->generation : 0;
	flow->src = p->key.src;
	flow->sport = p->key.sport;
	flow->dst = endpoint->addr4;
	flow->dport = rule_target(rule, p->key.dport);
	search.host_source = peer == owner;
	if (search.host_source)
		flow->src = network->gateway4;
	/* Two published ports may lead to one endpoint's port: then a client that
	 * uses one source port for both gets another for the second. */
	if ((search.host_source || !flow_claim4(&p->key, flow)) && !snat_claim4(&search))
		return drop(p, REASON_MASQUERADE_EXHAUSTED);
	return open4(p, flow);
}

#endif
