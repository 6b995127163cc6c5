/* SPDX-License-Identifier: GPL-2.0-only */
/* What the kernel makes of a packet's transport checksum (include/linux/skbuff.h). */
#ifndef SLUICE_CHECKSUM_H
#define SLUICE_CHECKSUM_H

#include "config.h"
#include "sum.h"

/* Linux 6.2; without it, kernel_context is false. */
extern void *bpf_cast_to_kern_ctx(void *obj) __ksym __weak;

/*
 * What the field holds. CHECKSUM_COMPLETE, of which the kernel has a sum beside
 * the packet, stands for every packet where the kernel does not let us look.
 */
static __always_inline __u8 checksum_kind(struct __sk_buff *skb)
{
	struct sk_buff *kernel;
	__u64 bits;

	if (!kernel_context)
		return CHECKSUM_COMPLETE;
	kernel = bpf_cast_to_kern_ctx(skb);
	bits = *((__u8 *)kernel + __builtin_preserve_field_info(kernel->ip_summed, BPF_FIELD_BYTE_OFFSET));
	bits <<= __builtin_preserve_field_info(kernel->ip_summed, BPF_FIELD_LSHIFT_U64);
	return bits >> __builtin_preserve_field_info(kernel->ip_summed, BPF_FIELD_RSHIFT_U64);
}

/* Whether a kind says what it is. */
static __always_inline bool kind_known(__u8 kind)
{
	return kernel_context || kind != CHECKSUM_COMPLETE;
}

/*
 * sum_changed tells the kernel of a difference that no checksum in the packet
 * makes up for: the sum beside the packet, if there is one, has to follow.
 */
static __always_inline void sum_changed(struct __sk_buff *skb, __u64 diff)
{
	if (checksum_kind(skb) == CHECKSUM_COMPLETE)
		bpf_csum_update(skb, sum_fold32(diff)); /* refused where there is none */
}

/*
 * checksum_write brings a field up to date, of any kind but CHECKSUM_COMPLETE.
 * That of CHECKSUM_PARTIAL holds the pseudo header's sum, not complemented: a
 * device or the stack will add the rest. Where 0 says that there is no checksum,
 * its complement stands for it.
 */
static __always_inline void checksum_write(__u16 *field, __u8 kind, bool may_be_none, __u64 addresses, __u64 ports)
{
	__u16 sum;

	if (kind == CHECKSUM_PARTIAL)
		sum = ~checksum_update(~*field, addresses);
	else
		sum = checksum_update(*field, addresses + ports);
	*field = may_be_none && !sum ? 0xffff : sum;
}

#endif
