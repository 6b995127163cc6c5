/* SPDX-License-Identifier: GPL-2.0-only */
/* What a program knows of its packet. */

packet_t {
	__u16 drop;     /* the reason, when the verdict is VERDICT_DROP */
	__s32 redirect; /* what the redirect helper returned, when it is VERDICT_REDIRECT */
	addr_t self;    /* the address that speaks to the sender for the host */
	__u32 sender;   /* the sender's endpoint, 0 outside */
	__u16 mtu;      /* the next hop's, when the packet does not fit */
	bool final;     /* no program behind this one sees it: see ENDPOINT_FINAL */

	__u32 transport; /* offset of the transport header */
	__u32 length;    /* from the network header on */
	__u8 ttl;        /* or hop limit */
	__u8 tcp_flags;
	bool icmp_error; /* it quotes the packet that it is about */
	__be16 fragment; /* not 0 for any fragment, the first included */
	__be16 later;    /* nor for one that has no transport header */
	bool proved;     /* its flow has waited in vain for a packet: see waiting.h */
	bool has_ports;  /* the key's ports are valid: TCP, UDP or ICMP echo */
	__u8 target;     /* where its flow leads: enum flow_target */
	__u8 hops;       /* what that takes from the TTL */
	__u32 receiver;  /* the endpoint there, if it is one */
	__be32 id;       /* what fragments of one packet share */
	flow_key_t key;
	flow_key_t other; /* room for another key, which the stack has not */
};

_Static_assert(sizeof(packet_t) <= WORKSPACE_BYTES, "a packet has to fit its workspace");

/* The packet that the program was called with, of which nothing is known yet. */
static __always_inline packet_t *new_packet(void)
{
	return workspace(WORKSPACE_PACKET, sizeof(packet_t));
}

/*
 * The same for a function that needs its keys for maps: Linux 6.1 takes those from a
 * map's value, and not from memory that a function was passed. NULL is for the
 * verifier alone.
 */
static __always_inline packet_t *this_packet(void)
{
	__u32 slot = WORKSPACE_PACKET;

	return bpf_map_lookup_elem(&workspaces, &slot);
}

static __always_inline int drop(packet_t *p, __u16 reason)
{
	p->drop = reason;
	return VERDICT_DROP;
}

/*
 * transport_offset tells the verifier how far the transport header may reach, by a
 * mask, which clang must not drop.
 */
static __always_inline __u32 transport_offset(__u32 offset)
{
	asm volatile("%0 &= " AF(TRANSPORT_MASK) : "+r"(offset));
	return offset;
}

/* transport_bytes does what bytes does, from the transport header on. */
static __always_inline void *transport_bytes(struct __sk_buff *skb, packet_t *p, __u32 size)
{
	return bytes(skb, transport_offset(p->transport), size);
}
