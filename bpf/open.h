/* SPDX-License-Identifier: GPL-2.0-only */
/* Opening flows. */
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

#endif
