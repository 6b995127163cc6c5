/* SPDX-License-Identifier: GPL-2.0-only */
/* The Internet checksum's arithmetic, RFC 1071 and 1624. */
#ifndef SLUICE_SUM_H
#define SLUICE_SUM_H

#include "abi.h"
#include <bpf/bpf_helpers.h>

/* RFC 1624: the difference that replacing `from` by `to` makes to a sum. */
static __always_inline __u64 sum_replace(__u64 sum, __u32 from, __u32 to)
{
	return sum + (__u32)~from + to;
}

static __always_inline __wsum sum_fold32(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (sum & 0xffffffff) + (sum >> 32);
}

/* The same, where a sum that changes nothing is 0 and not its complement. */
static __always_inline __wsum sum_fold_zero(__u64 sum)
{
	__u64 folded = sum_fold32(sum);

	return folded + ((folded + 1) >> 32);
}

/* The checksum field after a change by diff. */
static __always_inline __u16 checksum_update(__u16 checksum, __u64 diff)
{
	__u64 sum = (__u16)~checksum + diff;

	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

#endif
