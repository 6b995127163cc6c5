/* SPDX-License-Identifier: GPL-2.0-only */
/* Neighbour discovery (RFC 4861) from containers; ../ipv4/arp.h has the same for IPv4. */

struct nd_message {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be32 flags;
	struct addr6 target;
};

/* A link-layer address, the one option that containers may send. */
struct nd_option {
	__u8 type;
	__u8 length; /* in units of eight bytes */
	__u8 mac[6];
};

#define ND_SOLICITED_OVERRIDE 0x60000000

/* The link-local address that an interface makes of its MAC address, RFC 4291 appendix A. */
static __always_inline struct addr6 link_local_of(const __u8 *mac)
{
	struct addr6 addr = { .bytes = { 0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3],
					 mac[4], mac[5] } };

	return addr;
}

static __always_inline bool own_address6(struct addr6 addr, const struct endpoint *e)
{
	return same_addr6(addr, e->addr6) || same_addr6(addr, link_local_of(e->mac));
}

struct nd_message_option {
	struct nd_message nd;
	struct nd_option option;
};

/* Whether a message carries no link-layer address, or the endpoint's as its one option. */
static __always_inline bool own_option(struct __sk_buff *skb, struct packet6 *p, const struct endpoint *e)
{
	__u32 size = LINK_LEN + p->length - p->transport;
	struct nd_message_option *m;

	if (size <= sizeof(struct nd_message))
		return true;
	m = transport_bytes6(skb, p, sizeof(*m));
	if (!m || size != sizeof(*m))
		return false;
	return (m->option.type != ND_SOURCE_MAC && m->option.type != ND_TARGET_MAC) || same_mac(m->option.mac, e->mac);
}

/* The type of an ICMPv6 message, 0 for a later fragment. */
static __always_inline __u8 icmp6_type(struct __sk_buff *skb, struct packet6 *p)
{
	__u8 *type;

	if (p->later)
		return 0;
	type = transport_bytes6(skb, p, 1);
	return type ? *type : 0;
}

/*
 * spoofed_nd says whether a container speaks for others: solicits in another's
 * name, advertises an address that is not its own, or plays the router.
 */
static __always_inline bool spoofed_nd(struct __sk_buff *skb, struct packet6 *p, __u8 type, const struct endpoint *e)
{
	struct nd_message *nd;

	if (type == ND_ROUTER_ADVERTISEMENT || type == ND_REDIRECT)
		return true;
	if (type != ND_SOLICITATION && type != ND_ADVERTISEMENT)
		return false;
	nd = transport_header6(skb, p, sizeof(*nd));
	if (!nd)
		return true;
	/* Its option may come in another fragment; RFC 6980 has all ignore such. */
	if (p->fragment)
		return true;
	/* Without a source it asks whether an address is in use (RFC 4862 5.4). */
	if ((type == ND_ADVERTISEMENT || is_zero6(p->key.src)) && !own_address6(nd->target, e))
		return true;
	return !own_option(skb, p, e);
}

/* A message as it is on the wire, before its option. */
struct nd_frame {
	struct eth_header eth;
	struct ipv6_header ip;
	struct nd_message nd;
} __attribute__((packed));

/* answer_option makes a message's option name a VIP's MAC address, and adds it to the checksum. */
static __always_inline bool answer_option(struct __sk_buff *skb, const __u8 *mac, __u64 *sum)
{
	struct nd_option *option = bytes(skb, sizeof(struct nd_frame), sizeof(*option));

	if (!option)
		return false;
	option->type = ND_TARGET_MAC;
	option->length = 1;
	__builtin_memcpy(option->mac, mac, sizeof(option->mac));
	*sum += (__u32)bpf_csum_diff(NULL, 0, (void *)option, sizeof(*option), 0);
	return true;
}

/*
 * answer_nd turns a container's solicitation into the advertisement of whoever has
 * the MAC address. Who solicits one address itself, and not its group, need not say
 * where it is, nor be told what it knows (RFC 4861 4.3 and 4.4).
 */
