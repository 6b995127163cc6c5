/* SPDX-License-Identifier: GPL-2.0-only */
/* Segments whose flows are being carried over from another layout's maps. */

/* Whether a socket of the host, a listening one or one in TIME-WAIT too, takes a segment. */
static __always_inline bool host_socket_takes(struct __sk_buff *skb, const packet_t *p)
{
	struct bpf_sock_tuple tuple;
	__u32 size = tuple_of(&tuple, p->key.src, p->key.sport, p->key.dst, p->key.dport);
	struct bpf_sock *sk = bpf_skc_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);

	if (!sk)
		return false;
	bpf_sk_release(sk);
	return true;
}

/*
 * Whether a segment to the host may have its flow on the way. The stack would end the
 * connection. Other programs' translations, whose ports are the host's mostly, go on.
 */
static __always_inline bool flow_is_carried(struct __sk_buff *skb, const packet_t *p)
{
	return p->key.protocol == IPPROTO_TCP && p->has_ports && !tcp_opens(p) && flows_are_carried() &&
	       !port_of_host(p->key.protocol, p->key.dport) && !host_socket_takes(skb, p);
}
