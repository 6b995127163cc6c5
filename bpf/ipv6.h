/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The IPv6 bodies. Networks have no IPv6 yet, so they refuse what must not
 * pass; flows6 and its kin are in the layout for the day that they translate.
 */
#ifndef SLUICE_IPV6_H
#define SLUICE_IPV6_H

#include "leave.h"

/* From a container: nothing, until its network has IPv6. */
static __always_inline int container_ipv6(struct packet *p)
{
	return drop(p, REASON_IPV6_DISABLED);
}

/* From outside: the host's own traffic, but nothing for a network's addresses. */
static __always_inline int uplink_ipv6(struct __sk_buff *skb, struct packet *p)
{
	struct ipv6_header *ip = bytes(skb, ETH_LEN, sizeof(*ip));
	struct subnet_key6 key = { .prefix_len = 128 };

	if (!ip)
		return VERDICT_PASS;
	__builtin_memcpy(&key.addr, ip->dst, sizeof(key.addr));
	if (bpf_map_lookup_elem(&subnets6, &key))
		return drop(p, REASON_UNPUBLISHED);
	return VERDICT_PASS;
}

#endif
