/* SPDX-License-Identifier: GPL-2.0-only */
/* The uplink that a route leads through. */
#ifndef SLUICE_UPLINKS_H
#define SLUICE_UPLINKS_H

#include "maps.h"

/* NULL when the device is none. */
static __always_inline struct uplink *route_uplink(const struct bpf_fib_lookup *fib)
{
	__u32 ifindex = fib->ifindex;

	return bpf_map_lookup_elem(&uplinks, &ifindex);
}

#endif
