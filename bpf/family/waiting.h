/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Flows that were confirmed too young to be moved. Their next packet would move them,
 * but may be long in coming: a connection of a pool is opened, used once and left
 * alone. So they wait in a queue, and each flow that begins looks after the two that
 * have waited for longest: what those that begin push out of the nursery has not
 * proved itself.
 */

/* How many each flow that begins looks after: more than one, or the queue would never become shorter. */
#define WAITING_AT_ONCE 2

__noinline int flow_touch(packet_t *p, flow_t *flow, __u32 now);

static __always_inline struct waiting_ends *waiting_ends_of_family(void)
{
	__u32 slot = FAMILY == 6;

	return bpf_map_lookup_elem(&waiting_ends, &slot);
}

/* flow_waits puts a packet's flow into the queue. A full one forgets who has waited for longest. */
static __always_inline void flow_waits(const flow_key_t *key)
{
	struct waiting_ends *ends = waiting_ends_of_family();
	waiting_t *last;
	__u32 slot;

	if (!ends || dry_run)
		return;
	slot = __sync_fetch_and_add(&ends->tail, 1) % WAITING_FLOWS;
	last = bpf_map_lookup_elem(&AF(waiting), &slot);
	if (!last)
		return;
	last->key = *key;
	last->begun = ends->begun;
}

/*
 * How many flows begin while one waits: an eighth of the nursery, in which each has two
 * halves. Nobody is pushed out before, however fast they come, and most connections are
 * over by then. No more than the queue has room for.
 */
static __always_inline __s32 waiting_patience(void)
{
	__u32 halves = ((struct bpf_map *)&AF(nursery))->max_entries;

	return halves / 16 < WAITING_FLOWS / 2 ? halves / 16 : WAITING_FLOWS / 2;
}

/* The one that has waited for longest, and for long enough, taken out of the queue; or NULL. */
static __always_inline waiting_t *oldest_waiting(struct waiting_ends *ends, __u32 begun)
{
	__u32 head = ends->head, tail = ends->tail, slot;
	waiting_t *oldest;

	if (tail - head > WAITING_FLOWS) { /* it was full, and the ones in front are others now: the next flow looks */
		__sync_val_compare_and_swap(&ends->head, head, tail - WAITING_FLOWS);
		return NULL;
	}
	slot = head % WAITING_FLOWS;
	oldest = bpf_map_lookup_elem(&AF(waiting), &slot);
	/* Signed: another CPU may have put it there after we began. */
	if (!oldest || head == tail || (__s32)(begun - oldest->begun) < waiting_patience() ||
	    __sync_val_compare_and_swap(&ends->head, head, head + 1) != head)
		return NULL;
	return oldest;
}

/*
 * Whether a flow has to be older before it is taken over. Who opens a connection of TCP
 * without seeing the answers gets a reset. But two datagrams from any address confirm a
 * flow of UDP: what is moved for them, in whatever number, pushes out who is at work.
 */
static __always_inline bool too_young(const waiting_t *waiting, const flow_t *flow, __u32 now)
{
	return waiting->key.protocol != IPPROTO_TCP && now - flow->head.created <= 1;
}

/* wait_again puts one back that is too young, while others have room. */
static __always_inline void wait_again(const struct waiting_ends *ends, const waiting_t *waiting)
{
	flow_key_t key = waiting->key;

	if (ends->tail - ends->head < WAITING_FLOWS / 2)
		flow_waits(&key);
}

/* take_over moves a flow that is still at work, as a packet of it would, but makes it no younger. */
static __always_inline void take_over(const struct waiting_ends *ends, const waiting_t *waiting)
{
	flow_t *flow = bpf_map_lookup_elem(&AF(nursery), &waiting->key);
	__u32 now = now_seconds();
	packet_t *p;

	if (!flow || flow->head.state & FLOW_TENURED || !(flow->head.state & FLOW_CONFIRMED) ||
	    flow_closing(flow->head.state) || !flow_alive(&flow->head, waiting->key.protocol, now))
		return;
	if (too_young(waiting, flow, now)) {
		wait_again(ends, waiting);
		return;
	}
	p = workspace(WORKSPACE_WAITING, sizeof(*p));
	if (!p)
		return;
	p->key = waiting->key;
	p->proved = true;
	flow_touch(p, flow, flow->head.seen);
}

/* take_over_waiting looks after those that have waited for longest. It is for flows that begin. */
__noinline int take_over_waiting(void)
{
	struct waiting_ends *ends = waiting_ends_of_family();
	waiting_t *oldest;
	__u32 begun;

	if (!ends || dry_run)
		return 0;
	begun = __sync_add_and_fetch(&ends->begun, 1);
	for (int i = 0; i < WAITING_AT_ONCE; i++) {
		oldest = oldest_waiting(ends, begun);
		if (!oldest)
			return 0;
		take_over(ends, oldest);
	}
	return 0;
}
