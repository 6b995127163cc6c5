// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hook `resolver`: ingress of a sandbox's loopback device. Name servers are
 * asked at port 53, and the daemon's socket is bound to another one, so that
 * the container may listen on port 53 of every address itself. What goes to
 * port 53 of 127.0.0.11 goes to the daemon's port, and its answers come from
 * port 53. Loopback packets meet ingress once in each direction, before any
 * socket is looked up: nothing has to be remembered.
 */
#include "common.h"

#define FAMILY 4
#include "family/base.h"

static __always_inline bool from_resolver(const packet_t *p)
{
	return p->key.src == bpf_htonl(RESOLVER_ADDR) && p->key.sport == bpf_htons(RESOLVER_PORT);
}

static __always_inline bool to_resolver(const packet_t *p)
{
	return p->key.dst == bpf_htonl(RESOLVER_ADDR) && p->key.dport == bpf_htons(DNS_PORT);
}

/* swap_port changes one port and the checksum over it; the IP header stays. */
static __always_inline int swap_port(struct __sk_buff *skb, packet_t *p)
{
	flow_t to = { .sport = p->key.sport, .dport = p->key.dport };
	__u64 change;

	if (to_resolver(p)) {
		to.dport = bpf_htons(RESOLVER_PORT);
		change = sum_replace(0, bpf_htons(DNS_PORT), to.dport);
	} else {
		to.sport = bpf_htons(DNS_PORT);
		change = sum_replace(0, bpf_htons(RESOLVER_PORT), to.sport);
	}
	if (!transport_checksum(skb, p, 0, sum_fold32(change)) || !write_ports(skb, p, &to))
		return drop(p, REASON_REWRITE);
	return VERDICT_PASS;
}

static __always_inline int on_loopback(struct __sk_buff *skb, packet_t *p)
{
	if (skb->protocol != bpf_htons(ETH_P_IP4) || !parse_ip(skb, p) || !p->has_ports ||
	    p->key.protocol == IPPROTO_ICMP4)
		return VERDICT_PASS;
	return to_resolver(p) || from_resolver(p) ? swap_port(skb, p) : VERDICT_PASS;
}

SEC("tc")
int resolver_ingress(struct __sk_buff *skb)
{
	packet_t *p = new_packet();

	return p ? leave(skb, p, HOOK_RESOLVER, on_loopback(skb, p)) : TC_ACT_SHOT;
}

char _license[] SEC("license") = "GPL";
