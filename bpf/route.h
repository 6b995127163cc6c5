/* SPDX-License-Identifier: GPL-2.0-only */
/* The way out: the host's routing table decides, an uplink carries. */
#ifndef SLUICE_ROUTE_H
#define SLUICE_ROUTE_H

#include "config.h"
#include "maps.h"
#include "parse.h"

/* The IP length that has to fit an MTU: of each segment when the packet is GSO. */
static __always_inline __u16 segment_length(struct __sk_buff *skb, struct packet *p)
{
	__u32 header_len = sizeof(struct udp_header);
	struct tcp_header *tcp;

	if (!skb->gso_size)
		return p->length;
	if (p->key.protocol == IPPROTO_TCP) {
		tcp = transport_bytes(skb, p, sizeof(*tcp));
		header_len = tcp ? (tcp->data_offset >> 4) * 4 : sizeof(*tcp);
	}
	return p->transport - ETH_LEN + header_len + skb->gso_size;
}

/*
 * route_ipv4 looks up the route of a packet from src to dst. Returns 0 and
 * fills fib, or the reason to drop the packet. With choose_source, fib.ipv4_src
 * becomes the address that the route prefers, or stays src where the kernel
 * cannot tell. A kernel that cannot skip the neighbour may not find one, which
 * is no error: redirect_neigh asks for it.
 */
static __always_inline __u16 route_ipv4(struct __sk_buff *skb, struct packet *p, __be32 src, __be32 dst, bool choose_source,
					struct bpf_fib_lookup *fib)
{
	__u32 flags = 0;
	long code;

	if (fib_skip_neigh)
		flags |= BPF_FIB_LOOKUP_SKIP_NEIGH;
	if (choose_source && fib_source)
		flags |= BPF_FIB_LOOKUP_SRC;
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->family = AF_INET;
	fib->l4_protocol = p->key.protocol;
	fib->tot_len = segment_length(skb, p);
	fib->ifindex = fib_ifindex;
	fib->ipv4_src = src;
	fib->ipv4_dst = dst;
	code = bpf_fib_lookup(skb, fib, sizeof(*fib), flags);
	if (code == BPF_FIB_LKUP_RET_FRAG_NEEDED) {
		p->mtu = fib->tot_len;
		return REASON_MTU_EXCEEDED;
	}
	if (code == BPF_FIB_LKUP_RET_SUCCESS || code == BPF_FIB_LKUP_RET_NO_NEIGH)
		return 0;
	return REASON_NO_ROUTE;
}

/* The uplink that a route leads through, or NULL. */
static __always_inline struct uplink *route_uplink(const struct bpf_fib_lookup *fib)
{
	__u32 ifindex = fib->ifindex;

	return bpf_map_lookup_elem(&uplinks, &ifindex);
}

/* Whether an address belongs to one of our networks, its gateway included. */
static __always_inline bool address_of_a_network(__be32 addr)
{
	struct subnet_key4 key = { .prefix_len = 32, .addr = addr };

	return bpf_map_lookup_elem(&subnets4, &key);
}

#endif
