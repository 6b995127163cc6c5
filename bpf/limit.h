/* SPDX-License-Identifier: GPL-2.0-only */
/* What answers of our own look like, and when we send none. */
#ifndef SLUICE_LIMIT_H
#define SLUICE_LIMIT_H

#include "config.h"
#include "maps.h"

#define ANSWER_TTL 64
#define ANSWER_CLASS 0xc0   /* internetwork control, RFC 1812 4.3.2.5 */
#define ANSWER_TRANSPORT 20 /* how much of the transport header is quoted */

/*
 * Whether a flow may be on its way from another layout's maps: then nobody can say
 * that a connection is lost, and its packet will come again.
 */
static __always_inline bool flows_are_carried(void)
{
	__u32 slot = 0;
	__u64 *until = bpf_map_lookup_elem(&carrying_until, &slot);

	return until && *until > bpf_ktime_get_ns();
}

/* At most so many a second to each endpoint, and to all that is outside. */
#define ANSWER_INTERVAL_NS 1000000ULL
#define ANSWER_BURST_NS (50 * ANSWER_INTERVAL_NS)

/*
 * answer_allowed keeps the time until which a sender's share is used up, as
 * the virtual scheduling algorithm of ITU-T I.371 does. Two CPUs that race
 * may both pass, which harms nobody.
 */
static __always_inline bool answer_allowed(__u32 sender)
{
	__u64 *used = bpf_map_lookup_elem(&answer_limits, &sender);
	__u64 now = bpf_ktime_get_ns(), until;

	if (!used)
		return false;
	until = *used > now ? *used : now;
	if (until - now > ANSWER_BURST_NS)
		return false;
	if (!dry_run)
		*used = until + ANSWER_INTERVAL_NS;
	return true;
}

#endif
