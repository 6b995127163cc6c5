/* SPDX-License-Identifier: GPL-2.0-only */
/* IPv4 in route lookups; ../ipv6/route.h has the same for IPv6. */

static __always_inline void fib_addresses4(struct bpf_fib_lookup *fib, __be32 src, __be32 dst)
{
	fib->ipv4_src = src;
	fib->ipv4_dst = dst;
}

/* The source for masquerade: what the route prefers, else the uplink's. */
static __always_inline __be32 source_of4(const struct bpf_fib_lookup *fib, const struct uplink *uplink)
{
	return fib->ipv4_src ? fib->ipv4_src : uplink->addr4;
}
