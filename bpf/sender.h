/* SPDX-License-Identifier: GPL-2.0-only */
/* Who a packet comes from: the endpoint behind a veth. */
#ifndef SLUICE_SENDER_H
#define SLUICE_SENDER_H

#include "maps.h"

struct sender {
	__u32 index;
	struct endpoint *endpoint;
	struct network *network;
};

static __always_inline bool sender_find(struct __sk_buff *skb, struct sender *s)
{
	__u32 ifindex = skb->ifindex, number;
	__u32 *index = bpf_map_lookup_elem(&devices, &ifindex);

	if (!index)
		return false;
	s->index = *index;
	s->endpoint = bpf_map_lookup_elem(&endpoints, index);
	if (!s->endpoint || s->endpoint->ifindex != ifindex)
		return false;
	number = s->endpoint->network;
	s->network = bpf_map_lookup_elem(&networks, &number);
	return s->network;
}

#endif
