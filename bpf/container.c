// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hook `container`: the host side of a container's veth, ingress: all that a
 * container sends. Order: source checks; a neighbour, when the sender has no
 * flows with it; a flow; a neighbour or an alias; a published port of the host;
 * the host itself; another network; the outside.
 */
#include "alias.h"
#include "ipv6.h"
#include "publish.h"
#include "source_route.h"

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

static __always_inline int container_arp(struct __sk_buff *skb, struct packet *p, const struct sender *s)
{
	struct arp_ipv4 *arp = bytes(skb, ETH_LEN, sizeof(*arp));

	if (!arp || arp->hardware != bpf_htons(1) || arp->protocol != bpf_htons(ETH_P_IP) ||
	    arp->hardware_len != 6 || arp->protocol_len != 4)
		return drop(p, REASON_MALFORMED);
	if (!same_mac(arp->sender_mac, s->endpoint->mac))
		return drop(p, REASON_SPOOFED_ARP);
	/* A sender of zero only asks whether an address is in use (RFC 5227). */
	if (arp->sender && arp->sender != s->endpoint->addr4)
		return drop(p, REASON_SPOOFED_ARP);
	if (arp->op == bpf_htons(ARP_REQUEST) && vip4(arp->target))
		return answer_arp(skb, p);
	return VERDICT_PASS;
}

static __always_inline bool in_own_network(const struct packet *p, const struct sender *s)
{
	return (p->key.dst & s->network->mask4) == s->network->subnet4 && p->key.dst != s->network->gateway4;
}

static __always_inline bool broadcast_or_multicast(const struct packet *p, const struct sender *s)
{
	return ipv4_multicast_or_reserved(p->key.dst) ||
	       p->key.dst == (s->network->subnet4 | ~s->network->mask4);
}

/* The index of the endpoint that has the destination address, or NULL. */
static __always_inline __u32 *neighbour(const struct packet *p)
{
	__be32 dst = p->key.dst;

	return bpf_map_lookup_elem(&endpoints4, &dst);
}

static __always_inline int to_neighbour(struct __sk_buff *skb, struct packet *p, __u32 index)
{
	struct endpoint *endpoint = receiver(p, index);

	return endpoint ? deliver(skb, p, endpoint) : VERDICT_DROP;
}

/* Inside the own network, without a flow: a neighbour, or an alias's members. */
static __always_inline int to_own_network(struct __sk_buff *skb, struct packet *p)
{
	__u32 *index = neighbour(p);
	int verdict;

	if (index)
		return to_neighbour(skb, p, *index);
	verdict = balance4(skb, p);
	return verdict == NO_VERDICT ? drop(p, REASON_NO_ENDPOINT) : verdict;
}

/* masquerade opens a flow from the sender to the outside. */
__noinline int masquerade(struct __sk_buff *skb, struct packet *p)
{
	struct snat_search search = { .skb = skb, .flow = opening(), .host_source = true };
	struct flow4 *flow = search.flow;
	struct bpf_fib_lookup fib;
	struct uplink *uplink;
	struct sender s;
	__be32 src;
	__u16 reason;

	if (!p || !flow || !sender_find(skb, &s))
		return VERDICT_DROP;
	search.key = p->key;
	if (!s.network->rule)
		return drop(p, REASON_INTERNAL);
	reason = untranslatable(p);
	if (!reason && p->ttl <= 1)
		reason = REASON_TTL_EXCEEDED;
	if (!reason)
		reason = route_ipv4(skb, p, 0, p->key.dst, true, &fib);
	if (reason)
		return drop(p, reason);
	uplink = route_uplink(&fib);
	if (!uplink)
		return drop(p, REASON_NOT_AN_UPLINK);
	src = fib.ipv4_src ? fib.ipv4_src : uplink->addr4;
	if (!src)
		return drop(p, REASON_NO_SOURCE);
	flow_begin(flow, s.index, s.network->rule);
	flow->head.hops = 1;
	flow->head.target = TARGET_OUTSIDE;
	flow->head.back_target = TARGET_ENDPOINT;
	flow->head.back_zone = ZONE_OUTSIDE;
	flow->src = src;
	flow->dst = p->key.dst;
	flow->dport = p->key.dport;
	if (!snat_claim4(&search))
		return drop(p, REASON_MASQUERADE_EXHAUSTED);
	return open4(p, flow);
}

