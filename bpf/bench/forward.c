// SPDX-License-Identifier: GPL-2.0-only
/*
 * What `make bench` needs beside the datapath: an end for the frames that
 * counts them, the same in every arm; one that answers them; and the least
 * that a forwarding program can do.
 */
#include "../wire.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} received SEC(".maps");

/* The device, or the device whose peer, the redirects hand everything to. */
volatile const __u32 redirect_to;

/* Whether the byte that names what an IP header carries says UDP. */
static __always_inline bool says_udp(struct __sk_buff *skb, __u32 offset)
{
	__u8 protocol;

	return !bpf_skb_load_bytes(skb, ETH_LEN + offset, &protocol, sizeof(protocol)) && protocol == IPPROTO_UDP;
}

static __always_inline bool is_udp4(struct __sk_buff *skb)
{
	return skb->protocol == bpf_htons(ETH_P_IP4) && says_udp(skb, offsetof(struct ipv4_header, protocol));
}

static __always_inline bool is_udp6(struct __sk_buff *skb)
{
	return skb->protocol == bpf_htons(ETH_P_IP6) && says_udp(skb, offsetof(struct ipv6_header, next));
}

/* Counts and drops UDP. */
SEC("tc")
int count_and_drop(struct __sk_buff *skb)
{
	__u32 zero = 0;
	__u64 *count;

	if (!is_udp4(skb) && !is_udp6(skb))
		return TCX_NEXT;
	count = bpf_map_lookup_elem(&received, &zero);
	if (count)
		(*count)++;
	return TC_ACT_SHOT;
}

/* Exchanges two fields of up to 16 bytes, side by side. Checksums do not change. */
static __always_inline long swap(struct __sk_buff *skb, __u32 offset, __u32 length)
{
	__u8 both[32];

	if (bpf_skb_load_bytes(skb, offset, both, 2 * length))
		return -1;
	if (bpf_skb_store_bytes(skb, offset, both + length, length, 0))
		return -1;
	return bpf_skb_store_bytes(skb, offset + length, both, length, 0);
}

/* Sends UDP right behind the IP header back to where it came from. */
SEC("tc")
int reflect(struct __sk_buff *skb)
{
	long failed;

	if (is_udp4(skb)) {
		failed = swap(skb, ETH_LEN + offsetof(struct ipv4_header, src), 4);
		failed |= swap(skb, ETH_LEN + sizeof(struct ipv4_header), 2);
	} else if (is_udp6(skb)) {
		failed = swap(skb, ETH_LEN + offsetof(struct ipv6_header, src), 16);
		failed |= swap(skb, ETH_LEN + sizeof(struct ipv6_header), 2);
	} else {
		return TCX_NEXT;
	}
	failed |= swap(skb, 0, 6);
	if (failed)
		return TC_ACT_SHOT;
	return bpf_redirect(skb->ifindex, 0);
}

SEC("tc")
int bare_redirect(struct __sk_buff *skb)
{
	return bpf_redirect_peer(redirect_to, 0);
}

/* The frame keeps its MAC addresses: where it ends nobody looks at them. */
SEC("tc")
int bare_redirect_out(struct __sk_buff *skb)
{
	return bpf_redirect(redirect_to, 0);
}

char _license[] SEC("license") = "GPL";
