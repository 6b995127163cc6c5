/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fragments of IPv4. Only the first one has ports. It notes them for those
 * that follow; one that comes before it, or without it, has no flow.
 */
#ifndef SLUICE_FRAGMENT_H
#define SLUICE_FRAGMENT_H

#include "conntrack.h"

static __always_inline struct fragment_key4 fragment_key4(const struct packet *p)
{
	struct fragment_key4 key = {
		.src = p->key.src,
		.dst = p->key.dst,
		.id = p->id,
		.zone = p->key.zone,
		.protocol = p->key.protocol,
	};

	return key;
}

/* first_fragment4 notes the ports of a packet that has a flow. */
__noinline int first_fragment4(struct packet *p)
{
	struct fragment ports = { .seen = now_seconds() };
	struct fragment_key4 key;

	if (!p || dry_run)
		return 0;
	key = fragment_key4(p);
	ports.sport = p->key.sport;
	ports.dport = p->key.dport;
	ports.echo_reply = p->key.echo_reply;
	return bpf_map_update_elem(&fragments4, &key, &ports, BPF_ANY);
}

/* later_fragment4 gives a fragment the ports of the packet that it is part of. */
__noinline int later_fragment4(struct packet *p)
{
	struct fragment_key4 key;
	struct fragment *ports;

	if (!p)
		return 0;
	key = fragment_key4(p);
	ports = bpf_map_lookup_elem(&fragments4, &key);
	if (!ports || (__s32)(now_seconds() - ports->seen) > (__s32)timeout_fragment)
		return 0;
	p->key.sport = ports->sport;
	p->key.dport = ports->dport;
	p->key.echo_reply = ports->echo_reply;
	p->has_ports = true;
	return 0;
}

/* flow_of4 returns the live flow of a packet, brought up to date, or NULL. */
static __always_inline struct flow4 *flow_of4(struct packet *p)
{
	if (p->later)
		later_fragment4(p);
	return p->has_ports ? flow_find4(p) : NULL;
}

#endif
