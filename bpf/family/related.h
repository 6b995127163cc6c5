/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ICMP errors about packets of flows (RFC 5508 section 4). An error quotes a
 * packet as it was when it left: translated. What an answer to that packet
 * would get, the error gets too, and the quote is turned back.
 */

/* parse_quote reads the quoted packet, false when no flow can be told from it. */
static __always_inline bool parse_quote(struct __sk_buff *skb, packet_t *p, quote_t *q)
{
	q->header = p->transport + sizeof(struct icmp_error);
	q->key.zone = p->key.zone;
	/* The error goes to whoever sent the packet. */
	return parse_quote_header(skb, p, q) && same_addr(q->key.dst, p->key.dst) &&
	       quote_transport(skb, p, q->key.protocol, q);
}

/* related returns the flow whose packet an error quotes, or NULL. */
static __always_inline flow_t *related(struct __sk_buff *skb, packet_t *p, quote_t *q)
{
	return parse_quote(skb, p, q) ? flow_peek(&q->key) : NULL;
}

/*
 * turn_back_ports gives the quoted packet back its ports and its checksum, as
 * far as it was quoted, and returns what that adds to the error's own sum.
 * `addresses` is what the new addresses add to a pseudo header.
 */
static __always_inline __u64 turn_back_ports(struct __sk_buff *skb, packet_t *p, const quote_t *q, const flow_t *flow,
					     __u64 addresses)
{
	struct udp_header *ports = quoted_bytes(skb, p, q->transport, sizeof(*ports));
	struct icmp_echo *icmp = (void *)ports;
	__u64 diff = sum_replace(sum_replace(0, q->key.dport, flow->dport), q->key.sport, flow->sport);
	struct tcp_header *tcp;
	__u16 old;

	if (!ports)
		return 0;
	if (q->key.protocol == AF(IPPROTO_ICMP)) {
		icmp->id = q->key.echo_reply ? flow->dport : flow->sport;
		old = icmp->checksum;
		icmp->checksum = checksum_update(old, (AF(ICMP_HAS_PSEUDO) ? addresses : 0) + diff);
		return sum_replace(diff, old, icmp->checksum);
	}
	ports->sport = flow->dport;
	ports->dport = flow->sport;
	if (q->key.protocol == IPPROTO_UDP) {
		old = ports->checksum;
		if (!old)
			return diff;
		ports->checksum = checksum_update(old, addresses + diff);
		if (!ports->checksum)
			ports->checksum = 0xffff;
		return sum_replace(diff, old, ports->checksum);
	}
	tcp = quoted_bytes(skb, p, q->transport, sizeof(*tcp));
	if (!tcp)
		return diff; /* cut off before the checksum, RFC 792 allows it */
	old = tcp->checksum;
	tcp->checksum = checksum_update(old, addresses + diff);
	return sum_replace(diff, old, tcp->checksum);
}

/*
 * turn_back gives the quoted packet back its addresses and ports, and the error
 * its checksum; `outer` is what the error's own new addresses add to its sum.
 */
static __always_inline bool turn_back(struct __sk_buff *skb, packet_t *p, const quote_t *q, const flow_t *flow, __u64 outer)
{
	__u64 addresses = addr_diff(addr_diff(0, q->key.dst, flow->dst), q->key.src, flow->src);
	struct icmp_error *icmp;
	__u64 diff;

	if (!turn_back_header(skb, p, q, flow, addresses))
		return false;
	diff = turn_back_ports(skb, p, q, flow, addresses);
	if (AF(ICMP_HAS_PSEUDO)) /* and the quoted header has no checksum that makes up for its addresses */
		diff += (__u64)sum_fold32(addresses) + sum_fold32(outer);
	icmp = transport_bytes(skb, p, sizeof(*icmp));
	if (!icmp)
		return false;
	icmp->checksum = checksum_update(icmp->checksum, diff);
	return true;
}

/*
 * rewrite_error translates an error. Who sent it stays visible, unless that is
 * the very endpoint whose address is translated.
 */
__noinline int rewrite_error(struct __sk_buff *skb, packet_t *p, const quote_t *q, const flow_t *flow)
{
	addr_t src;
	__u64 outer;

	if (!p || !q || !flow)
		return false;
	src = same_addr(p->key.src, q->key.src) ? flow->src : p->key.src;
	outer = addr_diff(addr_diff(0, p->key.src, src), p->key.dst, flow->dst);
	return turn_back(skb, p, q, flow, outer) && rewrite_header(skb, src, flow->dst, flow->head.hops);
}
