/* SPDX-License-Identifier: GPL-2.0-only */
/* Who a packet comes from: the endpoint behind a veth. */
#ifndef SLUICE_SENDER_H
#define SLUICE_SENDER_H

#include "config.h"
#include "maps.h"

struct sender {
	__u32 index;
	struct endpoint *endpoint;
	struct network *network;
};

/* The endpoint at an index, if it is the one behind a device. */
static __always_inline struct endpoint *endpoint_behind(__u32 ifindex, __u32 index)
{
	struct endpoint *endpoint = bpf_map_lookup_elem(&endpoints, &index);

	return endpoint && endpoint->ifindex == ifindex ? endpoint : NULL;
}

/*
 * sender_find saves the call that a hash map takes where the hint is right: an
 * endpoint knows its device, so a hint that is not is noticed.
 */
static __always_inline bool sender_find(struct __sk_buff *skb, struct sender *s)
{
	__u32 ifindex = skb->ifindex, slot = ifindex % DEVICE_HINTS, number;
	__u32 *index, *hint = bpf_map_lookup_elem(&device_hints, &slot);

	if (!hint)
		return false;
	s->index = *hint;
	s->endpoint = endpoint_behind(ifindex, s->index);
	if (!s->endpoint) {
		index = bpf_map_lookup_elem(&devices, &ifindex);
		if (!index)
			return false;
		s->index = *index;
		s->endpoint = endpoint_behind(ifindex, s->index);
		if (!s->endpoint)
			return false;
		if (!dry_run)
			*hint = s->index;
	}
	number = s->endpoint->network;
	s->network = bpf_map_lookup_elem(&networks, &number);
	return s->network;
}

#endif
