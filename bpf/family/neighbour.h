/* SPDX-License-Identifier: GPL-2.0-only */
/* Endpoints of the sender's own network. */

/* Whether an address is one of the sender's network, and not the gateway's. */
static __always_inline bool in_own_network(addr_t dst, const struct sender *s)
{
	return in_subnet(dst, s->network->AF(subnet), s->network->AF(mask)) && !same_addr(dst, s->network->AF(gateway));
}

/* The index of the endpoint that has an address, or NULL. */
static __always_inline __u32 *neighbour(addr_t addr)
{
	return bpf_map_lookup_elem(&AF(endpoints), &addr);
}

static __always_inline int to_neighbour(struct __sk_buff *skb, packet_t *p, __u32 index)
{
	struct endpoint *endpoint = receiver(p, index);

	return endpoint ? deliver(skb, p, endpoint) : VERDICT_DROP;
}
