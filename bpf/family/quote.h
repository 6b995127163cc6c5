/* SPDX-License-Identifier: GPL-2.0-only */
/* The packet that an ICMP error quotes. */

quote_t {
	__u32 header;    /* offset of the quoted IP header */
	__u32 transport; /* and of the transport header behind it */
	flow_key_t key;  /* of an answer to the quoted packet */
};

/* quoted_bytes is transport_bytes for what lies behind a second IP header. */
static __always_inline void *quoted_bytes(struct __sk_buff *skb, packet_t *p, __u32 offset, __u32 size)
{
	if (offset + size > LINK_LEN + p->length)
		return NULL;
	asm volatile("%0 &= " AF(QUOTE_MASK) : "+r"(offset));
	return bytes(skb, offset, size);
}

/* The first eight bytes of the transport header, which every error has. */
static __always_inline bool quote_transport(struct __sk_buff *skb, packet_t *p, __u8 protocol, quote_t *q)
{
	struct udp_header *ports = quoted_bytes(skb, p, q->transport, sizeof(*ports)); /* TCP's begin alike */
	struct icmp_echo *icmp = (void *)ports;

	if (!ports)
		return false;
	switch (protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		q->key.sport = ports->dport;
		q->key.dport = ports->sport;
		return true;
	case AF(IPPROTO_ICMP):
		if (icmp->type == AF(ICMP_ECHO)) {
			q->key.dport = icmp->id;
			q->key.echo_reply = 1;
			return true;
		}
		q->key.sport = icmp->id;
		return icmp->type == AF(ICMP_ECHO_REPLY);
	}
	return false;
}
