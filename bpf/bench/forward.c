// SPDX-License-Identifier: GPL-2.0-only
/*
 * What `make bench` needs beside the datapath: an end for the frames that
 * counts them, the same in every arm, and the least that a forwarding program
 * can do.
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

/* The device whose peer `bare_redirect` hands everything to. */
volatile const __u32 redirect_to;

/* Counts and drops what is IPv4; ARP passes. */
SEC("tc")
int count_and_drop(struct __sk_buff *skb)
{
	__u32 zero = 0;
	__u64 *count;

	if (skb->protocol != bpf_htons(ETH_P_IP4))
		return TCX_NEXT;
	count = bpf_map_lookup_elem(&received, &zero);
	if (count)
		(*count)++;
	return TC_ACT_SHOT;
}

SEC("tc")
int bare_redirect(struct __sk_buff *skb)
{
	return bpf_redirect_peer(redirect_to, 0);
}

char _license[] SEC("license") = "GPL";
