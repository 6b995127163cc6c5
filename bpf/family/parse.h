/* SPDX-License-Identifier: GPL-2.0-only */
/* From the transport header to the key of a packet's flow. */

/* The transport header, which must lie in the IP packet: padding may follow that. */
static __always_inline void *transport_header(struct __sk_buff *skb, packet_t *p, __u32 size)
{
	return p->transport + size <= LINK_LEN + p->length ? transport_bytes(skb, p, size) : NULL;
}

static __always_inline bool parse_tcp(struct __sk_buff *skb, packet_t *p)
{
	struct tcp_header *tcp = transport_header(skb, p, sizeof(*tcp));

	if (!tcp)
		return false;
	p->key.sport = tcp->sport;
	p->key.dport = tcp->dport;
	p->tcp_flags = tcp->flags;
	p->has_ports = true;
	return true;
}

static __always_inline bool parse_udp(struct __sk_buff *skb, packet_t *p)
{
	struct udp_header *udp = transport_header(skb, p, sizeof(*udp));

	if (!udp)
		return false;
	p->key.sport = udp->sport;
	p->key.dport = udp->dport;
	p->has_ports = true;
	return true;
}

/* An echo's identifier takes the place of the port of whoever asked. */
static __always_inline bool parse_icmp(struct __sk_buff *skb, packet_t *p)
{
	struct icmp_echo *icmp = transport_header(skb, p, sizeof(*icmp));

	if (!icmp)
		return false;
	if (icmp->type == AF(ICMP_ECHO)) {
		p->key.sport = icmp->id;
		p->has_ports = true;
	} else if (icmp->type == AF(ICMP_ECHO_REPLY)) {
		p->key.dport = icmp->id;
		p->key.echo_reply = 1;
		p->has_ports = true;
	} else {
		p->icmp_error = AF(is_icmp_error)(icmp->type);
	}
	return true;
}

/*
 * parse_transport leaves has_ports false for protocols without ports; it
 * returns false for what no correct host sends.
 */
static __always_inline bool parse_transport(struct __sk_buff *skb, packet_t *p)
{
	switch (p->key.protocol) {
	case IPPROTO_TCP:
		return parse_tcp(skb, p);
	case IPPROTO_UDP:
		return parse_udp(skb, p);
	case AF(IPPROTO_ICMP):
		return parse_icmp(skb, p);
	}
	return true;
}

static __always_inline bool tcp_opens(const packet_t *p)
{
	return (p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
}
