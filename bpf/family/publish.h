/* SPDX-License-Identifier: GPL-2.0-only */
/* Flows to published ports. */

/*
 * A connected socket of the host owns a datagram that a published port would
 * take otherwise; TCP needs no such look, since only a SYN opens a flow.
 */
static __always_inline bool host_socket_connected(struct __sk_buff *skb, packet_t *p)
{
	struct bpf_sock_tuple tuple;
	__u32 size = tuple_of(&tuple, p->key.src, p->key.sport, p->key.dst, p->key.dport);
	struct bpf_sock *sk;
	bool connected;

	if (p->key.protocol != IPPROTO_UDP)
		return false;
	sk = bpf_sk_lookup_udp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	connected = sk->state == BPF_TCP_ESTABLISHED;
	bpf_sk_release(sk);
	return connected;
}

/* The index of the published port's rule that a packet opens a flow to, or 0. */
static __always_inline __u32 published_to(struct __sk_buff *skb, packet_t *p)
{
	__u32 index = 0;

	if (!p->has_ports || !begins_flow(p) ||
	    !published(p->key.protocol, p->key.dst, p->key.dport, &index) || host_socket_connected(skb, p))
		return 0;
	return index;
}

/*
 * publish opens a flow to the endpoint behind a published port. The client's
 * address stays, unless the client is the endpoint itself, which then sees its
 * gateway. The sender's endpoint is 0 for a client outside.
 */
__noinline int publish(struct __sk_buff *skb, packet_t *p, __u32 index)
{
	struct rule *rule = bpf_map_lookup_elem(&rules, &index);
	flow_t *flow = opening();
	struct endpoint *endpoint, *client;
	struct network *network;
	__u32 owner, number, peer;
	bool own;

	if (!rule || !flow || !p)
		return VERDICT_DROP;
	if (p->later)
		return drop(p, REASON_FRAGMENT);
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
	flow->dst = endpoint->AF(addr);
	flow->dport = rule_target(rule, p->key.dport);
	own = peer == owner;
	if (own)
		flow->src = network->AF(gateway);
	/* Two published ports may lead to one endpoint's port: then a client that
	 * uses one source port for both gets another for the second. */
	if ((own || !flow_claim(&p->key, flow)) && !snat_claim(skb, own))
		return drop(p, REASON_MASQUERADE_EXHAUSTED);
	return open_flow(p, flow);
}
