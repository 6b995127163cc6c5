/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Source ports for flows whose source changes. Candidates lie outside
 * ip_local_port_range and outside the published ports, so that neither the
 * host's later connections nor a listener meets them; a socket lookup catches
 * explicit binds. The reply half, inserted first, decides who has a port.
 */
#ifndef SLUICE_SNAT_H
#define SLUICE_SNAT_H

#include "conntrack.h"
#include "ports.h"

#define SNAT_PROBES 128
#define SNAT_LOWEST 1024

struct snat_search {
	struct __sk_buff *skb;
	struct flow_key4 key;
	struct flow4 *flow;
	__u32 start;
	__u32 probes;
	bool host_source; /* flow->src is an address of the host */
	bool found;
};

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

/* Whether a socket of the host would get the replies. */
static __always_inline bool host_socket_has(struct snat_search *search)
{
	struct bpf_sock_tuple tuple = {
		.ipv4 = {
			.saddr = search->flow->dst,
			.daddr = search->flow->src,
			.sport = search->flow->dport,
			.dport = search->flow->sport,
		},
	};
	struct bpf_sock *sk;

	if (search->key.protocol == IPPROTO_TCP)
		sk = bpf_sk_lookup_tcp(search->skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	else if (search->key.protocol == IPPROTO_UDP)
		sk = bpf_sk_lookup_udp(search->skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	else
		return false;
	if (!sk)
		return false;
	bpf_sk_release(sk);
	return true;
}

static long snat_probe(__u32 i, struct snat_search *search)
{
	__u32 ports = snat_ports_above() + snat_ports_below();

	if (!ports)
		return 1;
	search->probes = i + 1;
	search->flow->sport = bpf_htons(snat_port((search->start + i) % ports));
	if (search->host_source &&
	    (port_head(search->key.protocol, search->flow->sport) || host_socket_has(search)))
		return 0;
	search->found = flow_claim4(&search->key, search->flow);
	return search->found;
}

static __always_inline __u32 snat_slot(const struct flow4 *flow, __u8 protocol)
{
	__u32 hash = (flow->dst ^ ((__u32)flow->dport << 16 | flow->dport) ^ protocol) * 0x9e3779b1;

	return hash >> 20 & (SNAT_CURSORS - 1);
}

/*
 * snat_claim4 finds a source port for search.flow and claims its reply half.
 * The cursor of the destination moves past what was tried, so that the next
 * packet of a flow that found nothing goes on with other ports.
 */
static __always_inline bool snat_claim4(struct snat_search *search)
{
	__u32 slot = snat_slot(search->flow, search->key.protocol);
	__u32 *cursor = bpf_map_lookup_elem(&snat_cursors, &slot);

	if (!cursor)
		return false;
	search->start = *cursor;
	bpf_loop(SNAT_PROBES, snat_probe, search, 0);
	if (!dry_run)
		__sync_fetch_and_add(cursor, search->probes);
	return search->found;
}

#endif
