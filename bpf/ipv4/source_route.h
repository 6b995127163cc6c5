/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Options of IPv4 by which a sender chooses the packet's way (RFC 791 3.1). No
 * packet with one is translated: where it goes would be up to whoever reads the
 * option next, behind every check of its addresses.
 */
#define IPV4_OPTIONS_MAX 40
#define IPV4_OPTION_END 0
#define IPV4_OPTION_NOP 1
#define IPV4_OPTION_LOOSE_ROUTE 131
#define IPV4_OPTION_STRICT_ROUTE 137

struct option_walk {
	__u8 options[64]; /* a power of two, for the mask */
	__u32 at;
	__u32 len;
	bool found;
};

/* next_option looks at an option and moves to the next; 1 ends the walk. */
static long next_option(__u32 i, struct option_walk *walk)
{
	__u32 at = walk->at;
	__u8 kind = walk->options[at & 63];
	__u8 size = walk->options[(at + 1) & 63];

	walk->found = kind == IPV4_OPTION_LOOSE_ROUTE || kind == IPV4_OPTION_STRICT_ROUTE;
	if (walk->found || kind == IPV4_OPTION_END)
		return 1;
	walk->at = at + (kind == IPV4_OPTION_NOP ? 1 : size);
	/* Nobody takes a packet whose options contradict themselves. */
	return walk->at >= walk->len || (kind != IPV4_OPTION_NOP && size < 2);
}

/* find_source_route walks the options, of which there are `len` bytes. */
__noinline int find_source_route(struct __sk_buff *skb, __u32 len)
{
	struct option_walk walk = { .len = len };

	if (!load(skb, LINK_LEN + sizeof(struct ipv4_header), walk.options, IPV4_OPTIONS_MAX, len))
		return 0;
	bpf_loop(IPV4_OPTIONS_MAX, next_option, &walk, 0);
	return walk.found;
}

static __always_inline bool source_routed4(struct __sk_buff *skb, const struct packet4 *p)
{
	__u32 len = p->transport - LINK_LEN - sizeof(struct ipv4_header);

	return len && find_source_route(skb, len);
}
