/* SPDX-License-Identifier: GPL-2.0-only */
/* How a packet leaves: delivered to a container, to the outside, or not at all. */
#ifndef SLUICE_LEAVE_H
#define SLUICE_LEAVE_H

#include "answer.h"
#include "count.h"
#include "rewrite.h"
#include "route.h"

/* The endpoint at an index, if it may be delivered to; NULL sets the reason for a drop. */
static __always_inline struct endpoint *receiver(struct packet *p, __u32 index)
{
	struct endpoint *endpoint = bpf_map_lookup_elem(&endpoints, &index);

	if (!endpoint || !(endpoint->flags & ENDPOINT_READY)) {
		p->drop = endpoint ? REASON_NOT_READY : REASON_NO_ENDPOINT;
		return NULL;
	}
	return endpoint;
}

/*
 * deliver puts the packet into a receiver's namespace. redirect_peer skips
 * eth_type_trans, and kernels differ in what they scrub: type, mark and time
 * stamp are ours to set.
 */
static __always_inline int deliver(struct __sk_buff *skb, struct packet *p, const struct endpoint *endpoint)
{
	__u32 index = endpoint->network;
	struct network *network = bpf_map_lookup_elem(&networks, &index);

	if (!network || !write_macs(skb, p, endpoint->mac, network->mac))
		return drop(p, REASON_REWRITE);
	if (skb->pkt_type != PACKET_HOST && bpf_skb_change_type(skb, PACKET_HOST))
		return drop(p, REASON_REWRITE);
	skb->mark = 0;
	skb->tstamp = 0;
	p->redirect = bpf_redirect_peer(endpoint->ifindex, 0);
	return VERDICT_REDIRECT;
}

/* send_outside hands the packet to the next hop of a route. */
static __always_inline int send_outside(struct __sk_buff *skb, struct packet *p, const struct bpf_fib_lookup *fib)
{
	struct bpf_redir_neigh hop = { .nh_family = fib->family };

	__builtin_memcpy(hop.ipv6_nh, fib->ipv6_dst, sizeof(hop.ipv6_nh));
	skb->mark = 0;
	skb->tstamp = 0;
	p->redirect = bpf_redirect_neigh(fib->ifindex, &hop, sizeof(hop), 0);
	return VERDICT_REDIRECT;
}

/*
 * capture copies the packet's first bytes. Linux 6.1 learns nothing from "not
 * 0", and clang would make one comparison of two, of another register: so each
 * bound is compared by itself, of a value that clang knows nothing of.
 */
static __always_inline bool capture(struct __sk_buff *skb, struct drop_event *event, __u32 size)
{
	asm volatile("" : "+r"(size));
	if ((__s32)size <= 0)
		return false;
	asm volatile("" : "+r"(size));
	return size <= EVENT_BYTES && !bpf_skb_load_bytes(skb, 0, event->data, size);
}

static __always_inline void report_drop(struct __sk_buff *skb, struct packet *p, enum hook hook)
{
	struct drop_event *event;
	__u32 captured = skb->len < EVENT_BYTES ? skb->len : EVENT_BYTES;

	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return;
	__builtin_memset(event, 0, sizeof(*event));
	event->time = bpf_ktime_get_ns();
	event->ifindex = skb->ifindex;
	event->length = skb->len;
	event->reason = p->drop;
	event->hook = hook;
	if (capture(skb, event, captured))
		event->captured = captured;
	bpf_ringbuf_submit(event, 0);
}

/* leave counts the verdict and turns it into what tc understands. */
static __always_inline int leave(struct __sk_buff *skb, struct packet *p, enum hook hook, int verdict)
{
	count(&packet_counts, hook * VERDICTS + verdict);
	switch (verdict) {
	case VERDICT_PASS:
		return TCX_NEXT;
	case VERDICT_REDIRECT:
		return p->redirect;
	}
	count(&drop_counts, p->drop);
	if (observe)
		report_drop(skb, p, hook);
	if (p->drop == REASON_TTL_EXCEEDED || p->drop == REASON_MTU_EXCEEDED)
		return answer4(skb, p);
	return TC_ACT_SHOT;
}

#endif
