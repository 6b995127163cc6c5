// SPDX-License-Identifier: GPL-2.0-only
/*
 * No hook: what the loader and package maps change in the conntrack tables, while
 * packets do, takes the same steps as theirs. It is run by BPF_PROG_TEST_RUN, with a
 * request instead of a frame.
 */
#include "common.h"

#define FAMILY 4
#include "family/table.h"
#undef FAMILY

#define FAMILY 6
#include "family/table.h"
#undef FAMILY

SEC("tc")
int flow_table(struct __sk_buff *skb)
{
	struct flow_request *request = (void *)(long)skb->data;

	if ((void *)(request + 1) > (void *)(long)skb->data_end)
		return 0;
	switch (request->family) {
	case 4:
		return table_do4(skb, request->operation);
	case 6:
		return table_do6(skb, request->operation);
	}
	return 0;
}

char _license[] SEC("license") = "GPL";
