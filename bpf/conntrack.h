/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Conntrack: two halves per flow, found by what a packet looks like when it
 * arrives. Both hold the same state, so that either can say whether the flow
 * is alive and can bring back the other when the table has evicted it.
 */
#ifndef SLUICE_CONNTRACK_H
#define SLUICE_CONNTRACK_H

#include "config.h"
#include "count.h"
#include "parse.h"

/* Seconds of CLOCK_MONOTONIC, without a call: the verifier makes a load of jiffies. */
static __always_inline __u32 now_seconds(void)
{
	return (bpf_jiffies64() - jiffies_origin) * jiffy_seconds >> 32;
}

static __always_inline __u32 flow_timeout(__u8 protocol, __u8 state)
{
	if (protocol == IPPROTO_UDP)
		return state & FLOW_REPLIED ? timeout_udp_replied : timeout_udp_new;
	if (protocol == IPPROTO_ICMP)
		return timeout_icmp;
	if (state & FLOW_RESET)
		return timeout_tcp_reset;
	if (state & (FLOW_FIN_FORWARD | FLOW_FIN_REPLY))
		return timeout_tcp_closing;
	return state & FLOW_CONFIRMED ? timeout_tcp_established : timeout_tcp_opening;
}

static __always_inline bool flow_closing(__u8 state)
{
	return state & FLOW_RESET || (state & FLOW_FIN_FORWARD && state & FLOW_FIN_REPLY);
}

/* The endpoint, if it is still the one that a flow knew. */
static __always_inline struct endpoint *endpoint_current(__u32 index, __u32 generation)
{
	struct endpoint *endpoint = bpf_map_lookup_elem(&endpoints, &index);

	if (!endpoint || endpoint->generation != generation)
		return NULL;
	return endpoint;
}

static __always_inline bool flow_alive(const struct flow_head *flow, __u8 protocol, __u32 now)
{
	__u32 index = flow->rule;
	struct rule *rule;

	/* Signed: another CPU may have seen the flow after we read the clock. */
	if ((__s32)(now - flow->seen) > (__s32)flow_timeout(protocol, flow->state))
		return false;
	rule = bpf_map_lookup_elem(&rules, &index);
	if (!rule || rule->generation != flow->rule_generation)
		return false;
	if (!endpoint_current(flow->endpoint, flow->endpoint_generation))
		return false;
	return !flow->peer || endpoint_current(flow->peer, flow->peer_generation);
}

static __always_inline struct flow_key4 other_key4(const struct flow_key4 *key, const struct flow4 *flow)
{
	struct flow_key4 other = {
		.src = flow->dst,
		.dst = flow->src,
		.sport = flow->dport,
		.dport = flow->sport,
		.zone = flow->head.back_zone,
		.protocol = key->protocol,
		.echo_reply = key->protocol == IPPROTO_ICMP ? !key->echo_reply : 0,
	};

	return other;
}

/*
 * A half that is about to be inserted: the CPU's own, which lies in a map for
 * want of room on the stack. NULL is for the verifier alone.
 */
static __always_inline struct flow4 *scratch4(__u32 slot)
{
	return bpf_map_lookup_elem(&scratch_flows4, &slot);
}

