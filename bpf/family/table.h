/* SPDX-License-Identifier: GPL-2.0-only */
/* What the loader asks of a family's conntrack tables; see ../table.c. */
#include "packet.h"
#include "key.h"
#include "tenured.h"
#include "halves.h"

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
		if (tenured_find(&key))
			return FLOW_THERE;
		return tenured_put(&key, &entry->flow) ? FLOW_DONE : 0;
	case FLOW_ERASE:
		had = half_find(&key);
		half_erase(&key);
		return had ? FLOW_DONE : 0;
	}
	return 0;
}
