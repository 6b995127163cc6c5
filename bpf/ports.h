/* SPDX-License-Identifier: GPL-2.0-only */
/* Ports: the rules on those that are published, and those that masquerade may take. */
#ifndef SLUICE_PORTS_H
#define SLUICE_PORTS_H

#include "config.h"
#include "maps.h"
#include "wire.h"
#include <bpf/bpf_endian.h>

#define SNAT_LOWEST 1024

/* The first rule on the port that lies at `port`, in host byte order; 0 for none. */
static __always_inline __u32 port_head_at(__u8 protocol, const __u32 *port)
{
	__u32 *head = NULL;

	if (protocol == IPPROTO_TCP)
		head = bpf_map_lookup_elem(&ports_tcp, port);
	else if (protocol == IPPROTO_UDP)
		head = bpf_map_lookup_elem(&ports_udp, port);
	return head ? *head : 0;
}

/* The same of a port in network byte order. */
static __always_inline __u32 port_head(__u8 protocol, __be16 port)
{
	__u32 number = bpf_ntohs(port);

	return port_head_at(protocol, &number);
}

static __always_inline __be16 rule_target(const struct rule *rule, __be16 port)
{
	return bpf_htons(rule->target + (bpf_ntohs(port) - rule->first));
}

/* How many ports there are above and below ip_local_port_range. */
static __always_inline __u32 snat_ports_above(void)
{
	return 65535 - local_port_last;
}

static __always_inline __u32 snat_ports_below(void)
{
	return local_port_first > SNAT_LOWEST ? local_port_first - SNAT_LOWEST : 0;
}

static __always_inline __u16 snat_port(__u32 n)
{
	if (n < snat_ports_above())
		return local_port_last + 1 + n;
	return SNAT_LOWEST + (n - snat_ports_above());
}

#endif
