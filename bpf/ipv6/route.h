/* SPDX-License-Identifier: GPL-2.0-only */
/* IPv6 in route lookups; ../ipv4/route.h has the same for IPv4. */

static __always_inline void fib_addresses6(struct bpf_fib_lookup *fib, struct addr6 src, struct addr6 dst)
{
	__builtin_memcpy(fib->ipv6_src, &src, sizeof(src));
	__builtin_memcpy(fib->ipv6_dst, &dst, sizeof(dst));
}

/*
 * The source for masquerade: what the route prefers, unless that is an address
 * that will not stay (RFC 8981); else the uplink's.
 */
static __always_inline struct addr6 source_of6(const struct bpf_fib_lookup *fib, const struct uplink *uplink)
{
	struct host_addr *host;
	struct addr6 src;

	__builtin_memcpy(&src, fib->ipv6_src, sizeof(src));
	host = bpf_map_lookup_elem(&host_addrs6, &src);
	if (host && !(host->flags & HOST_ADDR_UNSTABLE) && !is_link_local6(src))
		return src;
	return uplink->addr6;
}
