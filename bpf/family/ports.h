/* SPDX-License-Identifier: GPL-2.0-only */
/* Published ports: from a host address and port to a rule. */

static __always_inline bool rule_covers(const struct rule *rule, __be16 port)
{
	__u16 number = bpf_ntohs(port);

	return rule->kind == RULE_PUBLISH && rule->family == AF(SOCKET_FAMILY) && number >= rule->first && number <= rule->last;
}

/*
 * published returns the rule for a connection to addr:port and its index, or
 * NULL. Rules for one address stand before those for every address.
 */
static __always_inline struct rule *published(__u8 protocol, addr_t addr, __be16 port, __u32 *index)
{
	__u32 next = port_head(protocol, port);

	for (int i = 0; i < MAX_RULE_CHAIN && next; i++) {
		struct rule *rule = bpf_map_lookup_elem(&rules, &next);

		if (!rule)
			return NULL;
		if (rule_covers(rule, port) && (is_zero(rule->AF(addr)) || same_addr(rule->AF(addr), addr))) {
			*index = next;
			return rule;
		}
		next = rule->next;
	}
	return NULL;
}

/* Whether binding addr:port would take a published port away; addr may be zero. */
static __always_inline bool bind_conflicts(__u8 protocol, addr_t addr, __be16 port)
{
	__u32 next = port_head(protocol, port);

	for (int i = 0; i < MAX_RULE_CHAIN && next; i++) {
		struct rule *rule = bpf_map_lookup_elem(&rules, &next);

		if (!rule)
			return false;
		if (rule_covers(rule, port) && (is_zero(rule->AF(addr)) || is_zero(addr) || same_addr(rule->AF(addr), addr)))
			return true;
		next = rule->next;
	}
	return false;
}

/* Whether a port is one of the host's own connections, of which no flow is: see snat.h. */
static __always_inline bool port_of_host(__u8 protocol, __be16 port)
{
	__u32 number = bpf_ntohs(port);

	/* On the stack in any case, or the verifier follows twice what comes behind: with it and without. */
	asm volatile("" : "+m"(number));
	return number >= local_port_first && number <= local_port_last && !port_head_at(protocol, &number);
}
