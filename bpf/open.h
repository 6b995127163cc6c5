/* SPDX-License-Identifier: GPL-2.0-only */
/* Opening flows, and those to published ports. */
#ifndef SLUICE_OPEN_H
#define SLUICE_OPEN_H

#include "snat.h"
#include "translate.h"

/* What a function says of a packet that has opened a flow: it has yet to be carried. */
#define OPENED (-2)

/* The flow that a program is about to open, or has just opened. */
static __always_inline struct flow4 *opening(void)
{
	return scratch4(SCRATCH_OPENING);
}

/* flow_begin clears a flow and fills what every kind shares. */
static __always_inline void flow_begin(struct flow4 *flow, __u32 endpoint, __u32 rule)
{
	struct flow_head *head = &flow->head;
	struct endpoint *e = bpf_map_lookup_elem(&endpoints, &endpoint);
	struct rule *r = bpf_map_lookup_elem(&rules, &rule);

	__builtin_memset(flow, 0, sizeof(*flow));
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
	if (p->later)
		return REASON_FRAGMENT;
	if (p->has_ports)
		return begins_flow(p) ? 0 : REASON_NO_FLOW;
	return p->key.protocol == IPPROTO_ICMP ? REASON_ICMP : REASON_PROTOCOL;
}

/* open4 inserts a new flow whose reply half is claimed. */
static __always_inline int open4(struct packet *p, const struct flow4 *flow)
{
	if (!flow_commit4(&p->key, flow))
		return drop(p, REASON_CONNTRACK_INSERT);
	count_flow(flow->head.rule, p->length);
	return OPENED;
}


/*
 * A connected socket of the host owns a datagram that a published port would
 * take otherwise; TCP needs no such look, since only a SYN opens a flow.
 */
static __always_inline bool host_socket_connected(struct __sk_buff *skb, struct packet *p)
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
	sk = bpf_sk_lookup_udp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	connected = sk->state == BPF_TCP_ESTABLISHED;
	bpf_sk_release(sk);
	return connected;
}

/* The index of the published port's rule that a packet opens a flow to, or 0. */
static __always_inline __u32 published_to4(struct __sk_buff *skb, struct packet *p)
{
	__u32 index = 0;

	if (!p->has_ports || !begins_flow(p) ||
	    !published4(p->key.protocol, p->key.dst, p->key.dport, &index) || host_socket_connected(skb, p))
		return 0;
	return index;
}

/*
 * publish4 opens a flow to the endpoint behind a published port. The client's
 * address stays, unless the client is the endpoint itself, which then sees its
 * gateway. The sender's endpoint is 0 for a client outside.
 */
__noinline int publish4(struct __sk_buff *skb, struct packet *p, __u32 index)
{
	struct rule *rule = bpf_map_lookup_elem(&rules, &index);
	struct snat_search search = { .skb = skb, .flow = opening() };
	struct flow4 *flow = search.flow;
	struct endpoint *endpoint, *client;
	struct network *network;
	__u32 owner, number, peer;

	if (!rule || !flow || !p)
		return VERDICT_DROP;
	if (p->later)
		return drop(p, REASON_FRAGMENT);
	search.key = p->key;
	owner = rule->endpoint;
	peer = p->sender;
	endpoint = bpf_map_lookup_elem(&endpoints, &owner);
	client = bpf_map_lookup_elem(&endpoints, &peer);
	if (!endpoint || !client || !(endpoint->flags & ENDPOINT_READY))
		return drop(p, REASON_NOT_READY);
	number = endpoint->network;
	network = bpf_map_lookup_elem(&networks, &number);
	if (!network)
		return drop(p, REASON_NO_ENDPOINT);
	flow_begin(flow, owner, index);
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
