/* SPDX-License-Identifier: GPL-2.0-only */
/* What is particular to IPv6 in what containers send; ../ipv4/container.h has the same for IPv4. */

/*
 * from_link_local6 keeps a link-local source on its link (RFC 4291 2.5.6), and
 * untranslated: nobody's answer to it is looked up. NO_VERDICT on what may be
 * for a neighbour.
 */
static __always_inline int from_link_local6(struct packet6 *p, const struct sender *s)
{
	if (same_addr6(p->key.dst, s->network->gateway6))
		return VERDICT_PASS;
	if (!in_subnet6(p->key.dst, s->network->subnet6, s->network->mask6) || vip_of6(p->key.dst))
		return drop6(p, REASON_MARTIAN);
	return NO_VERDICT;
}

/*
 * check_source6 drops what is not from the sender, answers for VIPs and passes to
 * the bridge what is for all, or for one of the link; NO_VERDICT on the rest.
 */
static __always_inline int check_source6(struct __sk_buff *skb, struct packet6 *p, const struct sender *s)
{
	const struct endpoint *e = s->endpoint;
	int verdict;

	/* RFC 4862 5.4, RFC 3810 5: before it has an address, a host speaks to groups. */
	if (is_zero6(p->key.src) ? !is_multicast6(p->key.dst) : !own_address6(p->key.src, e))
		return drop6(p, REASON_SPOOFED_ADDRESS);
	if (source_routed6(skb, p))
		return drop6(p, REASON_SOURCE_ROUTE);
	/* RFC 7113: it could be a router advertisement. */
	if (hidden6(p))
		return drop6(p, REASON_EXTENSION_HEADERS);
	if (p->icmp_error && !tells_own6(skb, p))
		return drop6(p, REASON_SPOOFED_ADDRESS);
	verdict = p->key.protocol == IPPROTO_ICMP6 ? discover6(skb, p) : NO_VERDICT;
	if (verdict != NO_VERDICT)
		return verdict;
	if (is_martian6(p->key.dst))
		return drop6(p, REASON_MARTIAN);
	if (is_multicast6(p->key.dst) || is_link_local6(p->key.dst))
		return VERDICT_PASS;
	return is_link_local6(p->key.src) ? from_link_local6(p, s) : NO_VERDICT;
}

static __always_inline int container_other6(struct __sk_buff *skb, struct packet6 *p, const struct sender *s, __be16 type)
{
	return drop6(p, REASON_ETHERTYPE);
}
