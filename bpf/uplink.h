/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hook `uplink`: a device that leads outside, ingress. Order: a flow; a
 * published port; an address of a container network, which nobody outside may
 * reach; everything else is the host's own and passes on.
 */
#include "common.h"

#define FAMILY 4
#include "family/uplink.h"
#undef FAMILY

#define FAMILY 6
#include "family/uplink.h"
#undef FAMILY

/* What is for others, or for no IP of this device. */
static __always_inline int pass(void)
{
	count(&packet_counts, HOOK_UPLINK * VERDICTS + VERDICT_PASS);
	return TCX_NEXT;
}

SEC("tc")
int uplink_ingress(struct __sk_buff *skb)
{
	/* tc runs before VLAN devices and bridges see the frame. */
	if (skb->pkt_type != PACKET_HOST || skb->vlan_present)
		return pass();
	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP4):
		return uplink_hook4(skb);
	case bpf_htons(ETH_P_IP6):
		return uplink_hook6(skb);
	}
	return pass();
}

char _license[] SEC("license") = "GPL";
