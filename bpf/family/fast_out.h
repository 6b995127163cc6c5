/* SPDX-License-Identifier: GPL-2.0-only */
/* The fast path of most packets from containers; see fast.h. It decides as container.h does. */

/* Whether a packet is the sender's, and for one receiver; see check_source in ../ipv4 and ../ipv6. */
static __always_inline bool from_sender(const struct plain_packet *p, const flow_key_t *key, const struct sender *s)
{
	return same_mac(p->eth->src, s->endpoint->mac) && p->eth->type == bpf_htons(AF(ETH_P_IP)) &&
	       same_addr(key->src, s->endpoint->AF(addr)) && !is_zero(key->src) && !is_link_local(key->src) &&
	       !is_martian(key->dst) && !is_multicast(key->dst) && !is_link_local(key->dst) &&
	       !is_broadcast(key->dst, s->network->AF(subnet), s->network->AF(mask));
}

/* The IP length that has to fit an MTU; see segment_length. */
static __always_inline __u16 plain_segment_length(struct __sk_buff *skb, const struct plain_packet *p, __u8 protocol)
{
	__u32 header_len = sizeof(struct udp_header);

	if (!skb->gso_size)
		return ip_length(p->ip);
	if (protocol == IPPROTO_TCP)
		header_len = (p->tcp->data_offset >> 4) * 4;
	return sizeof(ip_header_t) + header_len + skb->gso_size;
}

/* fast_outside sends a packet of a flow where the host's routes lead; see carry in translate.h. */
static __always_inline int fast_outside(struct __sk_buff *skb, const flow_t *flow)
{
	next_hop_t *hop = next_hop_slot(flow->dst);
	__u8 protocol, kind = checksum_kind(skb);
	struct bpf_fib_lookup *fib;
	struct plain_packet p;
	__u16 length;
	bool known;

	if (!hop || !kind_known(kind) || !plain_headers(skb, &protocol, &p) || ip_ttl(p.ip) <= flow->head.hops)
		return NO_VERDICT;
	length = plain_segment_length(skb, &p, protocol);
	known = next_hop_is_recent(hop, protocol, flow);
	if (known ? length > hop->mtu : !find_next_hop(skb, hop, flow, protocol, length))
		return NO_VERDICT;
	if (!plain_headers(skb, &protocol, &p) || !translate_plain(skb, &p, protocol, flow, kind))
		return NO_VERDICT;
	count_translated(flow->head.rule, ip_length(p.ip));
	count(&packet_counts, HOOK_CONTAINER * VERDICTS + VERDICT_REDIRECT);
	if (known)
		return redirected(redirect_next_hop(skb, p.eth, hop));
	fib = this_route();
	return fib ? redirected(redirect_outside(skb, fib)) : TC_ACT_SHOT;
}

/* fast_neighbour delivers a packet inside its network, untranslated. */
static __always_inline int fast_neighbour(struct __sk_buff *skb, addr_t dst)
{
	__u32 *index = neighbour(dst);

	return index ? fast_deliver(skb, NULL, bpf_map_lookup_elem(&endpoints, index), HOOK_CONTAINER) : NO_VERDICT;
}

/* fast_out returns what the redirect helper does, or NO_VERDICT. */
static __always_inline int fast_out(struct __sk_buff *skb, const struct sender *s, found_t *found)
{
	flow_key_t key = { .zone = s->endpoint->network };
	struct plain_packet p;
	flow_t *flow;
	__u32 index;
	bool own;

	if (skb->vlan_present || !read_plain(skb, &p, &key) || !from_sender(&p, &key, s))
		return NO_VERDICT;
	own = in_own_network(key.dst, s);
	if (own && !(s->endpoint->flags & ENDPOINT_TRANSLATED))
		return fast_neighbour(skb, key.dst);
	flow = look_up(&key, found);
	if (!flow)
		return own ? fast_neighbour(skb, key.dst) : NO_VERDICT;
	if (!flow_settled(&flow->head, key.protocol))
		return NO_VERDICT;
	switch (flow->head.target) {
	case TARGET_OUTSIDE:
		return fast_outside(skb, flow);
	case TARGET_PEER:
		index = flow->head.peer;
		break;
	case TARGET_ENDPOINT:
		index = flow->head.endpoint;
		break;
	default:
		return NO_VERDICT;
	}
	return fast_deliver(skb, flow, bpf_map_lookup_elem(&endpoints, &index), HOOK_CONTAINER);
}
