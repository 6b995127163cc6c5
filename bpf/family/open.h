/* SPDX-License-Identifier: GPL-2.0-only */
/* Opening flows. */

/* The flow that a program is about to open, or has just opened. */
static __always_inline flow_t *opening(void)
{
	return scratch_half(SCRATCH_OPENING);
}

/* opened returns the flow that was just opened, and looks after those that wait, as each that begins does. */
static __always_inline flow_t *opened(void)
{
	take_over_waiting();
	return opening();
}

/* flow_begin clears a flow and fills what every kind shares. */
static __always_inline void flow_begin(flow_t *flow, __u32 endpoint, __u32 rule)
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
static __always_inline bool begins_flow(const packet_t *p)
{
	if (p->key.protocol == IPPROTO_TCP)
		return tcp_opens(p);
	return !p->key.echo_reply;
}

/* The reason why a packet cannot be translated, 0 when it can. */
static __always_inline __u16 untranslatable(const packet_t *p)
{
	if (p->later)
		return REASON_FRAGMENT;
	if (p->has_ports)
		return begins_flow(p) ? 0 : REASON_NO_FLOW;
	return p->key.protocol == AF(IPPROTO_ICMP) ? REASON_ICMP : REASON_PROTOCOL;
}

/* open_flow inserts a new flow whose reply half is claimed. */
static __always_inline int open_flow(packet_t *p, const flow_t *flow)
{
	if (!flow_commit(&p->key, flow))
		return drop(p, REASON_CONNTRACK_INSERT);
	count_flow(flow->head.rule, p->length);
	return OPENED;
}
