/* SPDX-License-Identifier: GPL-2.0-only */
/* What a host process addresses, for hook `socket`. */
#include "ports.h"

static __always_inline bool host_address(addr_t addr)
{
	return is_loopback(addr) || bpf_map_lookup_elem(&AF(host_addrs), &addr);
}

/* resolve finds the endpoint and port behind addr:port of the host; false when there is none. */
static __always_inline bool resolve(struct bpf_sock_addr *ctx, addr_t addr, __be16 port, addr_t *to, __be16 *to_port)
{
	struct endpoint *endpoint;
	struct rule *rule;
	__u32 index = 0;

	if (!host_address(addr))
		return false;
	rule = published(ctx->protocol, addr, port, &index);
	if (!rule)
		return false;
	endpoint = bpf_map_lookup_elem(&endpoints, &rule->endpoint);
	if (!endpoint || !(endpoint->flags & ENDPOINT_READY))
		return false;
	*to = endpoint->AF(addr);
	*to_port = rule_target(rule, port);
	count_flow(index, 0);
	return true;
}