/* The other half of a flow, in scratch. */
static __always_inline struct flow4 *other_half4(const struct flow_key4 *key, const struct flow4 *flow)
{
	struct flow4 *other = scratch4(SCRATCH_OTHER);

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
static __always_inline bool halves_match4(const struct flow_key4 *key, const struct flow4 *other)
{
	return other->src == key->dst && other->dst == key->src && other->sport == key->dport &&
	       other->dport == key->sport;
}

static __always_inline void flow_delete4(const struct flow_key4 *key, const struct flow4 *flow)
{
	struct flow_key4 other_key = other_key4(key, flow);
	struct flow4 *other;

	if (dry_run)
		return;
	other = bpf_map_lookup_elem(&flows4, &other_key);
	if (other && halves_match4(key, other))
		bpf_map_delete_elem(&flows4, &other_key);
	bpf_map_delete_elem(&flows4, key);
}

/* What a packet of this half adds to the flow's state. */
static __always_inline __u8 flow_next_state(const struct packet *p, const struct flow_head *flow)
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
 * flow_touch4 brings state and time up to date: nothing is written while both
 * stay the same, and once a second at most while only time passes. The other
 * half follows; where it has been evicted it is put back, and where its key
 * has gone to another flow, false is returned: this one cannot live on.
 */
static __always_inline bool flow_touch4(struct packet *p, struct flow4 *flow, __u32 now)
{
	__u8 state = flow_next_state(p, &flow->head);
	struct flow_key4 key;
	struct flow4 *other;

	if (dry_run || (flow->head.seen == now && flow->head.state == state))
		return true;
	flow->head.seen = now;
	flow->head.state = state;
	key = other_key4(&p->key, flow);
	other = bpf_map_lookup_elem(&flows4, &key);
	if (!other) {
		other = other_half4(&p->key, flow);
		return other && !bpf_map_update_elem(&flows4, &key, other, BPF_NOEXIST);
	}
	if (!halves_match4(&p->key, other))
		return false;
	other->head.seen = now;
	other->head.state = state;
	return true;
}

/* flow_peek4 returns the live flow of a key and changes nothing, or NULL. */
static __always_inline struct flow4 *flow_peek4(const struct flow_key4 *key)
{
	struct flow4 *flow = bpf_map_lookup_elem(&flows4, key);

	return flow && flow_alive(&flow->head, key->protocol, now_seconds()) ? flow : NULL;
}

/* flow_find4 returns the live flow of a packet, brought up to date, or NULL. */
static __always_inline struct flow4 *flow_find4(struct packet *p)
{
	struct flow4 *flow = bpf_map_lookup_elem(&flows4, &p->key);
	__u32 now;

	if (!flow)
		return NULL;
	now = now_seconds();
	if (flow_alive(&flow->head, p->key.protocol, now) &&
	    !(p->key.protocol == IPPROTO_TCP && tcp_opens(p) && flow_closing(flow->head.state)) &&
	    flow_touch4(p, flow, now))
		return flow;
	flow_delete4(&p->key, flow);
	return NULL;
}

/*
 * flow_claim4 inserts the reply half, which decides who gets a translated
 * port; false when another flow has it. What is left of a flow whose forward half
 * was evicted gives way to the new one.
 */
static __always_inline bool flow_claim4(const struct flow_key4 *key, const struct flow4 *flow)
{
	struct flow_key4 other = other_key4(key, flow);
	struct flow4 *half, *holder;

	if (dry_run)
		return !bpf_map_lookup_elem(&flows4, &other);
	half = other_half4(key, flow);
	if (!half)
		return false;
	if (!bpf_map_update_elem(&flows4, &other, half, BPF_NOEXIST))
		return true;
	holder = bpf_map_lookup_elem(&flows4, &other);
	if (!holder)
		return false;
	if (flow_alive(&holder->head, other.protocol, flow->head.created))
		return halves_match4(key, holder) && !bpf_map_update_elem(&flows4, &other, half, BPF_ANY);
	flow_delete4(&other, holder);
	return !bpf_map_update_elem(&flows4, &other, half, BPF_NOEXIST);
}

/*
 * flow_commit4 inserts the forward half of a claimed flow. The key is copied,
 * since it may be memory that a function was passed, and Linux 6.1 takes no such
 * memory for a map's key.
 */
static __always_inline bool flow_commit4(const struct flow_key4 *key, const struct flow4 *flow)
{
	struct flow_key4 copy = *key;

	if (dry_run || !bpf_map_update_elem(&flows4, &copy, flow, BPF_ANY))
		return true;
	copy = other_key4(key, flow);
	bpf_map_delete_elem(&flows4, &copy);
	return false;
}

#endif
