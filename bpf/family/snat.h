/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Source ports for flows whose source changes. Candidates lie outside
 * ip_local_port_range and outside the published ports, so that neither the
 * host's later connections nor a listener meets them; a socket lookup catches
 * explicit binds. The reply half, inserted first, decides who has a port.
 */

#define SNAT_PROBES 128

/*
 * How far it is from one candidate to the next. A prime above any number of ports
 * there may be leads to each of them once before it comes round; this one spreads a
 * packet's probes, so that a published range is not all that they meet.
 */
#define SNAT_STRIDE 1087109

snat_search_t {
	struct __sk_buff *skb;
	packet_t *p;
	flow_t *flow;
	__u32 start;
	__u32 ports; /* how many there are to choose from */
	bool host_source; /* flow->src is an address of the host */
	bool found;
};

/* Whether a socket of the host, or only one that is connected, would get the replies. */
static __always_inline bool host_socket_has(struct __sk_buff *skb, __u8 protocol, const flow_t *flow, bool connected)
{
	struct bpf_sock_tuple tuple;
	__u32 size = tuple_of(&tuple, flow->dst, flow->dport, flow->src, flow->sport);
	struct bpf_sock *sk;
	bool has;

	if (protocol == IPPROTO_TCP)
		sk = bpf_sk_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else if (protocol == IPPROTO_UDP)
		sk = bpf_sk_lookup_udp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		return false;
	if (!sk)
		return false;
	/* UDP uses TCP's names. */
	has = !connected || (sk->state != BPF_TCP_CLOSE && sk->state != BPF_TCP_LISTEN);
	bpf_sk_release(sk);
	return has;
}

/* snat_probe tries a port. Until one is found it leaves `search` as it is, so that the verifier follows it once. */
static long snat_probe(__u32 i, snat_search_t *search)
{
	__u8 protocol = search->p->key.protocol;
	flow_t *flow = search->flow;

	flow->sport = bpf_htons(snat_port((__u64)(search->start + i) * SNAT_STRIDE % search->ports));
	if (search->host_source &&
	    (port_head(protocol, flow->sport) || host_socket_has(search->skb, protocol, flow, false)))
		return 0;
	search->found = flow_claim(&search->p->key, flow);
	return search->found;
}

static __always_inline __u32 snat_slot(const flow_t *flow, __u8 protocol)
{
	__u32 hash = (addr_hash(flow->dst) ^ ((__u32)flow->dport << 16 | flow->dport) ^ protocol) * 0x9e3779b1;

	return hash >> 20 & (SNAT_CURSORS - 1);
}

/*
 * snat_claim finds a source port for the flow that the packet opens, and claims its
 * reply half. The cursor of the destination moves past what was tried, so that the
 * next packet of a flow that found nothing goes on with other ports. It is a function
 * of its own because the verifier follows a callback anew wherever one is passed.
 */
__noinline int snat_claim(struct __sk_buff *skb, bool host_source)
{
	snat_search_t search = {
		.skb = skb,
		.p = this_packet(),
		.flow = opening(),
		.ports = snat_ports_above() + snat_ports_below(),
		.host_source = host_source,
	};
	__u32 *cursor;
	__u32 slot, probes;

	if (!search.p || !search.flow || !search.ports)
		return false;
	slot = snat_slot(search.flow, search.p->key.protocol);
	cursor = bpf_map_lookup_elem(&snat_cursors, &slot);
	if (!cursor)
		return false;
	search.start = *cursor;
	probes = bpf_loop(SNAT_PROBES, snat_probe, &search, 0);
	if (!dry_run)
		__sync_fetch_and_add(cursor, probes);
	count_by(&masquerade_retries, 0, search.found ? probes - 1 : probes);
	return search.found;
}
