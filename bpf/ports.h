/* SPDX-License-Identifier: GPL-2.0-only */
/* Published ports: from a host address and port to a rule. */
#ifndef SLUICE_PORTS_H
#define SLUICE_PORTS_H

#include "maps.h"
#include "wire.h"
#include <bpf/bpf_endian.h>

/* The first rule on a port, 0 for none; port is in network byte order. */
static __always_inline __u32 port_head(__u8 protocol, __be16 port)
{
	__u32 index = bpf_ntohs(port);
	__u32 *head = NULL;

	if (protocol == IPPROTO_TCP)
		head = bpf_map_lookup_elem(&ports_tcp, &index);
	else if (protocol == IPPROTO_UDP)
		head = bpf_map_lookup_elem(&ports_udp, &index);
	return head ? *head : 0;
}

static __always_inline bool rule_covers(const struct rule *rule, __be16 port)
{
	__u16 number = bpf_ntohs(port);

	return rule->kind == RULE_PUBLISH && number >= rule->first && number <= rule->last;
}

/*
 * published4 returns the rule for a connection to addr:port and its index, or
 * NULL. Rules for one address stand before those for every address.
 */
static __always_inline struct rule *published4(__u8 protocol, __be32 addr, __be16 port, __u32 *index)
{
	__u32 next = port_head(protocol, port);

	for (int i = 0; i < MAX_RULE_CHAIN && next; i++) {
		struct rule *rule = bpf_map_lookup_elem(&rules, &next);

		if (!rule)
			return NULL;
		if (rule_covers(rule, port) && (!rule->addr4 || rule->addr4 == addr)) {
			*index = next;
			return rule;
		}
		next = rule->next;
	}
	return NULL;
}

/* Whether binding addr:port would take a published port away; addr may be 0. */
static __always_inline bool bind_conflicts4(__u8 protocol, __be32 addr, __be16 port)
{
	__u32 next = port_head(protocol, port);

	for (int i = 0; i < MAX_RULE_CHAIN && next; i++) {
		struct rule *rule = bpf_map_lookup_elem(&rules, &next);

		if (!rule)
			return false;
		if (rule_covers(rule, port) && (!rule->addr4 || !addr || rule->addr4 == addr))
			return true;
		next = rule->next;
	}
	return false;
}

static __always_inline __be16 rule_target(const struct rule *rule, __be16 port)
{
	return bpf_htons(rule->target + (bpf_ntohs(port) - rule->first));
}

#endif
