/* SPDX-License-Identifier: GPL-2.0-only */
/* Every map of the datapath. docs/architecture.md says who writes which. */
#ifndef SLUICE_MAPS_H
#define SLUICE_MAPS_H

#include "types.h"
#include "reasons.h"
#include <bpf/bpf_helpers.h>

#define MAP(name, kind, key_type, value_type, size)         \
	struct {                                            \
		__uint(type, kind);                         \
		__type(key, key_type);                      \
		__type(value, value_type);                  \
		__uint(max_entries, size);                  \
	} name SEC(".maps")

#define MAP_UNALLOCATED(name, kind, key_type, value_type, size) \
	struct {                                            \
		__uint(type, kind);                         \
		__type(key, key_type);                      \
		__type(value, value_type);                  \
		__uint(max_entries, size);                  \
		__uint(map_flags, BPF_F_NO_PREALLOC);       \
	} name SEC(".maps")

/* One whose values begin at a page, so that those of a line of the cache are in one. */
#define MAP_ALIGNED(name, kind, key_type, value_type, size) \
	struct {                                            \
		__uint(type, kind);                         \
		__type(key, key_type);                      \
		__type(value, value_type);                  \
		__uint(max_entries, size);                  \
		__uint(map_flags, BPF_F_MMAPABLE);          \
	} name SEC(".maps")

/* Conntrack. The loader sets the sizes. Young flows are in the nursery, see family/halves.h. */
MAP_ALIGNED(flows4, BPF_MAP_TYPE_ARRAY, __u32, struct flow_entry4, 131072);
MAP_ALIGNED(flows6, BPF_MAP_TYPE_ARRAY, __u32, struct flow_entry6, 131072);
MAP_ALIGNED(flow_tags4, BPF_MAP_TYPE_ARRAY, __u32, struct flow_tags, 131072 / FLOW_WAYS);
MAP_ALIGNED(flow_tags6, BPF_MAP_TYPE_ARRAY, __u32, struct flow_tags, 131072 / FLOW_WAYS);
MAP(flow_seeds, BPF_MAP_TYPE_ARRAY, __u32, struct flow_seed, 1);
MAP(nursery4, BPF_MAP_TYPE_LRU_HASH, struct flow_key4, struct flow4, 65536);
MAP(nursery6, BPF_MAP_TYPE_LRU_HASH, struct flow_key6, struct flow6, 65536);

/* Young flows that have to be moved, as queues; the ends of IPv4's first. */
MAP(waiting4, BPF_MAP_TYPE_ARRAY, __u32, struct waiting4, WAITING_FLOWS);
MAP(waiting6, BPF_MAP_TYPE_ARRAY, __u32, struct waiting6, WAITING_FLOWS);
MAP(waiting_ends, BPF_MAP_TYPE_ARRAY, __u32, struct waiting_ends, 2);

/* Packets whose first fragment has been seen. */
MAP(fragments4, BPF_MAP_TYPE_LRU_HASH, struct fragment_key4, struct fragment, 8192);
MAP(fragments6, BPF_MAP_TYPE_LRU_HASH, struct fragment_key6, struct fragment, 8192);

/* Halves that a program is about to insert; see scratch4 in conntrack.h. */
MAP(scratch_flows4, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct flow4, SCRATCH_FLOWS);
MAP(scratch_flows6, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct flow6, SCRATCH_FLOWS);

/* Room for one packet's way; see packet_t and route. Programs of one CPU never interrupt each other. */
MAP(workspaces, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct workspace, WORKSPACE_SLOTS);

/* Ways out, by a hash of the destination; see family/next_hop.h. */
MAP(next_hops4, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct next_hop4, 1 << NEXT_HOP_BITS);
MAP(next_hops6, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct next_hop6, 1 << NEXT_HOP_BITS);

/* By index; index 0 is nobody. */
MAP(networks, BPF_MAP_TYPE_ARRAY, __u32, struct network, MAX_NETWORKS);
MAP(endpoints, BPF_MAP_TYPE_ARRAY, __u32, struct endpoint, MAX_ENDPOINTS);
MAP(rules, BPF_MAP_TYPE_ARRAY, __u32, struct rule, MAX_RULES);

/* To an endpoint's index: from its veth, from its address. */
MAP_UNALLOCATED(devices, BPF_MAP_TYPE_HASH, __u32, __u32, MAX_ENDPOINTS);
MAP(device_hints, BPF_MAP_TYPE_ARRAY, __u32, __u32, DEVICE_HINTS); /* see sender.h */
MAP_UNALLOCATED(endpoints4, BPF_MAP_TYPE_HASH, __be32, __u32, MAX_ENDPOINTS);
MAP_UNALLOCATED(endpoints6, BPF_MAP_TYPE_HASH, struct addr6, __u32, MAX_ENDPOINTS);

/* An alias's address to its members; where each alias is in its turn. */
MAP_UNALLOCATED(vips4, BPF_MAP_TYPE_HASH, __be32, struct vip, MAX_ALIASES);
MAP_UNALLOCATED(vips6, BPF_MAP_TYPE_HASH, struct addr6, struct vip, MAX_ALIASES);
MAP(alias_turns, BPF_MAP_TYPE_ARRAY, __u32, struct turns, MAX_ALIASES);

/* Port, in host byte order, to the index of the first rule on it. */
MAP(ports_tcp, BPF_MAP_TYPE_ARRAY, __u32, __u32, 65536);
MAP(ports_udp, BPF_MAP_TYPE_ARRAY, __u32, __u32, 65536);

MAP_UNALLOCATED(host_addrs4, BPF_MAP_TYPE_HASH, __be32, struct host_addr, 4096);
MAP_UNALLOCATED(host_addrs6, BPF_MAP_TYPE_HASH, struct addr6, struct host_addr, 4096);
MAP_UNALLOCATED(uplinks, BPF_MAP_TYPE_HASH, __u32, struct uplink, 1024);

/* Prefix to a network's index. */
MAP_UNALLOCATED(subnets4, BPF_MAP_TYPE_LPM_TRIE, struct subnet_key4, __u32, MAX_NETWORKS);
MAP_UNALLOCATED(subnets6, BPF_MAP_TYPE_LPM_TRIE, struct subnet_key6, __u32, MAX_NETWORKS);

/* Where the search for a masquerade port begins, by destination. */
MAP(snat_cursors, BPF_MAP_TYPE_ARRAY, __u32, __u32, SNAT_CURSORS);

/* Until when a sender's share of our ICMP errors is used up; CLOCK_MONOTONIC, ns. */
MAP(answer_limits, BPF_MAP_TYPE_ARRAY, __u32, __u64, MAX_ENDPOINTS);

MAP(socket_origins, BPF_MAP_TYPE_LRU_HASH, struct socket_key, struct socket_origin, 16384);

MAP(rule_counts, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct rule_counters, MAX_RULES);
/* Ports that masquerade has tried and found taken. */
MAP(masquerade_retries, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, __u64, 1);
MAP(packet_counts, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, __u64, HOOKS * VERDICTS);
MAP(drop_counts, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, __u64, REASONS);

/* Until when flows are being carried over from another layout's maps (CLOCK_MONOTONIC, ns); 0 else. */
MAP(carrying_until, BPF_MAP_TYPE_ARRAY, __u32, __u64, 1);

/* Until when dropped packets are to be reported (CLOCK_MONOTONIC, ns); how many were, by reason. */
MAP(report_lease, BPF_MAP_TYPE_ARRAY, __u32, __u64, 1);
MAP(report_budgets, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct report_budget, REASONS);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} events SEC(".maps");

#endif
