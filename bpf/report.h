/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reports of dropped packets, for whoever watches. Nobody does most of the
 * time: a packet that is not dropped never comes here, and one that is costs
 * one array lookup then.
 */
#ifndef SLUICE_REPORT_H
#define SLUICE_REPORT_H

#include "config.h"
#include "enter.h"
#include "maps.h"

#define SECOND_NS 1000000000ULL

/* Whether somebody watches. A daemon that was killed cannot say that it does not any more: its lease ends. */
static __always_inline bool watched(__u64 now)
{
	__u32 slot = 0;
	__u64 *until = bpf_map_lookup_elem(&report_lease, &slot);

	return until && now < *until;
}

/* withhold counts a drop that the watchers do not see. */
static __always_inline void withhold(struct report_budget *budget)
{
	if (!dry_run)
		budget->withheld++;
}

/* within_budget takes one of this second's reports; without, the drop is counted as withheld. */
static __always_inline bool within_budget(struct report_budget *budget, __u64 now)
{
	__u64 second = now / SECOND_NS;

	if (dry_run)
		return true;
	if (budget->second != second) {
		budget->second = second;
		budget->reported = 0;
	}
	if (budget->reported >= REPORTS_PER_SECOND) {
		withhold(budget);
		return false;
	}
	budget->reported++;
	return true;
}

/* report_drop tells the watchers, if there are any, of a dropped packet. */
__noinline int report_drop(struct __sk_buff *skb, __u32 reason, __u32 hook)
{
	__u32 captured = skb->len < EVENT_BYTES ? skb->len : EVENT_BYTES;
	__u64 now = bpf_ktime_get_ns();
	struct report_budget *budget;
	struct drop_event *event;

	if (!watched(now))
		return 0;
	budget = bpf_map_lookup_elem(&report_budgets, &reason);
	if (!budget || !within_budget(budget, now))
		return 0;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		withhold(budget);
		return 0;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time = now;
	event->ifindex = skb->ifindex;
	event->length = skb->len;
	event->reason = reason;
	event->hook = hook;
	event->link = LINK_LEN;
	if (load(skb, 0, event->data, EVENT_BYTES, captured))
		event->captured = captured;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

#endif
