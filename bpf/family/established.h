/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The short way of most packets from outside: TCP or UDP right behind the IP
 * header, of a flow that has proved itself, that leads to an endpoint, and that
 * the packet does not change. One function decides as family/uplink.h would, with
 * one check of bounds and nothing in memory but the key.
 */

/* Where such a packet has what is read and written. */
struct plain_packet {
	struct eth_header *eth;
	ip_header_t *ip;
	struct udp_header *ports; /* TCP's begin alike */
	struct tcp_header *tcp;
};

/*
 * plain_headers finds the headers, false when one of them is not in the linear
 * part. It is called before and after the lookups: registers are few, and what is
 * kept across a call costs stack that the long way needs.
 */
static __always_inline bool plain_headers(struct __sk_buff *skb, __u8 *protocol, struct plain_packet *p)
{
	void *end = (void *)(long)skb->data_end;

	p->eth = byte_at(skb, 0);
	p->ip = (void *)(p->eth + 1);
	p->ports = (void *)(p->ip + 1);
	p->tcp = (void *)p->ports;
	if ((void *)(p->ports + 1) > end)
		return false;
	*protocol = ip_protocol(p->ip);
	return *protocol == IPPROTO_UDP || (*protocol == IPPROTO_TCP && (void *)(p->tcp + 1) <= end);
}

/* Whether a port is one of the host's own connections, of which no flow is: see snat.h. */
static __always_inline bool port_of_host(__u8 protocol, __be16 port)
{
	__u16 number = bpf_ntohs(port);

	return number >= local_port_first && number <= local_port_last && !port_head(protocol, port);
}

/* read_plain fills the key of a packet, but for the zone; false for packets of other kinds. */
static __always_inline bool read_plain(struct __sk_buff *skb, flow_key_t *key)
{
	__u32 length, least = sizeof(ip_header_t) + sizeof(struct udp_header);
	struct plain_packet p;

	if (!plain_headers(skb, &key->protocol, &p) || !is_plain(p.ip))
		return false;
	if (key->protocol == IPPROTO_TCP) {
		if (p.tcp->flags & (TCP_SYN | TCP_FIN | TCP_RST))
			return false;
		least = sizeof(ip_header_t) + sizeof(struct tcp_header);
	}
	key->src = p.ip->src;
	key->dst = p.ip->dst;
	key->sport = p.ports->sport;
	key->dport = p.ports->dport;
	length = ip_length(p.ip);
	return length >= least && ETH_LEN + length <= skb->len && !port_of_host(key->protocol, key->dport);
}

/* write_plain translates the packet, whose checksum is of a kind that the kernel need not follow. */
static __always_inline void write_plain(struct plain_packet *p, __u8 protocol, const flow_t *to, __u8 kind)
{
	__u64 addresses = addr_diff(addr_diff(0, p->ip->src, to->src), p->ip->dst, to->dst);
	__u64 ports = sum_replace(sum_replace(0, p->ports->sport, to->sport), p->ports->dport, to->dport);

	if (protocol == IPPROTO_TCP)
		checksum_write(&p->tcp->checksum, kind, false, addresses, ports);
	else if (p->ports->checksum)
		checksum_write(&p->ports->checksum, kind, true, addresses, ports);
	p->ports->sport = to->sport;
	p->ports->dport = to->dport;
	set_header(p->ip, to->src, to->dst, to->head.hops);
}

/* The tenured flow of a key, if a packet of it changes neither its state nor its time. */
static __always_inline flow_t *settled_flow(const flow_key_t *key)
{
	const __u8 both = FLOW_REPLIED | FLOW_CONFIRMED;
	flow_t *flow = bpf_map_lookup_elem(&AF(flows), key);
	struct flow_head *head;

	if (!flow)
		return NULL;
	head = &flow->head;
	return head->seen == now_seconds() && (head->state & (both | FLOW_RESET)) == both ? flow : NULL;
}

/*
 * established returns what the redirect helper does; NO_VERDICT, and nothing has
 * been changed, for every packet that has to go the long way.
 */
static __always_inline int established(struct __sk_buff *skb)
{
	flow_key_t key = { .zone = ZONE_OUTSIDE };
	struct endpoint *endpoint;
	struct network *network;
	struct plain_packet p;
	__u8 kind, protocol;
	flow_t *flow;

	if (!LINK_LEN || !read_plain(skb, &key))
		return NO_VERDICT;
	flow = settled_flow(&key);
	if (!flow || flow->head.target != TARGET_ENDPOINT)
		return NO_VERDICT;
	endpoint = flow_owner(&flow->head);
	if (!endpoint || !(endpoint->flags & ENDPOINT_READY))
		return NO_VERDICT;
	network = network_of(endpoint);
	kind = checksum_kind(skb);
	if (!network || kind == CHECKSUM_COMPLETE || !plain_headers(skb, &protocol, &p) || ip_ttl(p.ip) <= flow->head.hops)
		return NO_VERDICT;
	write_plain(&p, protocol, flow, kind);
	copy_mac(p.eth->dst, endpoint->mac);
	copy_mac(p.eth->src, network->mac);
	count_translated(flow->head.rule, ip_length(p.ip));
	count(&packet_counts, HOOK_UPLINK * VERDICTS + VERDICT_REDIRECT);
	skb->mark = 0;
	skb->tstamp = 0;
	return bpf_redirect_peer(endpoint->ifindex, 0);
}
