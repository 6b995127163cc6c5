/* SPDX-License-Identifier: GPL-2.0-only */
/* IPv6 addresses; ../ipv4/addr.h has the same for IPv4. */
#ifndef SLUICE_IPV6_ADDR_H
#define SLUICE_IPV6_ADDR_H

#include "../enter.h"
#include "../sum.h"

static __always_inline __be32 word6(const struct addr6 *addr, __u32 n)
{
	return ((const __be32 *)addr->bytes)[n];
}

static __always_inline bool same_addr6(struct addr6 a, struct addr6 b)
{
	return !((word6(&a, 0) ^ word6(&b, 0)) | (word6(&a, 1) ^ word6(&b, 1)) |
		 (word6(&a, 2) ^ word6(&b, 2)) | (word6(&a, 3) ^ word6(&b, 3)));
}

static __always_inline bool is_zero6(struct addr6 addr)
{
	return !(word6(&addr, 0) | word6(&addr, 1) | word6(&addr, 2) | word6(&addr, 3));
}

/* ::1 and, since it is IPv4's in disguise, all of ::ffff:0:0/96. */
static __always_inline bool is_loopback6(struct addr6 addr)
{
	if (word6(&addr, 0) | word6(&addr, 1))
		return false;
	return word6(&addr, 2) == bpf_htonl(0xffff) || (!word6(&addr, 2) && word6(&addr, 3) == bpf_htonl(1));
}

/* Where no packet on a wire may go: ::, and loopback. */
static __always_inline bool is_martian6(struct addr6 addr)
{
	return is_zero6(addr) || is_loopback6(addr);
}

static __always_inline bool is_multicast6(struct addr6 addr)
{
	return addr.bytes[0] == 0xff;
}

static __always_inline bool is_link_local6(struct addr6 addr)
{
	return (word6(&addr, 0) & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

static __always_inline bool in_subnet6(struct addr6 addr, struct addr6 subnet, struct addr6 mask)
{
	return (word6(&addr, 0) & word6(&mask, 0)) == word6(&subnet, 0) &&
	       (word6(&addr, 1) & word6(&mask, 1)) == word6(&subnet, 1) &&
	       (word6(&addr, 2) & word6(&mask, 2)) == word6(&subnet, 2) &&
	       (word6(&addr, 3) & word6(&mask, 3)) == word6(&subnet, 3);
}

/* IPv6 has none. */
static __always_inline bool is_broadcast6(struct addr6 addr, struct addr6 subnet, struct addr6 mask)
{
	return false;
}

static __always_inline struct subnet_key6 whole_prefix6(struct addr6 addr)
{
	struct subnet_key6 key = { .prefix_len = 128, .addr = addr };

	return key;
}

static __always_inline __u64 addr_diff6(__u64 sum, struct addr6 from, struct addr6 to)
{
	for (int i = 0; i < 4; i++)
		sum = sum_replace(sum, word6(&from, i), word6(&to, i));
	return sum;
}

static __always_inline __u32 addr_hash6(struct addr6 addr)
{
	return word6(&addr, 0) ^ word6(&addr, 1) ^ word6(&addr, 2) ^ word6(&addr, 3);
}

static __always_inline __u32 tuple_of6(struct bpf_sock_tuple *tuple, struct addr6 src, __be16 sport, struct addr6 dst,
				       __be16 dport)
{
	__builtin_memcpy(tuple->ipv6.saddr, &src, sizeof(src));
	__builtin_memcpy(tuple->ipv6.daddr, &dst, sizeof(dst));
	tuple->ipv6.sport = sport;
	tuple->ipv6.dport = dport;
	return sizeof(tuple->ipv6);
}

#endif
