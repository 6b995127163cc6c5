// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hook `uplink`: a device that leads outside, ingress. Order: a flow; a
 * published port; an address of a container network, which nobody outside may
 * reach; everything else is the host's own and passes on.
 */
#include "ipv6.h"
#include "publish.h"
#include "source_route.h"

static __always_inline bool address_of_host(__be32 addr)
{
	struct host_addr *host = bpf_map_lookup_elem(&host_addrs4, &addr);

	return host && !host->network;
}

/* What no flow and no published port has taken. */
static __always_inline int not_ours(struct packet *p)
{
	return address_of_a_network(p->key.dst) ? drop(p, REASON_UNPUBLISHED) : VERDICT_PASS;
}

/*
 * Whether a source is one that the stack would refuse, whom a published port
 * passes by: one that no host has, or one of ours, which nobody outside has.
 */
static __always_inline bool martian_source(const struct packet *p)
{
	__be32 src = p->key.src;

	return ipv4_loopback(src) || !(src & bpf_htonl(0xff000000)) || ipv4_multicast_or_reserved(src) ||
	       bpf_map_lookup_elem(&host_addrs4, &src) || address_of_a_network(src);
}

/* What is of no flow: it may open one, or be about one. */
static __always_inline int without_flow4(struct __sk_buff *skb, struct packet *p)
{
	int verdict = p->icmp_error ? error4(skb, p) : NO_VERDICT;
	__u32 rule;

	if (verdict != NO_VERDICT)
		return verdict;
	rule = published_to4(skb, p);
	if (!address_of_host(p->key.dst))
		return not_ours(p);
	if (!rule)
		return VERDICT_PASS;
	return martian_source(p) ? drop(p, REASON_MARTIAN) : publish4(skb, p, rule);
}

static __always_inline int uplink_ipv4(struct __sk_buff *skb, struct packet *p)
{
	struct flow4 *flow;
	int verdict;

	/* The stack refuses and counts it; a source route if accept_source_route is 0. */
	if (!parse_ipv4(skb, p) || source_routed(skb, p))
		return not_ours(p);
	p->key.zone = ZONE_OUTSIDE;
	p->self = p->key.dst;
	flow = flow_of4(p);
	if (!flow) {
		verdict = without_flow4(skb, p);
		if (verdict != OPENED)
			return verdict;
		flow = opening();
	}
	return flow ? follow4(skb, p, flow) : VERDICT_DROP;
}

static __always_inline int from_outside(struct __sk_buff *skb, struct packet *p)
{
	/* tc runs before VLAN devices and bridges see the frame. */
	if (skb->pkt_type != PACKET_HOST || skb->vlan_present)
		return VERDICT_PASS;
	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		return uplink_ipv4(skb, p);
	case bpf_htons(ETH_P_IPV6):
		return uplink_ipv6(skb, p);
	}
	return VERDICT_PASS;
}

SEC("tc")
int uplink_ingress(struct __sk_buff *skb)
{
	struct packet p = {};

	return leave(skb, &p, HOOK_UPLINK, from_outside(skb, &p));
}

char _license[] SEC("license") = "GPL";
