// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hook `container`: the host side of a container's veth, ingress: all that a
 * container sends. Order: source checks; a neighbour, when the sender has no
 * flows with it; a flow; a neighbour or an alias; a published port of the host;
 * the host itself; another network; the outside.
 */
#include "common.h"
#include "sender.h"

#define FAMILY 4
#include "family/container.h"
#undef FAMILY

#define FAMILY 6
#include "family/container.h"
#undef FAMILY

SEC("tc")
int container_ingress(struct __sk_buff *skb)
{
	return skb->protocol == bpf_htons(ETH_P_IP6) ? container_hook6(skb) : container_hook4(skb);
}

char _license[] SEC("license") = "GPL";
