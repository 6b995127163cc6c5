/* SPDX-License-Identifier: GPL-2.0-only */
/* The state of a flow, of either family: is it alive, and is what it belongs to still there? */
#ifndef SLUICE_STATE_H
#define SLUICE_STATE_H

#include "config.h"
#include "maps.h"
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
