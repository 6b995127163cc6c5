/* SPDX-License-Identifier: GPL-2.0-only */
/* The IPv6 header and its extensions, RFC 8200; ../ipv4/header.h has the same for IPv4. */

/* RFC 8200 4.1 knows six, of which destination options may come twice. */
#define IPV6_MAX_EXTENSIONS 7
/* Nothing is translated whose headers reach further. */
#define IPV6_MAX_HEADERS 256

/* By a set of bits, all below 64: the verifier follows each comparison's way by itself. */
static __always_inline bool is_extension6(__u8 next)
{
	const __u64 extensions = 1ULL << IPPROTO_HOP_BY_HOP | 1ULL << IPPROTO_ROUTING | 1ULL << IPPROTO_FRAGMENT |
				 1ULL << IPPROTO_DESTINATION;

	return next < 64 && extensions >> next & 1;
}

/* Whether a header that ends there is one of the packet, and near enough. */
static __always_inline bool reaches6(const struct packet6 *p, __u32 end)
{
	return end <= IPV6_MAX_HEADERS && end <= LINK_LEN + p->length;
}

/*
 * The end of a header that begins at offset, 0 where the walk has to stop: a
 * routing header that has not been used up leads elsewhere than the address says.
 */
static __always_inline __u32 extension_end6(struct __sk_buff *skb, struct packet6 *p, __u32 offset)
{
	struct ipv6_extension *e;
	struct ipv6_fragment *fragment;
	__u8 next = p->key.protocol;
	__u32 end;

	asm volatile("%0 &= " TRANSPORT_MASK6 : "+r"(offset));
	if (next == IPPROTO_FRAGMENT) {
		end = offset + sizeof(*fragment);
		fragment = reaches6(p, end) ? bytes(skb, offset, sizeof(*fragment)) : NULL;
		if (!fragment || p->fragment)
			return 0;
		p->key.protocol = fragment->next;
		p->id = fragment->id;
		/* RFC 6946: one that is all of its packet needs no others. */
		p->fragment = fragment->offset & bpf_htons(IPV6_FRAGMENT_MASK);
		p->later = fragment->offset & bpf_htons(IPV6_OFFSET_MASK);
		return end;
	}
	e = bytes(skb, offset, sizeof(*e));
	if (!e || (next == IPPROTO_ROUTING && e->segments_left))
		return 0;
	end = offset + (e->length + 1) * 8;
	if (!reaches6(p, end))
		return 0;
	p->key.protocol = e->next;
	return end;
}

/*
 * skip_extensions6 moves p to the transport header. Where it cannot be found,
 * the protocol stays that of the header that was in the way.
 */
__noinline int skip_extensions6(struct __sk_buff *skb, struct packet6 *p)
{
	__u32 end;

	if (!p)
		return 0;
	for (int i = 0; i < IPV6_MAX_EXTENSIONS && is_extension6(p->key.protocol) && !p->later; i++) {
		end = extension_end6(skb, p, p->transport);
		if (!end)
			return 0;
		p->transport = end;
	}
	return 1;
}

/*
 * parse_ip6 fills everything but the key's zone. Later fragments and protocols
 * without ports leave has_ports false; false is returned for what no correct
 * host sends.
 */
static __always_inline bool parse_ip6(struct __sk_buff *skb, struct packet6 *p)
{
	struct ipv6_header *ip = bytes(skb, LINK_LEN, sizeof(*ip));

	if (!ip || (ip->version_class_flow & bpf_htonl(0xf0000000)) != bpf_htonl(0x60000000))
		return false;
	p->length = whole_length(skb, bpf_ntohs(ip->payload_len), sizeof(*ip));
	if (LINK_LEN + p->length > skb->len)
		return false;
	p->transport = LINK_LEN + sizeof(*ip);
	p->ttl = ip->hop_limit;
	p->key.src = ip->src;
	p->key.dst = ip->dst;
	p->key.protocol = ip->next;
	if (is_extension6(p->key.protocol) && !skip_extensions6(skb, p))
		return true;
	return p->later || parse_transport6(skb, p);
}

/* Whether the transport header follows at once, if it is one. */
static __always_inline bool is_plain6(const struct ipv6_header *ip)
{
	return (ip->version_class_flow & bpf_htonl(0xf0000000)) == bpf_htonl(0x60000000);
}

static __always_inline __u32 ip_length6(const struct ipv6_header *ip)
{
	return sizeof(*ip) + bpf_ntohs(ip->payload_len);
}

static __always_inline __u8 ip_protocol6(const struct ipv6_header *ip)
{
	return ip->next;
}

static __always_inline __u8 ip_ttl6(const struct ipv6_header *ip)
{
	return ip->hop_limit;
}

/* set_header6 gives the header its addresses and takes hops from its hop limit. */
static __always_inline void set_header6(struct ipv6_header *ip, struct addr6 src, struct addr6 dst, __u8 hops)
{
	ip->src = src;
	ip->dst = dst;
	ip->hop_limit -= hops;
}

static __always_inline bool rewrite_header6(struct __sk_buff *skb, struct addr6 src, struct addr6 dst, __u8 hops)
{
	struct ipv6_header *ip = bytes(skb, LINK_LEN, sizeof(*ip));

	if (!ip)
		return false;
	if (hops)
		sum_changed(skb, sum_replace(0, bpf_htons(ip->hop_limit), bpf_htons(ip->hop_limit - hops)));
	set_header6(ip, src, dst, hops);
	return true;
}

/* Whether extension headers hide what the packet carries: then the walk has stopped at one. */
static __always_inline bool hidden6(const struct packet6 *p)
{
	return !p->later && is_extension6(p->key.protocol);
}

/* Whether a routing header leads on: it is the one that the walk stops at, whatever its type. */
static __always_inline bool source_routed6(struct __sk_buff *skb, const struct packet6 *p)
{
	return hidden6(p) && p->key.protocol == IPPROTO_ROUTING;
}
