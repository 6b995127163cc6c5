/* SPDX-License-Identifier: GPL-2.0-only */
/* The way out: the host's routing table decides, an uplink carries. */

/*
 * The IP length that has to fit an MTU: of each segment when the packet is GSO.
 * What 16 bits cannot say fits none that they can.
 */
static __always_inline __u16 segment_length(struct __sk_buff *skb, packet_t *p)
{
	__u32 header_len = sizeof(struct udp_header), length = p->length;
	struct tcp_header *tcp;

	if (skb->gso_size && p->key.protocol == IPPROTO_TCP) {
		tcp = transport_bytes(skb, p, sizeof(*tcp));
		header_len = tcp ? (tcp->data_offset >> 4) * 4 : sizeof(*tcp);
	}
	if (skb->gso_size)
		length = p->transport - LINK_LEN + header_len + skb->gso_size;
	/* The kernel puts a jumbo option in front itself, and takes it away when it cuts (RFC 2675). */
	if (FAMILY == 6 && p->length > 0xffff + sizeof(ip_header_t) && p->transport > LINK_LEN + sizeof(ip_header_t))
		length -= 8;
	return length > 0xffff ? 0xffff : length;
}

/* fib_find asks the kernel for the route of so many bytes from src to dst, and returns its code. */
static __always_inline long fib_find(struct __sk_buff *skb, struct bpf_fib_lookup *fib, __u8 protocol, __u16 length,
				     addr_t src, addr_t dst, __u32 flags)
{
	fib->family = AF(SOCKET_FAMILY);
	fib->l4_protocol = protocol;
	fib->tot_len = length;
	fib->ifindex = fib_ifindex;
	fib_addresses(fib, src, dst);
	return bpf_fib_lookup(skb, fib, sizeof(*fib), flags);
}

/*
 * route looks up the route of a packet from src to dst. With choose_source, the source
 * becomes the address that the route prefers, or stays src where the kernel cannot
 * tell. A kernel that cannot skip the neighbour may not find one, which is no error:
 * redirect_neigh asks for it. NULL sets the reason for a drop.
 */
static __always_inline struct bpf_fib_lookup *route(struct __sk_buff *skb, packet_t *p, addr_t src, addr_t dst,
						    bool choose_source)
{
	struct bpf_fib_lookup *fib = workspace(WORKSPACE_ROUTE, sizeof(*fib));
	__u32 flags = 0;
	long code;

	if (!fib)
		return NULL;
	if (fib_skip_neigh)
		flags |= BPF_FIB_LOOKUP_SKIP_NEIGH;
	if (choose_source && fib_source)
		flags |= BPF_FIB_LOOKUP_SRC;
	code = fib_find(skb, fib, p->key.protocol, segment_length(skb, p), src, dst, flags);
	if (code == BPF_FIB_LKUP_RET_FRAG_NEEDED) {
		p->mtu = fib->tot_len;
		p->drop = REASON_MTU_EXCEEDED;
		return NULL;
	}
	if (code == BPF_FIB_LKUP_RET_SUCCESS || code == BPF_FIB_LKUP_RET_NO_NEIGH)
		return fib;
	/* Of IPv6 alone: IPv4's source stays zero. */
	p->drop = code == BPF_FIB_LKUP_RET_NO_SRC_ADDR ? REASON_NO_SOURCE : REASON_NO_ROUTE;
	return NULL;
}

/* What route has found for the packet. NULL is for the verifier alone. */
static __always_inline struct bpf_fib_lookup *this_route(void)
{
	__u32 slot = WORKSPACE_ROUTE;

	return bpf_map_lookup_elem(&workspaces, &slot);
}

/* Whether an address belongs to one of our networks, its gateway included. */
static __always_inline bool address_of_a_network(addr_t addr)
{
	subnet_key_t key = whole_prefix(addr);

	return bpf_map_lookup_elem(&AF(subnets), &key);
}

/*
 * source_is_local asks the kernel whether the host still has the address that a
 * flow leaves with: the map of its addresses is as new as the daemon keeps it.
 */
__noinline int source_is_local(struct __sk_buff *skb, const flow_t *flow)
{
	struct bpf_fib_lookup fib = { .family = AF(SOCKET_FAMILY), .ifindex = fib_ifindex };
	addr_t zero = {};

	if (!flow)
		return 0;
	fib_addresses(&fib, zero, flow->src);
	return bpf_fib_lookup(skb, &fib, sizeof(fib), fib_skip_neigh ? BPF_FIB_LOOKUP_SKIP_NEIGH : 0) ==
	       BPF_FIB_LKUP_RET_NOT_FWDED;
}
