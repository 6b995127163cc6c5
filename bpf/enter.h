/* SPDX-License-Identifier: GPL-2.0-only */
/* What a program knows of its packet, and safe access to its bytes. */
#ifndef SLUICE_ENTER_H
#define SLUICE_ENTER_H

#include "types.h"
#include "wire.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct packet {
	__u16 drop;     /* the reason, when the verdict is VERDICT_DROP */
	__s32 redirect; /* what the redirect helper returned, when it is VERDICT_REDIRECT */
	__be32 self;    /* the address that speaks to the sender for the host */
	__u32 sender;   /* the sender's endpoint, 0 outside */
	__u16 mtu;      /* the next hop's, when the packet does not fit */

	__u32 transport; /* offset of the transport header */
	__u16 length;    /* from the network header on */
	__u8 ttl;
	__u8 tcp_flags;
	bool icmp_error; /* it quotes the packet that it is about */
	bool fragment;  /* any fragment, the first included */
	bool later;     /* a fragment that has no transport header */
	__be16 id;      /* what fragments of one packet share */
	bool has_ports; /* the key's ports are valid: TCP, UDP or ICMP echo */
	struct flow_key4 key;
};

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
 * transport_bytes does so from the transport header on. The mask, which clang
 * must not drop, tells the verifier how far an Ethernet and an IPv4 header reach.
 */
static __always_inline void *transport_bytes(struct __sk_buff *skb, struct packet *p, __u32 size)
{
	__u32 offset = p->transport;

	asm volatile("%0 &= 0x7f" : "+r"(offset));
	return bytes(skb, offset, size);
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

static __always_inline int drop(struct packet *p, __u16 reason)
{
	p->drop = reason;
	return VERDICT_DROP;
}

static __always_inline bool same_mac(const __u8 *a, const __u8 *b)
{
	return *(const __u32 *)a == *(const __u32 *)b && *(const __u16 *)(a + 4) == *(const __u16 *)(b + 4);
}

#endif
