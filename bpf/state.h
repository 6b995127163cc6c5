/* SPDX-License-Identifier: GPL-2.0-only */
/* The state of a flow, of either family: is it alive, and is what it belongs to still there? */
#ifndef SLUICE_STATE_H
#define SLUICE_STATE_H

#include "config.h"
#include "maps.h"
#include "tags.h"
#include "wire.h"

/* Seconds of CLOCK_MONOTONIC, without a call: the verifier makes a load of jiffies. */
static __always_inline __u32 now_seconds(void)
{
	return (bpf_jiffies64() - jiffies_origin) * jiffy_seconds >> 32;
}

static __always_inline __u32 flow_timeout(__u8 protocol, __u8 state)
{
	if (protocol == IPPROTO_UDP)
		return state & FLOW_REPLIED ? timeout_udp_replied : timeout_udp_new;
	if (protocol == IPPROTO_ICMP4 || protocol == IPPROTO_ICMP6)
		return timeout_icmp;
	if (state & FLOW_RESET)
		return timeout_tcp_reset;
	if (state & (FLOW_FIN_FORWARD | FLOW_FIN_REPLY))
		return timeout_tcp_closing;
	return state & FLOW_CONFIRMED ? timeout_tcp_established : timeout_tcp_opening;
}

/* Whether both sides have said their last. */
static __always_inline bool flow_finished(__u8 state)
{
	return state & FLOW_FIN_FORWARD && state & FLOW_FIN_REPLY;
}

/*
 * Whether whoever opened a flow may have seen an answer when it said this. A SYN is
 * repeated without one, and a reset is the end (RFC 5382 REQ-5).
 */
static __always_inline bool takes_up(__u8 flags)
{
	return !(flags & TCP_RST) && (flags & (TCP_SYN | TCP_ACK)) != TCP_SYN;
}

/* The state after a packet of this half; flags are TCP's. */
static __always_inline __u8 flow_next_state(const struct flow_head *flow, __u8 protocol, __u8 flags)
{
	__u8 state = flow->state;

	if (flow->direction == DIRECTION_REPLY)
		state |= FLOW_REPLIED;
	else if (state & FLOW_REPLIED && takes_up(flags))
		state |= FLOW_CONFIRMED;
	if (protocol != IPPROTO_TCP)
		return state;
	if (flags & TCP_RST)
		return state | FLOW_RESET;
	/* Data after a reset: it was not in the window, and the connection lives. */
	state &= ~FLOW_RESET;
	if (flags & TCP_FIN)
		state |= flow->direction == DIRECTION_REPLY ? FLOW_FIN_REPLY : FLOW_FIN_FORWARD;
	return state;
}

static __always_inline bool flow_closing(__u8 state)
{
	return state & FLOW_RESET || flow_finished(state);
}

/* The endpoint, if it is still the one that a flow knew. */
static __always_inline struct endpoint *endpoint_current(__u32 index, __u32 generation)
{
	struct endpoint *endpoint = bpf_map_lookup_elem(&endpoints, &index);

	if (!endpoint || endpoint->generation != generation)
		return NULL;
	return endpoint;
}

static __always_inline struct network *network_of(const struct endpoint *endpoint)
{
	__u32 index = endpoint->network;

	return bpf_map_lookup_elem(&networks, &index);
}

/* Whether a rule is still the one that a flow knew. */
static __always_inline bool rule_current(__u32 index, __u32 generation)
{
	struct rule *rule = bpf_map_lookup_elem(&rules, &index);

	return rule && rule->generation == generation;
}

/*
 * The endpoint that a flow belongs to, if that one, the peer and the rule are
 * still those that the flow knew.
 */
static __always_inline struct endpoint *flow_owner(const struct flow_head *flow)
{
	if (!rule_current(flow->rule, flow->rule_generation) ||
	    (flow->peer && !endpoint_current(flow->peer, flow->peer_generation)))
		return NULL;
	return endpoint_current(flow->endpoint, flow->endpoint_generation);
}

/* Whether a flow's time has not run out, if this is its state. */
static __always_inline bool flow_fresh(const struct flow_head *flow, __u8 protocol, __u8 state, __u32 now)
{
	/*
	 * Signed: another CPU may have seen the flow after we read the clock. The timeouts
	 * are constants of the verifier's, which would remember each in what is compared to it.
	 */
	return (__s32)(now - flow->seen - flow_timeout(protocol, state)) <= 0;
}

/*
 * Whether a flow is alive that is not the packet's own: of those that meet another
 * one's port, and of those that an error is about. That is seldom asked, in many places.
 */
__noinline int flow_alive(const struct flow_head *flow, __u8 protocol, __u32 now)
{
	return flow && flow_fresh(flow, protocol, flow->state, now) && flow_owner(flow);
}

/*
 * Whether a half is alive for a packet of its flow, with these TCP flags. A reset
 * may be one that nobody heeded: what is no SYN and no reset itself is of the
 * connection as it was before, unless somebody else has taken its place.
 */
static __always_inline bool flow_goes_on(const struct flow_head *flow, __u8 protocol, __u8 flags, __u32 now)
{
	__u8 state = flags & (TCP_RST | TCP_SYN) ? flow->state : flow->state & ~FLOW_RESET;

	return flow_fresh(flow, protocol, state, now) && flow_owner(flow);
}

/* Whether a flow has ended for any packet of its own: none gives its place up for a reset that nobody may have heeded. */
__noinline int flow_over(const struct flow_head *flow, __u8 protocol, __u32 now)
{
	return !flow || !flow_goes_on(flow, protocol, 0, now);
}

/*
 * flow_note_time notes when a packet came that changes nothing else; false when the other
 * half has to be told. That costs as much as the packet, where there are many flows.
 */
static __always_inline bool flow_note_time(struct flow_head *flow, __u32 now)
{
	if (flow->seen == now)
		return true;
	if (!(flow->state & FLOW_TENURED) || flow->alone || (now - flow->created) / SEEN_TOGETHER != (flow->seen - flow->created) / SEEN_TOGETHER)
		return false;
	flow->seen = now;
	return true;
}

/* Whether a flow is alive, and nothing but its time changes when a packet without TCP's flags comes. */
static __always_inline bool flow_settled(struct flow_head *flow, __u8 protocol)
{
	__u32 now = now_seconds();

	return flow->state == flow_next_state(flow, protocol, 0) && flow_owner(flow) &&
	       (flow->seen == now || (!dry_run && flow_fresh(flow, protocol, flow->state, now) && flow_note_time(flow, now)));
}

/*
 * A flow has proved itself when it was answered and taken up again, and is older
 * than a second: floods get answers too, and a short connection is not worth the
 * move.
 */
static __always_inline bool flow_proved(const struct flow_head *flow, __u8 state, __u32 now)
{
	return state & FLOW_CONFIRMED && now - flow->created > 1;
}

#endif