/* To an address of the host: one of its published ports, or the host itself. */
static __always_inline int to_host(struct __sk_buff *skb, struct packet *p)
{
	__u32 rule = published_to4(skb, p);

	return rule ? publish4(skb, p, rule) : VERDICT_PASS;
}

static __always_inline bool address_of_host(const struct packet *p, const struct sender *s)
{
	__be32 dst = p->key.dst;
	struct host_addr *host = bpf_map_lookup_elem(&host_addrs4, &dst);

	/* Another network's gateway is an address of that network. */
	return host && (!host->network || host->network == s->endpoint->network);
}

/* What is of no flow: it may open one, or be about one. */
static __always_inline int without_flow4(struct __sk_buff *skb, struct packet *p, const struct sender *s)
{
	int verdict = p->icmp_error ? error4(skb, p) : NO_VERDICT;

	if (verdict != NO_VERDICT)
		return verdict;
	if (in_own_network(p, s))
		return to_own_network(skb, p);
	if (address_of_host(p, s))
		return to_host(skb, p);
	if (address_of_a_network(p->key.dst))
		return drop(p, REASON_ISOLATION);
	return masquerade(skb, p);
}

static __always_inline int container_ipv4(struct __sk_buff *skb, struct packet *p, const struct sender *s)
{
	struct flow4 *flow;
	__u32 *index;
	int verdict;

	p->sender = s->index;
	p->self = s->network->gateway4;
	if (!parse_ipv4(skb, p))
		return drop(p, REASON_MALFORMED);
	if (p->key.src != s->endpoint->addr4)
		return drop(p, REASON_SPOOFED_ADDRESS);
	if (source_routed(skb, p))
		return drop(p, REASON_SOURCE_ROUTE);
	if (ipv4_loopback(p->key.dst) || !(p->key.dst & bpf_htonl(0xff000000)))
		return drop(p, REASON_MARTIAN);
	if (broadcast_or_multicast(p, s))
		return VERDICT_PASS;
	p->key.zone = s->endpoint->network;
	/* Nobody reaches the sender by translation: its neighbours have no flows with it. */
	if (in_own_network(p, s) && !(s->endpoint->flags & ENDPOINT_TRANSLATED)) {
		index = neighbour(p);
		if (index)
			return to_neighbour(skb, p, *index);
	}
	flow = flow_of4(p);
	if (!flow) {
		verdict = without_flow4(skb, p, s);
		if (verdict != OPENED)
			return verdict;
		flow = opening();
	}
	return flow ? follow4(skb, p, flow) : VERDICT_DROP;
}

static __always_inline int from_container(struct __sk_buff *skb, struct packet *p)
{
	struct sender s;
	struct eth_header *eth;

	if (!sender_find(skb, &s))
		return drop(p, REASON_UNKNOWN_DEVICE);
	eth = bytes(skb, 0, sizeof(*eth));
	if (!eth)
		return drop(p, REASON_MALFORMED);
	if (!same_mac(eth->src, s.endpoint->mac))
		return drop(p, REASON_SPOOFED_MAC);
	if (skb->vlan_present)
		return drop(p, REASON_ETHERTYPE);
	switch (eth->type) {
	case bpf_htons(ETH_P_IP):
		return container_ipv4(skb, p, &s);
	case bpf_htons(ETH_P_ARP):
		return container_arp(skb, p, &s);
	case bpf_htons(ETH_P_IPV6):
		return container_ipv6(p);
	}
	return drop(p, REASON_ETHERTYPE);
}

SEC("tc")
int container_ingress(struct __sk_buff *skb)
{
	struct packet p = {};

	return leave(skb, &p, HOOK_CONTAINER, from_container(skb, &p));
}

char _license[] SEC("license") = "GPL";
