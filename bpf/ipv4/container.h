/* SPDX-License-Identifier: GPL-2.0-only */
/* What is particular to IPv4 in what containers send; ../ipv6/container.h has the same for IPv6. */
#include "arp.h"

static __always_inline bool own_address4(__be32 addr, const struct endpoint *e)
{
	return addr == e->addr4;
}

static __always_inline int container_arp(struct __sk_buff *skb, struct packet4 *p, const struct sender *s)
{
	struct arp_ipv4 *arp = bytes(skb, LINK_LEN, sizeof(*arp));

	if (!arp || arp->hardware != bpf_htons(1) || arp->protocol != bpf_htons(ETH_P_IP4) ||
	    arp->hardware_len != 6 || arp->protocol_len != 4)
		return drop4(p, REASON_MALFORMED);
	if (!same_mac(arp->sender_mac, s->endpoint->mac))
		return drop4(p, REASON_SPOOFED_ARP);
	/* A sender of zero only asks whether an address is in use (RFC 5227). */
	if (arp->sender && arp->sender != s->endpoint->addr4)
		return drop4(p, REASON_SPOOFED_ARP);
	if (arp->op == bpf_htons(ARP_REQUEST) && vip_of4(arp->target))
		return answer_arp(skb, p);
	return VERDICT_PASS;
}

/*
 * check_source4 drops what is not from the sender, and passes to the bridge what is for all;
 * NO_VERDICT on the rest.
 */
static __always_inline int check_source4(struct __sk_buff *skb, struct packet4 *p, const struct sender *s)
{
	if (p->key.src != s->endpoint->addr4)
		return drop4(p, REASON_SPOOFED_ADDRESS);
	if (source_routed4(skb, p))
		return drop4(p, REASON_SOURCE_ROUTE);
	if (p->icmp_error && !tells_own4(skb, p))
		return drop4(p, REASON_SPOOFED_ADDRESS);
	if (is_martian4(p->key.dst))
		return drop4(p, REASON_MARTIAN);
	if (is_multicast4(p->key.dst) || is_broadcast4(p->key.dst, s->network->subnet4, s->network->mask4))
		return VERDICT_PASS;
	return NO_VERDICT;
}

static __always_inline int container_other4(struct __sk_buff *skb, struct packet4 *p, const struct sender *s, __be16 type)
{
	return type == bpf_htons(ETH_P_ARP) ? container_arp(skb, p, s) : drop4(p, REASON_ETHERTYPE);
}
