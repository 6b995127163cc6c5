/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Conntrack: two halves per flow, found by what a packet looks like when it
 * arrives. Both hold the same state, so that either can say whether the flow
 * is alive and can bring back the other when the table has evicted it.
 */

static __always_inline flow_key_t other_key(const flow_key_t *key, const flow_t *flow)
{
	flow_key_t other = {
		.src = flow->dst,
		.dst = flow->src,
		.sport = flow->dport,
		.dport = flow->sport,
		.zone = flow->head.back_zone,
		.protocol = key->protocol,
		.echo_reply = key->protocol == AF(IPPROTO_ICMP) ? !key->echo_reply : 0,
	};

	return other;
}

/*
 * A half that is about to be inserted: the CPU's own, which lies in a map for
 * want of room on the stack. NULL is for the verifier alone.
 */
static __always_inline flow_t *scratch_half(__u32 slot)
{
	return bpf_map_lookup_elem(&AF(scratch_flows), &slot);
}

/* The other half of a flow, in scratch. */
static __always_inline flow_t *other_half(const flow_key_t *key, const flow_t *flow)
{
	flow_t *other = scratch_half(SCRATCH_OTHER);

	if (!other)
		return NULL;
	other->head = flow->head;
	other->head.direction = !flow->head.direction;
	other->head.target = flow->head.back_target;
	other->head.back_target = flow->head.target;
	other->head.back_zone = key->zone;
	other->src = key->dst;
	other->dst = key->src;
	other->sport = key->dport;
	other->dport = key->sport;
	return other;
}

/* Whether `other` is the other half of the flow that key belongs to. */
static __always_inline bool halves_match(const flow_key_t *key, const flow_t *other)
{
	return same_addr(other->src, key->dst) && same_addr(other->dst, key->src) && other->sport == key->dport &&
	       other->dport == key->sport && other->head.back_zone == key->zone;
}

static __always_inline void flow_delete(const flow_key_t *key, const flow_t *flow)
{
	flow_key_t back = other_key(key, flow);
	flow_t *other;

	if (dry_run)
		return;
	other = bpf_map_lookup_elem(&AF(flows), &back);
	if (other && halves_match(key, other))
		bpf_map_delete_elem(&AF(flows), &back);
	bpf_map_delete_elem(&AF(flows), key);
}

/* What a packet of this half adds to the flow's state. */
static __always_inline __u8 flow_next_state(const packet_t *p, const struct flow_head *flow)
{
	__u8 state = flow->state;

	if (flow->direction == DIRECTION_REPLY)
		state |= FLOW_REPLIED;
	else if (state & FLOW_REPLIED)
		state |= FLOW_CONFIRMED;
	if (p->key.protocol != IPPROTO_TCP)
		return state;
	if (p->tcp_flags & TCP_RST)
		return state | FLOW_RESET;
	/* Data after a reset: it was not in the window, and the connection lives. */
	state &= ~FLOW_RESET;
	if (p->tcp_flags & TCP_FIN)
		state |= flow->direction == DIRECTION_REPLY ? FLOW_FIN_REPLY : FLOW_FIN_FORWARD;
	return state;
}

/*
 * flow_touch brings both halves' state and time up to date. Where the other half
 * has been evicted it is put back, and where its key has gone to another flow,
 * false is returned: this one cannot live on.
 */
__noinline int flow_touch(packet_t *p, flow_t *flow, __u32 now)
{
	flow_key_t key, back;
	flow_t *other;
	__u8 state;

	if (!p || !flow)
		return false;
	state = flow_next_state(p, &flow->head);
	flow->head.seen = now;
	flow->head.state = state;
	key = p->key;
	back = other_key(&key, flow);
	other = bpf_map_lookup_elem(&AF(flows), &back);
	if (!other) {
		other = other_half(&key, flow);
		return other && !bpf_map_update_elem(&AF(flows), &back, other, BPF_NOEXIST);
	}
	if (!halves_match(&key, other))
		return false;
	other->head.seen = now;
	other->head.state = state;
	return true;
}

/* flow_peek returns the live flow of a key and changes nothing, or NULL. */
static __always_inline flow_t *flow_peek(const flow_key_t *key)
{
	flow_t *flow = bpf_map_lookup_elem(&AF(flows), key);

	return flow && flow_alive(&flow->head, key->protocol, now_seconds()) ? flow : NULL;
}

/* flow_end removes the flow of a packet. */
__noinline int flow_end(packet_t *p, flow_t *flow)
{
	flow_key_t key;

	if (!p || !flow)
		return 0;
	key = p->key;
	flow_delete(&key, flow);
	return 0;
}

/*
 * flow_find returns the live flow of a packet, brought up to date, or NULL.
 * Nothing is written while state and time stay the same, and once a second at
 * most while only time passes.
 */
static __always_inline flow_t *flow_find(packet_t *p)
{
	flow_t *flow = bpf_map_lookup_elem(&AF(flows), &p->key);
	__u32 now;

	if (!flow)
		return NULL;
	now = now_seconds();
	if (flow_alive(&flow->head, p->key.protocol, now) &&
	    !(p->key.protocol == IPPROTO_TCP && tcp_opens(p) && flow_closing(flow->head.state)) &&
	    (dry_run || (flow->head.seen == now && flow->head.state == flow_next_state(p, &flow->head)) ||
	     flow_touch(p, flow, now)))
		return flow;
	flow_end(p, flow);
	return NULL;
}

/*
 * flow_claim inserts the reply half, which decides who gets a translated
 * port; false when another flow has it. What is left of a flow whose forward half
 * was evicted gives way to the new one.
 */
static __always_inline bool flow_claim(const flow_key_t *key, const flow_t *flow)
{
	flow_key_t other = other_key(key, flow);
	flow_t *half, *holder;

	if (dry_run)
		return !bpf_map_lookup_elem(&AF(flows), &other);
	half = other_half(key, flow);
	if (!half)
		return false;
	if (!bpf_map_update_elem(&AF(flows), &other, half, BPF_NOEXIST))
		return true;
	holder = bpf_map_lookup_elem(&AF(flows), &other);
	if (!holder)
		return false;
	if (flow_alive(&holder->head, other.protocol, flow->head.created))
		return halves_match(key, holder) && !bpf_map_update_elem(&AF(flows), &other, half, BPF_ANY);
	flow_delete(&other, holder);
	return !bpf_map_update_elem(&AF(flows), &other, half, BPF_NOEXIST);
}

/*
 * flow_commit inserts the forward half of a claimed flow. The key is copied,
 * since it may be memory that a function was passed, and Linux 6.1 takes no such
 * memory for a map's key.
 */
static __always_inline bool flow_commit(const flow_key_t *key, const flow_t *flow)
{
	flow_key_t copy = *key;

	if (dry_run || !bpf_map_update_elem(&AF(flows), &copy, flow, BPF_ANY))
		return true;
	copy = other_key(key, flow);
	bpf_map_delete_elem(&AF(flows), &copy);
	return false;
}
