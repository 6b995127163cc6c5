/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ICMP errors that the host's stack cannot send for us, because it does not
 * forward: time exceeded (RFC 792) and fragmentation needed (RFC 1191). The
 * packet itself becomes the error and goes back to where it came from.
 */
#ifndef SLUICE_ANSWER_H
#define SLUICE_ANSWER_H

#include "config.h"
#include "maps.h"
#include "parse.h"
#include "rewrite.h"

#define ANSWER_TTL 64
#define ANSWER_TOS 0xc0 /* internetwork control, RFC 1812 4.3.2.5 */

/* How much of the packet is quoted: its header, and behind it as much as has TCP's checksum. */
#define ANSWER_TRANSPORT 20
#define ANSWER_QUOTE_MAX (60 + ANSWER_TRANSPORT)
#define ANSWER_HEADERS (sizeof(struct ipv4_header) + sizeof(struct icmp_error))

/* At most so many errors a second to each endpoint, and to all that is outside. */
#define ANSWER_INTERVAL_NS 1000000ULL
#define ANSWER_BURST_NS (50 * ANSWER_INTERVAL_NS)

struct answer {
	__u8 type;
	__u8 code;
	__be16 mtu;
};

/*
 * answer_allowed keeps the time until which a sender's share is used up, as
 * the virtual scheduling algorithm of ITU-T I.371 does. Two CPUs that race
 * may both pass, which harms nobody.
 */
static __always_inline bool answer_allowed(__u32 sender)
{
	__u64 *used = bpf_map_lookup_elem(&answer_limits, &sender);
	__u64 now = bpf_ktime_get_ns(), until;

	if (!used)
		return false;
	until = *used > now ? *used : now;
	if (until - now > ANSWER_BURST_NS)
		return false;
	if (!dry_run)
		*used = until + ANSWER_INTERVAL_NS;
	return true;
}

/* RFC 1122 3.2.2: no error about an error, a later fragment, or what no single host has sent. */
static __always_inline bool answerable4(struct __sk_buff *skb, const struct packet *p)
{
	struct ipv4_header *ip = bytes(skb, ETH_LEN, sizeof(*ip));

	return ip && !(ip->fragment & bpf_htons(IPV4_OFFSET_MASK)) && p->self &&
	       (p->key.protocol != IPPROTO_ICMP || p->has_ports) &&
	       p->key.src && !ipv4_loopback(p->key.src) && !ipv4_multicast_or_reserved(p->key.src);
}

/* The one's complement sum of what is quoted, the ICMP header before it included. */
static __always_inline bool answer_sum(struct __sk_buff *skb, __u32 quoted, __u64 *sum)
{
	__u8 message[sizeof(struct icmp_error) + ANSWER_QUOTE_MAX] = {};
	__u32 len = sizeof(struct icmp_error) + quoted;

	if (len > sizeof(message) || bpf_skb_load_bytes(skb, ETH_LEN + sizeof(struct ipv4_header), message, len))
		return false;
	*sum = (__u32)bpf_csum_diff(NULL, 0, (__be32 *)message, sizeof(message), 0);
	return true;
}

static __always_inline bool write_answer4(struct __sk_buff *skb, const struct packet *p, const struct answer *a,
					  __u32 quoted)
{
	struct ipv4_header *ip = bytes(skb, ETH_LEN, ANSWER_HEADERS);
	struct icmp_error *icmp = (void *)(ip + 1);
	struct eth_header *eth;
	__u8 mac[6];
	__u64 sum;

	if (!ip)
		return false;
	*icmp = (struct icmp_error){ .type = a->type, .code = a->code, .mtu = a->mtu };
	*ip = (struct ipv4_header){
		.version_ihl = 0x45,
		.tos = ANSWER_TOS,
		.total_len = bpf_htons(ANSWER_HEADERS + quoted),
		.ttl = ANSWER_TTL,
		.protocol = IPPROTO_ICMP,
		.src = p->self,
		.dst = p->key.src,
	};
	/* Inserting a sum of zero words leaves the sum of all words, complemented. */
	ip->checksum = checksum_update(0xffff, (__u32)bpf_csum_diff(NULL, 0, (__be32 *)ip, sizeof(*ip), 0));
	if (!answer_sum(skb, quoted, &sum))
		return false;
	icmp = bytes(skb, ETH_LEN + sizeof(*ip), sizeof(*icmp));
	if (!icmp)
		return false;
	icmp->checksum = checksum_update(0xffff, sum);
	eth = bytes(skb, 0, sizeof(*eth));
	if (!eth)
		return false;
	__builtin_memcpy(mac, eth->dst, sizeof(mac));
	__builtin_memcpy(eth->dst, eth->src, sizeof(mac));
	__builtin_memcpy(eth->src, mac, sizeof(mac));
	return true;
}

/*
 * answer4 turns a packet that is dropped into an error to its sender, and
 * returns what the redirect helper says; TC_ACT_SHOT when there is none.
 */
__noinline int answer4(struct __sk_buff *skb, struct packet *p)
{
	struct answer a = { .type = ICMP_TIME_EXCEEDED };
	__u32 quoted;

	if (!p || !answerable4(skb, p) || !answer_allowed(p->sender))
		return TC_ACT_SHOT;
	if (p->drop == REASON_MTU_EXCEEDED) {
		a.type = ICMP_UNREACHABLE;
		a.code = ICMP_FRAGMENTATION_NEEDED;
		a.mtu = bpf_htons(p->mtu);
	}
	quoted = p->transport - ETH_LEN + ANSWER_TRANSPORT;
	if (quoted > p->length)
		quoted = p->length;
	if (quoted > ANSWER_QUOTE_MAX)
		return TC_ACT_SHOT;
	/* Cutting comes first: it ends GSO, which growing would refuse. */
	if (bpf_skb_change_tail(skb, ETH_LEN + quoted, 0) ||
	    bpf_skb_adjust_room(skb, ANSWER_HEADERS, BPF_ADJ_ROOM_MAC, 0) ||
	    !write_answer4(skb, p, &a, quoted))
		return TC_ACT_SHOT;
	skb->mark = 0;
	skb->tstamp = 0;
	return bpf_redirect(skb->ifindex, 0);
}

#endif
