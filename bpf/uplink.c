// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hook `uplink`: a device that leads outside, ingress. Order: a flow; a
 * published port; an address of a container network, which nobody outside may
 * reach; everything else is the host's own and passes on.
 */
#include "translate.h"
#include "ipv6.h"

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

static __always_inline int uplink_ipv4(struct packet *p)
{
	struct flow4 *flow;
	struct rule *rule;
	__u32 index = 0;

	if (!parse_ipv4(p))
		return not_ours(p); /* the stack refuses and counts it */
	p->key.zone = ZONE_OUTSIDE;
	if (p->has_ports) {
		flow = flow_find4(p);
		if (flow)
			return follow4(p, flow);
	}
	rule = published_to4(p, &index);
	if (address_of_host(p->key.dst))
		return rule ? publish4(p, rule, index, 0) : VERDICT_PASS;
	return not_ours(p);
}

static __always_inline int from_outside(struct packet *p)
{
	struct __sk_buff *skb = p->skb;

	/* tc runs before VLAN devices and bridges see the frame. */
	if (skb->pkt_type != PACKET_HOST || skb->vlan_present)
		return VERDICT_PASS;
	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		return uplink_ipv4(p);
	case bpf_htons(ETH_P_IPV6):
		return uplink_ipv6(p);
	}
	return VERDICT_PASS;
}

SEC("tc")
int uplink_ingress(struct __sk_buff *skb)
{
	struct packet p = { .skb = skb };

	return leave(&p, HOOK_UPLINK, from_outside(&p));
}

char _license[] SEC("license") = "GPL";
