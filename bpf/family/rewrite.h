/* SPDX-License-Identifier: GPL-2.0-only */
/* Changing a packet's addresses, ports and TTL, with their checksums. */

#define TCP_CHECKSUM 16
#define UDP_CHECKSUM 6
#define ICMP_CHECKSUM 2

/*
 * kernel_checksum hands both differences to the kernel, which knows what to do
 * with them; before Linux 6.16 it believes that the IP header makes up for the
 * addresses.
 */
static __always_inline bool kernel_checksum(struct __sk_buff *skb, __u32 offset, __wsum addresses, __wsum ports, __u64 flags)
{
	if (addresses && bpf_l4_csum_replace(skb, offset, 0, addresses, flags | AF(CHECKSUM_FLAGS)))
		return false;
	if (!AF(HEADER_HAS_SUM) && !csum_ipv6)
		sum_changed(skb, addresses);
	return !ports || !bpf_l4_csum_replace(skb, offset, 0, ports, flags);
}

/*
 * transport_checksum brings the transport header's checksum up to date. Most
 * packets do without the kernel, which is a call for each difference. UDP says
 * "none" by 0, and 0 by its complement.
 */
static __always_inline bool transport_checksum(struct __sk_buff *skb, packet_t *p, __wsum addresses, __wsum ports)
{
	__u32 offset = p->transport;
	__u8 kind = checksum_kind(skb);
	bool may_be_none = false;
	__u16 *field;

	switch (p->key.protocol) {
	case IPPROTO_TCP:
		offset += TCP_CHECKSUM;
		break;
	case IPPROTO_UDP:
		offset += UDP_CHECKSUM;
		may_be_none = true;
		break;
	default:
		offset += ICMP_CHECKSUM;
		if (!AF(ICMP_HAS_PSEUDO))
			addresses = 0;
	}
	offset = transport_offset(offset);
	field = bytes(skb, offset, sizeof(*field));
	if (!field)
		return false;
	if (may_be_none && !*field) {
		sum_changed(skb, (AF(HEADER_HAS_SUM) ? 0 : (__u64)addresses) + ports);
		return true;
	}
	if (kind == CHECKSUM_COMPLETE)
		return kernel_checksum(skb, offset, addresses, ports, may_be_none ? BPF_F_MARK_MANGLED_0 : 0);
	checksum_write(field, kind, may_be_none, addresses, ports);
	return true;
}

static __always_inline bool write_ports(struct __sk_buff *skb, packet_t *p, const flow_t *to)
{
	struct icmp_echo *icmp;
	struct udp_header *ports;

	if (p->key.protocol == AF(IPPROTO_ICMP)) {
		icmp = transport_bytes(skb, p, sizeof(*icmp));
		if (!icmp)
			return false;
		icmp->id = p->key.echo_reply ? to->dport : to->sport;
		return true;
	}
	ports = transport_bytes(skb, p, sizeof(*ports)); /* TCP's begin alike */
	if (!ports)
		return false;
	ports->sport = to->sport;
	ports->dport = to->dport;
	return true;
}

/*
 * rewrite gives the packet the addresses and ports of `to` and takes `hops`
 * from its TTL, which the caller has checked.
 */
static __always_inline bool rewrite(struct __sk_buff *skb, packet_t *p, const flow_t *to, __u8 hops)
{
	__u64 addresses = addr_diff(addr_diff(0, p->key.src, to->src), p->key.dst, to->dst);
	__wsum ports = sum_fold_zero(sum_replace(sum_replace(0, p->key.sport, to->sport), p->key.dport, to->dport));
	__u32 other_ports = (p->key.sport ^ to->sport) | (p->key.dport ^ to->dport);

	/* Of a difference clang would make two branches, which the verifier would follow to the end. */
	asm volatile("" : "+r"(other_ports));
	/* Only the first fragment has ports, and the checksum over all of them. */
	if (p->later) {
		if (!AF(HEADER_HAS_SUM))
			sum_changed(skb, addresses);
	} else if (!transport_checksum(skb, p, sum_fold_zero(addresses), ports) || (other_ports && !write_ports(skb, p, to))) {
		return false;
	}
	return rewrite_header(skb, to->src, to->dst, hops);
}

static __always_inline bool write_macs(struct __sk_buff *skb, packet_t *p, const __u8 *dst, const __u8 *src)
{
	struct eth_header *eth = bytes(skb, 0, sizeof(*eth));

	if (!eth)
		return false;
	copy_mac(eth->dst, dst);
	copy_mac(eth->src, src);
	return true;
}
