/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fragments. Only the first one has ports. It notes them for those
 * that follow; one that comes before it, or without it, has no flow.
 */

static __always_inline fragment_key_t fragment_key_of(const packet_t *p)
{
	fragment_key_t key = {
		.src = p->key.src,
		.dst = p->key.dst,
		.id = p->id,
		.zone = p->key.zone,
		.protocol = AF(fragment_protocol)(p->key.protocol),
	};

	return key;
}

/* first_fragment notes the ports of a packet that has a flow. */
__noinline int first_fragment(packet_t *p)
{
	struct fragment ports = { .seen = now_seconds() };
	fragment_key_t key;

	if (!p || dry_run)
		return 0;
	key = fragment_key_of(p);
	ports.sport = p->key.sport;
	ports.dport = p->key.dport;
	ports.echo_reply = p->key.echo_reply;
	ports.protocol = p->key.protocol;
	return bpf_map_update_elem(&AF(fragments), &key, &ports, BPF_ANY);
}

/* later_fragment gives a fragment the ports of the packet that it is part of. */
__noinline int later_fragment(packet_t *p)
{
	fragment_key_t key;
	struct fragment *ports;

	if (!p)
		return 0;
	key = fragment_key_of(p);
	ports = bpf_map_lookup_elem(&AF(fragments), &key);
	if (!ports || (__s32)(now_seconds() - ports->seen) > (__s32)timeout_fragment)
		return 0;
	p->key.sport = ports->sport;
	p->key.dport = ports->dport;
	p->key.echo_reply = ports->echo_reply;
	p->key.protocol = ports->protocol;
	p->has_ports = true;
	return 0;
}

/* flow_of returns the live flow of a packet, brought up to date, or NULL. */
static __always_inline flow_t *flow_of(packet_t *p, const found_t *found)
{
	if (p->later)
		later_fragment(p);
	return p->has_ports ? flow_find(p, found) : NULL;
}
