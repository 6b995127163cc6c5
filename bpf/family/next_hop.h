/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ways out that the kernel has just told. What it has said of a destination holds
 * for the rest of its tick, 1 to 10 ms, on the CPU that asked: about as long as a
 * change of routes takes to be everywhere anyway. The packet that asks leaves by
 * redirect_neigh, so that the neighbour's state goes on as its users expect
 * (RFC 4861 7.3.3); those behind it go straight to the device.
 */

/* Where what is known of a destination lies. NULL is for the verifier alone. */
static __always_inline next_hop_t *next_hop_slot(addr_t dst)
{
	__u32 slot = addr_hash(dst) * 0x9e3779b1 >> (32 - NEXT_HOP_BITS);

	return bpf_map_lookup_elem(&AF(next_hops), &slot);
}

/* Whether it is what the kernel would say now about a translated packet. */
static __always_inline bool next_hop_is_recent(const next_hop_t *hop, __u8 protocol, const flow_t *flow)
{
	return hop->tick == bpf_jiffies64() && same_addr(hop->dst, flow->dst) && same_addr(hop->src, flow->src) &&
	       hop->protocol == protocol;
}

/*
 * find_next_hop has the kernel find the way of a translated packet, whose IP length is
 * given, for redirect_outside, and notes it when the next hop's MAC address is known.
 * It says 0 where the slow path has to decide.
 */
__noinline int find_next_hop(struct __sk_buff *skb, next_hop_t *hop, const flow_t *flow, __u8 protocol, __u16 length)
{
	struct bpf_fib_lookup *fib = workspace(WORKSPACE_ROUTE, sizeof(*fib));
	struct uplink *uplink;
	long code;

	if (!fib || !hop || !flow)
		return 0;
	code = fib_find(skb, fib, protocol, length, flow->src, flow->dst, 0);
	if (code != BPF_FIB_LKUP_RET_SUCCESS && code != BPF_FIB_LKUP_RET_NO_NEIGH)
		return 0;
	uplink = route_uplink(fib);
	if (!uplink || (!same_addr(flow->src, uplink->AF(addr)) && !source_is_local(skb, flow)))
		return 0;
	if (code != BPF_FIB_LKUP_RET_SUCCESS || !(uplink->flags & UPLINK_ETHERNET))
		return 1;
	hop->tick = bpf_jiffies64();
	hop->src = flow->src;
	hop->dst = flow->dst;
	hop->ifindex = fib->ifindex;
	hop->mtu = fib->tot_len; /* the kernel has put it there */
	copy_mac(hop->dst_mac, fib->dmac);
	copy_mac(hop->src_mac, fib->smac);
	hop->protocol = protocol;
	return 1;
}

/* redirect_next_hop hands a packet to a next hop that is known, and returns what the redirect helper does. */
static __always_inline int redirect_next_hop(struct __sk_buff *skb, struct eth_header *eth, const next_hop_t *hop)
{
	copy_mac(eth->dst, hop->dst_mac);
	copy_mac(eth->src, hop->src_mac);
	skb->mark = 0;
	skb->tstamp = 0;
	return bpf_redirect(hop->ifindex, 0);
}
