/* SPDX-License-Identifier: GPL-2.0-only */
/* Safe access to a packet's bytes. */
#ifndef SLUICE_ENTER_H
#define SLUICE_ENTER_H

#include "types.h"
#include "wire.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/*
 * The packet's byte at offset. The context's fields are 32 bits wide, and clang
 * likes to move them so between branches, where the verifier loses the pointer.
 */
static __always_inline void *byte_at(struct __sk_buff *skb, __u32 offset)
{
	void *data = (void *)(long)skb->data;

	asm volatile("" : "+r"(data));
	return data + offset;
}

/*
 * bytes returns `size` bytes from `offset` on, or NULL when the packet is
 * shorter. It may make the kernel pull them into the linear part, which
 * invalidates pointers got before.
 */
static __always_inline void *bytes(struct __sk_buff *skb, __u32 offset, __u32 size)
{
	void *start = byte_at(skb, offset);

	if (start + size <= (void *)(long)skb->data_end)
		return start;
	if (offset + size > skb->len || bpf_skb_pull_data(skb, offset + size))
		return NULL;
	start = byte_at(skb, offset);
	if (start + size > (void *)(long)skb->data_end)
		return NULL;
	return start;
}

/*
 * load copies `size` bytes, at least one and at most `most`, false when the
 * packet has fewer. Linux 6.1 learns nothing from "not 0", and clang would make
 * one comparison of two, of another register: so each bound is compared by
 * itself, of a value that clang knows nothing of.
 */
static __always_inline bool load(struct __sk_buff *skb, __u32 offset, void *to, __u32 most, __u32 size)
{
	asm volatile("" : "+r"(size));
	if ((__s32)size <= 0)
		return false;
	asm volatile("" : "+r"(size));
	return size <= most && !bpf_skb_load_bytes(skb, offset, to, size);
}

/*
 * The length of an IP packet whose header says `said`, and `more` that it does not
 * count: nothing where 16 bits cannot say it, which a device has yet to cut (BIG TCP).
 */
static __always_inline __u32 whole_length(struct __sk_buff *skb, __u16 said, __u32 more)
{
	return said || !skb->gso_size ? said + more : skb->len - LINK_LEN;
}

/* add_link puts an Ethernet header without addresses before the IP header. */
static __always_inline bool add_link(struct __sk_buff *skb)
{
	struct eth_header *eth;

	if (bpf_skb_change_head(skb, ETH_LEN, 0))
		return false;
	eth = bytes(skb, 0, sizeof(*eth));
	if (!eth)
		return false;
	eth->type = skb->protocol;
	return true;
}

static __always_inline void copy_mac(__u8 *to, const __u8 *from)
{
	*(__u32 *)to = *(const __u32 *)from;
	*(__u16 *)(to + 4) = *(const __u16 *)(from + 4);
}

static __always_inline bool same_mac(const __u8 *a, const __u8 *b)
{
	return *(const __u32 *)a == *(const __u32 *)b && *(const __u16 *)(a + 4) == *(const __u16 *)(b + 4);
}

#endif
