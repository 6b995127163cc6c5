// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hook `bridge`: egress of our bridges: what the host itself sends to
 * containers, by sockets of every kind. Connections to an alias go to its
 * members. A socket bound to 127.0.0.1 whose connection the socket hook turned
 * to a container gets the gateway's address. Replies are turned back by the
 * container hook. What the stack forwards is not the host's: it came by a
 * device that is no uplink, or by a source route.
 */
#include "common.h"

#define FAMILY 4
#include "family/bridge.h"
#undef FAMILY

#define FAMILY 6
#include "family/bridge.h"
#undef FAMILY

SEC("tc")
int bridge_egress(struct __sk_buff *skb)
{
	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP4):
		return bridge_hook4(skb);
	case bpf_htons(ETH_P_IP6):
		return bridge_hook6(skb);
	}
	count(&packet_counts, HOOK_BRIDGE * VERDICTS + VERDICT_PASS);
	return TCX_NEXT;
}

char _license[] SEC("license") = "GPL";
