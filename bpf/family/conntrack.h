/* SPDX-License-Identifier: GPL-2.0-only */
/* Conntrack: the life of a flow, from its claim to its end. */

/* What flow_touch says of the flow. */
#define FLOW_LOST 0
#define FLOW_STAYS 1
#define FLOW_MOVES 2 /* a half was inserted: elements may have changed their flows */

/*
 * flow_touch brings both halves' state and time up to date, and moves them when
 * the flow has proved itself, and back when it has finished: what waits for its
 * end must not push out those that are at work. Where the other half has been
 * evicted it is put back, and where its key has gone to another flow, this one
 * cannot live on.
 */
__noinline int flow_touch(packet_t *p, flow_t *flow, __u32 now)
{
	flow_key_t key; /* the other half's, and in the end this one's: the stack is short */
	flow_t *other;
	__u8 state;
	bool moves;

	if (!p || !flow)
		return FLOW_LOST;
	key = other_key(&p->key, flow);
	other = half_beside(&key, flow->head.state);
	if (other && !halves_match(&p->key, other))
		return FLOW_LOST;
	state = flow_next_state(&flow->head, key.protocol, p->tcp_flags);
	if (flow_finished(state))
		state &= ~FLOW_TENURED;
	else if (p->proved || flow_proved(&flow->head, state, now) || (other && other->head.state & FLOW_TENURED))
		state |= FLOW_TENURED;
	if (state & FLOW_CONFIRMED && !((flow->head.state & FLOW_CONFIRMED) | (state & FLOW_TENURED)))
		flow_waits(&p->key);
	moves = (flow->head.state ^ state) & FLOW_TENURED;
	flow->head.seen = now;
	flow->head.state = state;
	flow->head.alone = 0;
	if (other && !((other->head.state ^ state) & FLOW_TENURED)) {
		other->head.seen = now;
		other->head.state = state;
		if (!moves)
			return FLOW_STAYS;
	} else {
		other = other_half(&p->key, flow);
		if (!other || !half_put(&key, other))
			return FLOW_LOST;
	}
	if (!moves)
		return FLOW_MOVES;
	/* Linux 6.1 takes no memory that a function was passed as a map's value: so the half is looked up again. */
	key = p->key;
	flow = state & FLOW_TENURED ? bpf_map_lookup_elem(&AF(nursery), &key) : tenured_find(&key);
	if (flow)
		half_put(&key, flow);
	return FLOW_MOVES;
}

/*
 * Whether a flow is alive for a packet of its own, by either half: of a tenured one, the
 * other half may have seen a packet later; see flow_note_time.
 */
__noinline int half_goes_on(const flow_key_t *key, const flow_t *flow, __u8 flags, __u32 now)
{
	packet_t *p = this_packet();
	flow_t *other;

	if (!p || !key || !flow)
		return 0;
	if (flow_goes_on(&flow->head, key->protocol, flags, now))
		return 1;
	if (!(flow->head.state & FLOW_TENURED))
		return 0;
	set_other_key(&p->other, key, flow);
	other = tenured_find(&p->other);
	return other && halves_match(key, other) && flow_goes_on(&other->head, key->protocol, flags, now);
}

/* Whether a flow is alive that is not the packet's own, as it is. */
static __always_inline bool half_alive(const flow_key_t *key, const flow_t *flow, __u32 now)
{
	return half_goes_on(key, flow, TCP_RST, now);
}

/* flow_peek returns the live flow of a key and changes nothing, or NULL. */
static __always_inline flow_t *flow_peek(const flow_key_t *key)
{
	flow_t *flow = half_find(key);

	return flow && half_alive(key, flow, now_seconds()) ? flow : NULL;
}

/* flow_end removes the flow of the packet. */
__noinline int flow_end(const flow_t *flow)
{
	packet_t *p = this_packet();

	if (p && flow)
		flow_delete(&p->key, flow);
	return 0;
}

/*
 * Whether a packet opens anew what is there already: a client that reuses its
 * port (RFC 9293 3.6.1). Whoever answers from outside is no such client, and
 * might be anybody: a forged reset and SYN would end a connection at work.
 */
static __always_inline bool reopens(const packet_t *p, const struct flow_head *flow)
{
	return p->key.protocol == IPPROTO_TCP && tcp_opens(p) && flow_closing(flow->state) &&
	       (flow->direction == DIRECTION_FORWARD || p->sender);
}

/*
 * flow_find returns the live flow of a packet, brought up to date, or NULL.
 * Nothing is written while state and time stay the same, and once a second at
 * most while only time passes.
 */
static __always_inline flow_t *flow_find(packet_t *p, const found_t *found)
{
	flow_t *flow = found->known ? found->half : half_find(&p->key);
	__u32 now;

	if (!flow)
		return NULL;
	now = now_seconds();
	if ((flow_goes_on(&flow->head, p->key.protocol, p->tcp_flags, now) ||
	     half_goes_on(&p->key, flow, p->tcp_flags, now)) && !reopens(p, &flow->head)) {
		if (dry_run || (flow->head.state == flow_next_state(&flow->head, p->key.protocol, p->tcp_flags) &&
				flow_note_time(&flow->head, now)))
			return flow;
		switch (flow_touch(p, flow, now)) {
		case FLOW_STAYS:
			return flow;
		case FLOW_MOVES:
			return half_find(&p->key);
		}
	}
	flow_end(flow);
	return NULL;
}

/*
 * claim_young inserts the reply half into the nursery. What is left there of a
 * flow whose forward half was evicted gives way to the new one.
 */
static __always_inline bool claim_young(const flow_key_t *key, const flow_t *flow, const flow_key_t *back)
{
	flow_t *half = other_half(key, flow), *holder;

	if (!half)
		return false;
	if (!bpf_map_update_elem(&AF(nursery), back, half, BPF_NOEXIST))
		return true;
	holder = bpf_map_lookup_elem(&AF(nursery), back);
	if (!holder)
		return false;
	if (flow_alive(&holder->head, back->protocol, flow->head.created))
		return halves_match(key, holder) && !bpf_map_update_elem(&AF(nursery), back, half, BPF_ANY);
	flow_delete(back, holder);
	return !bpf_map_update_elem(&AF(nursery), back, half, BPF_NOEXIST);
}

/*
 * flow_claim inserts the reply half, which decides who gets a translated port;
 * false when another flow has it. Nothing makes one step of two tables: so the
 * claim comes first, and is taken back when the tenured one knows better.
 */
static __always_inline bool flow_claim(const flow_key_t *key, const flow_t *flow)
{
	flow_key_t back = other_key(key, flow);
	flow_t *holder;

	if (dry_run)
		return !half_find(&back);
	if (!claim_young(key, flow, &back))
		return false;
	holder = tenured_find(&back);
	if (!holder)
		return true;
	if (!halves_match(key, holder) && half_alive(&back, holder, flow->head.created)) {
		bpf_map_delete_elem(&AF(nursery), &back);
		return false;
	}
	erase_other(&back, holder);
	tenured_erase(&back);
	return true;
}

/*
 * flow_commit inserts the forward half of a claimed flow. The key is copied,
 * since it may be memory that a function was passed, and Linux 6.1 takes no such
 * memory for a map's key.
 */
static __always_inline bool flow_commit(const flow_key_t *key, const flow_t *flow)
{
	flow_key_t copy = *key;

	if (dry_run || !bpf_map_update_elem(&AF(nursery), &copy, flow, BPF_ANY))
		return true;
	copy = other_key(key, flow);
	bpf_map_delete_elem(&AF(nursery), &copy);
	return false;
}
