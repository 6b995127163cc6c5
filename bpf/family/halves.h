/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The halves of flows: two per flow, found by what a packet looks like when it
 * arrives. Both hold the same state, so that either can say whether the flow is
 * alive and can bring back the other when its table has evicted it.
 *
 * There are two tables. A flow is born in the nursery, moves to the tenured one
 * once it has proved itself, and back when both sides have finished: what a flood
 * pushes out is not at work.
 */

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

/* One that another CPU moves meanwhile may be in neither table when that is looked at: hence the third look. */
static __always_inline flow_t *half_find(const flow_key_t *key)
{
	flow_t *half = tenured_find(key);

	if (!half)
		half = bpf_map_lookup_elem(&AF(nursery), key);
	return half ? half : tenured_find(key);
}

/* The same, where another half of its flow was found in this state: most likely in the same table. */
static __always_inline flow_t *half_beside(const flow_key_t *key, __u8 state)
{
	flow_t *half;

	if (state & FLOW_TENURED)
		return half_find(key);
	half = bpf_map_lookup_elem(&AF(nursery), key);
	return half ? half : half_find(key);
}

/* What a fast path has found for its packet, if it has looked. */
found_t {
	flow_t *half;
	bool known;
};

/*
 * half_put inserts a half where its state says. One that moves leaves the other
 * table when it has arrived: in between, both are the same flow's. In the nursery
 * it must not take a key that another flow has.
 */
static __always_inline bool half_put(const flow_key_t *key, const flow_t *half)
{
	if (!(half->head.state & FLOW_TENURED)) {
		if (bpf_map_update_elem(&AF(nursery), key, half, BPF_NOEXIST))
			return false;
		tenured_erase(key);
		return true;
	}
	if (!tenured_put(key, half))
		return false;
	bpf_map_delete_elem(&AF(nursery), key);
	return true;
}

static __always_inline void half_erase(const flow_key_t *key)
{
	tenured_erase(key);
	bpf_map_delete_elem(&AF(nursery), key);
}

/* erase_other removes the other half of a flow, unless that is another flow's by now. */
static __always_inline void erase_other(const flow_key_t *key, const flow_t *flow)
{
	packet_t *p = this_packet();
	flow_t *other;

	if (!p)
		return;
	set_other_key(&p->other, key, flow);
	other = half_find(&p->other);
	if (other && halves_match(key, other))
		half_erase(&p->other);
}

/* flow_delete removes both halves. */
static __always_inline void flow_delete(const flow_key_t *key, const flow_t *flow)
{
	if (dry_run)
		return;
	erase_other(key, flow);
	half_erase(key);
}