static __always_inline int answer_nd(struct __sk_buff *skb, struct packet6 *p, const __u8 *mac)
{
	__u32 length = LINK_LEN + p->length - p->transport;
	struct addr6 zero = {};
	struct nd_frame *f;
	__u64 sum = 0;

	if (length > sizeof(f->nd) ? !answer_option(skb, mac, &sum) : is_multicast6(p->key.dst))
		return drop6(p, REASON_MALFORMED);
	f = bytes(skb, 0, sizeof(*f));
	if (!f)
		return drop6(p, REASON_MALFORMED);
	__builtin_memcpy(f->eth.dst, f->eth.src, sizeof(f->eth.dst));
	__builtin_memcpy(f->eth.src, mac, sizeof(f->eth.src));
	f->ip.dst = f->ip.src;
	f->ip.src = f->nd.target;
	f->nd.type = ND_ADVERTISEMENT;
	f->nd.checksum = 0;
	f->nd.flags = bpf_htonl(ND_SOLICITED_OVERRIDE);
	sum += sum_fold32(addr_diff6(addr_diff6(0, zero, f->ip.src), zero, f->ip.dst));
	sum += bpf_htonl(length) + (__u64)bpf_htonl(IPPROTO_ICMP6);
	sum += (__u32)bpf_csum_diff(NULL, 0, (void *)&f->nd, sizeof(f->nd), 0);
	f->nd.checksum = checksum_update(0xffff, sum);
	skb->mark = 0;
	skb->tstamp = 0;
	p->redirect = bpf_redirect(skb->ifindex, 0);
	return VERDICT_REDIRECT;
}

/*
 * solicited finds the MAC address of whom a solicitation looks for, if the answer is
 * ours: of a VIP, which no device has, it is made of the address's end, as those of
 * endpoints are; nobody looks at it later. A neighbour could answer for itself, if
 * the bridge did not ask ip6tables first, where the kernel has it do so.
 */
static __always_inline bool solicited(struct __sk_buff *skb, struct packet6 *p, const struct sender *s, __u8 *mac)
{
	struct endpoint *endpoint;
	struct nd_message *nd;
	struct addr6 target;
	__u32 *index;

	/* RFC 4861 7.1.1: one whose hop limit is not the highest may have been forwarded. */
	if (p->transport != LINK_LEN + sizeof(struct ipv6_header) || p->ttl != 255 || is_zero6(p->key.src))
		return false;
	nd = transport_header6(skb, p, sizeof(*nd));
	if (!nd)
		return false;
	target = nd->target;
	if (vip_of6(target)) {
		mac[0] = 0x02;
		mac[1] = 0x42;
		__builtin_memcpy(mac + 2, target.bytes + 12, 4);
		return true;
	}
	index = bpf_map_lookup_elem(&endpoints6, &target);
	endpoint = index ? bpf_map_lookup_elem(&endpoints, index) : NULL;
	if (!endpoint || endpoint == s->endpoint || endpoint->network != s->endpoint->network ||
	    !(endpoint->flags & ENDPOINT_READY))
		return false;
	__builtin_memcpy(mac, endpoint->mac, sizeof(endpoint->mac));
	return true;
}

/* discover6 drops what is spoofed and answers for VIPs and neighbours; NO_VERDICT on other ICMPv6. */
__noinline int discover6(struct __sk_buff *skb, struct packet6 *p)
{
	struct sender s;
	__u8 type, mac[6];

	if (!p || !sender_find(skb, &s))
		return VERDICT_DROP;
	type = icmp6_type(skb, p);
	if (spoofed_nd(skb, p, type, s.endpoint))
		return drop6(p, REASON_SPOOFED_ND);
	return type == ND_SOLICITATION && solicited(skb, p, &s, mac) ? answer_nd(skb, p, mac) : NO_VERDICT;
}
