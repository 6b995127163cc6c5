/* SPDX-License-Identifier: GPL-2.0-only */
/* IPv4 addresses; ../ipv6/addr.h has the same for IPv6. */
#ifndef SLUICE_IPV4_ADDR_H
#define SLUICE_IPV4_ADDR_H

#include "../enter.h"
#include "../sum.h"

static __always_inline bool same_addr4(__be32 a, __be32 b)
{
	return a == b;
}

static __always_inline bool is_zero4(__be32 addr)
{
	return !addr;
}

static __always_inline bool is_loopback4(__be32 addr)
{
	return (addr & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
}

/* Where no packet on a wire may go: 0.0.0.0/8 and 127.0.0.0/8. */
static __always_inline bool is_martian4(__be32 addr)
{
	return is_loopback4(addr) || !(addr & bpf_htonl(0xff000000));
}

/* RFC 3927's 169.254.0.0/16 is routed by hosts like others. */
static __always_inline bool is_link_local4(__be32 addr)
{
	return false;
}

/* 224.0.0.0/4, 240.0.0.0/4 and the limited broadcast address. */
static __always_inline bool is_multicast4(__be32 addr)
{
	return (addr & bpf_htonl(0xe0000000)) == bpf_htonl(0xe0000000);
}

static __always_inline bool in_subnet4(__be32 addr, __be32 subnet, __be32 mask)
{
	return (addr & mask) == subnet;
}

/* A subnet's directed broadcast. */
static __always_inline bool is_broadcast4(__be32 addr, __be32 subnet, __be32 mask)
{
	return addr == (subnet | ~mask);
}

static __always_inline struct subnet_key4 whole_prefix4(__be32 addr)
{
	struct subnet_key4 key = { .prefix_len = 32, .addr = addr };

	return key;
}

/* What replacing `from` by `to` adds to a sum. */
static __always_inline __u64 addr_diff4(__u64 sum, __be32 from, __be32 to)
{
	return sum_replace(sum, from, to);
}

static __always_inline __u32 addr_hash4(__be32 addr)
{
	return addr;
}

/* The tuple of a socket's packets: from src to dst. Returns its size. */
static __always_inline __u32 tuple_of4(struct bpf_sock_tuple *tuple, __be32 src, __be16 sport, __be32 dst, __be16 dport)
{
	tuple->ipv4.saddr = src;
	tuple->ipv4.daddr = dst;
	tuple->ipv4.sport = sport;
	tuple->ipv4.dport = dport;
	return sizeof(tuple->ipv4);
}

#endif
