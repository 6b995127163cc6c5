/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Aliases: an address of a network (VIP) behind which its members take new
 * connections in strict turn.
 */

static __always_inline struct vip *vip_of(addr_t addr)
{
	return bpf_map_lookup_elem(&AF(vips), &addr);
}

/* The member whose turn it is, 0 when there is none. */
static __always_inline __u32 vip_turn(const struct vip *vip)
{
	__u32 slot = vip->alias, count = vip->count;
	struct turns *turns = bpf_map_lookup_elem(&alias_turns, &slot);
	__u64 turn;

	if (!turns || !count)
		return 0;
	turn = dry_run ? turns->AF(turn) : __sync_fetch_and_add(&turns->AF(turn), 1);
	turn %= count;
	return turn < MAX_ALIAS_MEMBERS ? vip->members[turn] : 0;
}

/*
 * meet opens a flow inside a network to an endpoint, which sees the client as
 * `src`. The host's packets, which have no sender, are delivered by the bridge:
 * redirect_peer works at ingress only. A loopback address means nothing to an
 * endpoint, which sees its gateway then.
 */
static __always_inline int meet(struct __sk_buff *skb, packet_t *p, __u32 index, __u32 rule, addr_t src)
{
	__u32 client = p->sender, number;
	flow_t *flow = opening();
	struct endpoint *to = receiver(p, index);
	struct endpoint *from = bpf_map_lookup_elem(&endpoints, &client);
	bool loopback = is_loopback(src), own;
	struct network *network;

	if (!to || !from || !flow)
		return VERDICT_DROP;
	number = to->network;
	network = bpf_map_lookup_elem(&networks, &number);
	if (!network)
		return drop(p, REASON_NO_ENDPOINT);
	flow_begin(flow, index, rule);
	flow->head.target = client ? TARGET_ENDPOINT : TARGET_STACK;
	flow->head.back_target = client ? TARGET_PEER : TARGET_STACK;
	flow->head.back_zone = to->network;
	flow->head.peer = client;
	flow->head.peer_generation = client ? from->generation : 0;
	flow->src = loopback ? network->AF(gateway) : src;
	flow->sport = p->key.sport;
	flow->dst = to->AF(addr);
	flow->dport = p->key.dport;
	/* A port of the gateway may be a socket's. A client's own is its own, unless
	 * another alias leads it to the same member, or it is that member and asks
	 * for the port that it asks from: its answers would look like its requests. The
	 * host may have a connection from the port to the member itself. */
	own = !loopback && (client != index || flow->sport != flow->dport) &&
	      (client || !host_socket_has(skb, p->key.protocol, flow, true));
	if ((!own || !flow_claim(&p->key, flow)) && !snat_claim(skb, !client))
		return drop(p, REASON_MASQUERADE_EXHAUSTED);
	return open_flow(p, flow);
}

/*
 * balance opens a flow to the member of an alias whose turn it is, NO_VERDICT
 * when the destination is no alias. A member that is chosen for itself sees the
 * VIP, or it would answer itself directly.
 */
__noinline int balance(struct __sk_buff *skb, packet_t *p)
{
	struct vip *vip;
	__u32 member;
	__u16 reason;

	if (!p)
		return NO_VERDICT;
	vip = vip_of(p->key.dst);
	if (!vip)
		return NO_VERDICT;
	reason = untranslatable(p);
	if (reason)
		return drop(p, reason);
	member = vip_turn(vip);
	if (!member)
		return drop(p, REASON_NO_MEMBER);
	return meet(skb, p, member, vip->rule, member == p->sender ? p->key.dst : p->key.src);
}
