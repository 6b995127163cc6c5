/* SPDX-License-Identifier: GPL-2.0-only */
/* ARP (RFC 826) from containers; ../ipv6/nd.h has the same for IPv6. */
#ifndef SLUICE_IPV4_ARP_H
#define SLUICE_IPV4_ARP_H

struct arp_frame {
	struct eth_header eth;
	struct arp_ipv4 arp;
} __attribute__((packed));

/*
 * answer_arp turns a container's request for a VIP, which no device has, into the answer. The MAC
 * address is made of the IPv4 address, as those of endpoints are (MACFor in
 * internal/netdev); nobody looks at it later.
 */
static __always_inline int answer_arp(struct __sk_buff *skb, struct packet4 *p)
{
	struct arp_frame *frame = bytes(skb, 0, sizeof(*frame));
	__u8 mac[6] = { 0x02, 0x42 };
	__be32 vip;

	if (!frame)
		return drop4(p, REASON_MALFORMED);
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
