/* SPDX-License-Identifier: GPL-2.0-only */
/* The fast path of most packets from outside; see fast.h. It decides as uplink.h does. */

/* fast_in returns what the redirect helper does, or NO_VERDICT. */
static __always_inline int fast_in(struct __sk_buff *skb, found_t *found)
{
	flow_key_t key = { .zone = ZONE_OUTSIDE };
	struct plain_packet p;
	flow_t *flow;
	__u32 index;

	if (!LINK_LEN || !read_plain(skb, &p, &key) || port_of_host(key.protocol, key.dport))
		return NO_VERDICT;
	flow = look_up(&key, found);
	if (!flow || flow->head.target != TARGET_ENDPOINT || !flow_settled(&flow->head, key.protocol))
		return NO_VERDICT;
	index = flow->head.endpoint;
	return fast_deliver(skb, flow, bpf_map_lookup_elem(&endpoints, &index), HOOK_UPLINK);
}
