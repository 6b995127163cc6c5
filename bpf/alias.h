/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Aliases: an address of a network (VIP) behind which its members take new
 * connections in strict turn. No device has the address, so the programs also
 * answer the ARP requests for it.
 */
#ifndef SLUICE_ALIAS_H
#define SLUICE_ALIAS_H

#include "open.h"

static __always_inline struct vip *vip4(__be32 addr)
{
	return bpf_map_lookup_elem(&vips4, &addr);
}

/* The member whose turn it is, 0 when there is none. */
static __always_inline __u32 vip_turn4(const struct vip *vip)
{
	__u32 slot = vip->alias, count = vip->count;
	struct turns *turns = bpf_map_lookup_elem(&alias_turns, &slot);
	__u64 turn;

	if (!turns || !count)
		return 0;
	turn = dry_run ? turns->turn4 : __sync_fetch_and_add(&turns->turn4, 1);
	turn %= count;
	return turn < MAX_ALIAS_MEMBERS ? vip->members[turn] : 0;
}

/*
 * meet4 opens a flow inside a network to an endpoint, which sees the client as
 * `src`. The host's packets, which have no sender, are delivered by the bridge:
 * redirect_peer works at ingress only. A loopback address means nothing to an
 * endpoint, which sees its gateway then.
 */
static __always_inline int meet4(struct __sk_buff *skb, struct packet *p, __u32 index, __u32 rule, __be32 src)
{
	struct snat_search search = { .skb = skb, .key = p->key, .flow = opening(), .host_source = !p->sender };
	__u32 client = p->sender, number;
	struct flow4 *flow = search.flow;
	struct endpoint *to = receiver(p, index);
	struct endpoint *from = bpf_map_lookup_elem(&endpoints, &client);
	bool loopback = ipv4_loopback(src), own;
	struct network *network;

	if (!to || !from || !flow)
		return VERDICT_DROP;
	number = to->network;
	network = bpf_map_lookup_elem(&networks, &number);
	if (!network)
		return drop(p, REASON_NO_ENDPOINT);
	flow_begin(flow, index, rule);
	flow->head.target = client ? TARGET_ENDPOINT : TARGET_STACK;
	flow->head.back_target = client ? TARGET_PEER : TARGET_STACK;
	flow->head.back_zone = to->network;
	flow->head.peer = client;
	flow->head.peer_generation = client ? from->generation : 0;
	flow->src = loopback ? network->gateway4 : src;
	flow->sport = p->key.sport;
	flow->dst = to->addr4;
	flow->dport = p->key.dport;
	/* A port of the gateway may be a socket's. A client's own is its own, unless
	 * another alias leads it to the same member, or it is that member and asks
	 * for the port that it asks from: its answers would look like its requests. */
	own = !loopback && (client != index || flow->sport != flow->dport);
	if ((!own || !flow_claim4(&p->key, flow)) && !snat_claim4(&search))
		return drop(p, REASON_MASQUERADE_EXHAUSTED);
	return open4(p, flow);
}

/*
 * balance4 opens a flow to the member of an alias whose turn it is, NO_VERDICT
 * when the destination is no alias. A member that is chosen for itself sees the
 * VIP, or it would answer itself directly.
 */
__noinline int balance4(struct __sk_buff *skb, struct packet *p)
{
	struct vip *vip;
	__u32 member;
	__u16 reason;

	if (!p)
		return NO_VERDICT;
	vip = vip4(p->key.dst);
	if (!vip)
		return NO_VERDICT;
	reason = untranslatable(p);
	if (reason)
		return drop(p, reason);
	member = vip_turn4(vip);
	if (!member)
		return drop(p, REASON_NO_MEMBER);
	return meet4(skb, p, member, vip->rule, member == p->sender ? p->key.dst : p->key.src);
}

struct arp_frame {
	struct eth_header eth;
	struct arp_ipv4 arp;
} __attribute__((packed));

/*
 * answer_arp turns a container's request for a VIP into the answer. The MAC
 * address is made of the IPv4 address, as those of endpoints are (MACFor in
 * internal/netdev); nobody looks at it later.
 */
static __always_inline int answer_arp(struct __sk_buff *skb, struct packet *p)
{
	struct arp_frame *frame = bytes(skb, 0, sizeof(*frame));
	__u8 mac[6] = { 0x02, 0x42 };
	__be32 vip;

	if (!frame)
		return drop(p, REASON_MALFORMED);
	vip = frame->arp.target;
	__builtin_memcpy(mac + 2, &vip, sizeof(vip));
	__builtin_memcpy(frame->eth.dst, frame->arp.sender_mac, sizeof(mac));
	__builtin_memcpy(frame->eth.src, mac, sizeof(mac));
	__builtin_memcpy(frame->arp.target_mac, frame->arp.sender_mac, sizeof(mac));
	__builtin_memcpy(frame->arp.sender_mac, mac, sizeof(mac));
	frame->arp.op = bpf_htons(ARP_REPLY);
	frame->arp.target = frame->arp.sender;
	frame->arp.sender = vip;
	skb->mark = 0;
	skb->tstamp = 0;
	p->redirect = bpf_redirect(skb->ifindex, 0);
	return VERDICT_REDIRECT;
}

#endif
