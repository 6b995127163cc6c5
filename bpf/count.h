/* SPDX-License-Identifier: GPL-2.0-only */
/* Counters. All are per CPU: no cache line is shared between packets. */
#ifndef SLUICE_COUNT_H
#define SLUICE_COUNT_H

#include "config.h"
#include "enter.h"
#include "maps.h"

static __always_inline void count_by(void *map, __u32 index, __u64 n)
{
	__u64 *counter;

	if (dry_run || !n)
		return;
	counter = bpf_map_lookup_elem(map, &index);
	if (counter)
		*counter += n;
}

static __always_inline void count(void *map, __u32 index)
{
	count_by(map, index, 1);
}

static __always_inline struct rule_counters *rule_counters_of(__u32 rule)
{
	return dry_run || !rule ? NULL : bpf_map_lookup_elem(&rule_counts, &rule);
}

/* A new flow by its first packet; length is 0 where there is no packet yet. */
static __always_inline void count_flow(__u32 rule, __u32 length)
{
	struct rule_counters *counters = rule_counters_of(rule);

	if (!counters)
		return;
	counters->flows++;
	counters->flow_bytes += length;
}

static __always_inline void count_translated(__u32 rule, __u32 length)
{
	struct rule_counters *counters = rule_counters_of(rule);

	if (!counters)
		return;
	counters->packets++;
	counters->bytes += length;
}

#endif
