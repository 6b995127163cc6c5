/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the fast paths share. They are for most packets: TCP or UDP right behind the
 * IP header, of a flow that the packet does not change. Each decides as its hook's
 * slow path would, with one check of bounds and nothing in memory but the key, and
 * says NO_VERDICT, with nothing changed, to every packet that has to go that way.
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
 * kept across a call costs stack that the slow path needs.
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

/* read_plain fills the key of a packet, but for the zone; false for packets of other kinds. */
static __always_inline bool read_plain(struct __sk_buff *skb, struct plain_packet *p, flow_key_t *key)
{
	__u32 length, least = sizeof(ip_header_t) + sizeof(struct udp_header);

	if (!plain_headers(skb, &key->protocol, p) || !is_plain(p->ip))
		return false;
	if (key->protocol == IPPROTO_TCP) {
		if (p->tcp->flags & (TCP_SYN | TCP_FIN | TCP_RST))
			return false;
		least = sizeof(ip_header_t) + sizeof(struct tcp_header);
	}
	key->src = p->ip->src;
	key->dst = p->ip->dst;
	key->sport = p->ports->sport;
	key->dport = p->ports->dport;
	length = ip_length(p->ip);
	return length >= least && ETH_LEN + length <= skb->len;
}

/*
 * follow_sum tells the kernel what write_plain will make of the sum beside a packet,
 * if there is one: a checksum in the transport header makes up for the ports and, of
 * IPv4, once too often for the addresses, since the IP header's does too.
 */
__noinline int follow_sum(struct __sk_buff *skb, const flow_t *to)
{
	__u64 addresses, ports, diff = 0;
	struct plain_packet p;
	__u8 protocol, ttl;

	if (!to || !plain_headers(skb, &protocol, &p))
		return 0;
	addresses = addr_diff(addr_diff(0, p.ip->src, to->src), p.ip->dst, to->dst);
	ports = sum_replace(sum_replace(0, p.ports->sport, to->sport), p.ports->dport, to->dport);
	ttl = ip_ttl(p.ip);
	if (!AF(HEADER_HAS_SUM))
		diff = sum_replace(0, bpf_htons(ttl), bpf_htons(ttl - to->head.hops));
	if (protocol == IPPROTO_UDP && !p.ports->checksum)
		diff += ports + (AF(HEADER_HAS_SUM) ? 0 : addresses);
	else if (AF(HEADER_HAS_SUM))
		diff += (__u32)~sum_fold32(addresses);
	bpf_csum_update(skb, sum_fold32(diff));
	return 0;
}

/* write_plain translates the packet. */
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

/* translate_plain does so with the sum beside the packet, false when it has changed nothing. */
static __always_inline bool translate_plain(struct __sk_buff *skb, struct plain_packet *p, __u8 protocol, const flow_t *to,
					    __u8 kind)
{
	if (kind == CHECKSUM_COMPLETE) {
		follow_sum(skb, to);
		if (!plain_headers(skb, &protocol, p))
			return false; /* for the verifier: they are still there */
	}
	write_plain(p, protocol, to, kind);
	return true;
}

/*
 * What a redirect helper returns is no NO_VERDICT: else both clang and the verifier
 * would have the packet go on by the slow path.
 */
static __always_inline int redirected(int code)
{
	__builtin_assume(code != NO_VERDICT);
	return code;
}

/* look_up finds the half of a key, for the slow path too. */
static __always_inline flow_t *look_up(const flow_key_t *key, found_t *found)
{
	found->half = tenured_at_home(key);
	if (!found->half)
		found->half = half_find(key);
	found->known = true;
	return found->half;
}

/*
 * fast_deliver puts a packet into a receiver's namespace, translated by its flow
 * if it has one; see deliver in leave.h.
 */
static __always_inline int fast_deliver(struct __sk_buff *skb, const flow_t *flow, const struct endpoint *endpoint,
					 enum hook hook)
{
	__u8 protocol, kind = checksum_kind(skb);
	struct plain_packet p;
	struct network *network;

	if (!endpoint || !(endpoint->flags & ENDPOINT_READY))
		return NO_VERDICT;
	network = network_of(endpoint);
	if (!network || (flow && !kind_known(kind)) ||
	    (skb->pkt_type != PACKET_HOST && bpf_skb_change_type(skb, PACKET_HOST)) ||
	    !plain_headers(skb, &protocol, &p) || (flow && ip_ttl(p.ip) <= flow->head.hops))
		return NO_VERDICT;
	if (flow) {
		if (!translate_plain(skb, &p, protocol, flow, kind))
			return NO_VERDICT;
		count_translated(flow->head.rule, ip_length(p.ip));
	}
	copy_mac(p.eth->dst, endpoint->mac);
	copy_mac(p.eth->src, network->mac);
	count(&packet_counts, hook * VERDICTS + VERDICT_REDIRECT);
	skb->mark = 0;
	skb->tstamp = 0;
	return redirected(bpf_redirect_peer(endpoint->ifindex, 0));
}
