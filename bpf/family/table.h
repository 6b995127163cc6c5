/* SPDX-License-Identifier: GPL-2.0-only */
/* What the loader asks of a family's conntrack tables; see ../table.c. */
#include "packet.h"
#include "key.h"
#include "tenured.h"
#include "halves.h"

/* Whether two halves of one key are of one flow. */
static __always_inline bool same_flow(const flow_t *a, const flow_t *b)
{
	return same_addr(a->src, b->src) && same_addr(a->dst, b->dst) && a->sport == b->sport && a->dport == b->dport;
}

/*
 * put_tenured inserts a half that another layout's table had. The nursery may have it
 * already, from when it was young; or the key may be another flow's by now.
 */
static __always_inline int put_tenured(const flow_key_t *key, const flow_t *half)
{
	flow_t *young = bpf_map_lookup_elem(&AF(nursery), key);

	if (tenured_find(key) || (young && !same_flow(young, half)))
		return FLOW_THERE;
	if (!tenured_put(key, half))
		return 0;
	bpf_map_delete_elem(&AF(nursery), key);
	return FLOW_DONE;
}

/* table_do returns FLOW_DONE when it has done what the request says, or why not. */
static __always_inline int table_do(struct __sk_buff *skb, __u32 operation)
{
	flow_entry_t *entry = (void *)(long)skb->data + sizeof(struct flow_request);
	flow_key_t key;
	bool had;

	if ((void *)(entry + 1) > (void *)(long)skb->data_end)
		return 0;
	key = entry->key;
	switch (operation) {
	case FLOW_PUT:
		return put_tenured(&key, &entry->flow);
	case FLOW_ERASE:
		had = half_find(&key);
		half_erase(&key);
		return had ? FLOW_DONE : 0;
	}
	return 0;
}
