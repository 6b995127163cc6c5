/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Constants that the loader sets by name before it loads a program
 * (loader/config.go); the verifier then removes the branches they switch off.
 */
#ifndef SLUICE_CONFIG_H
#define SLUICE_CONFIG_H

#include "types.h"

/* No map is written: for tracing what would happen to a packet. */
volatile const bool dry_run = false;
/* Dropped packets go to the ring buffer while report_lease lasts. */
volatile const bool observe = false;

/* What this kernel has (loader/features.go). */
volatile const bool fib_skip_neigh = true;
volatile const bool fib_source = true;
volatile const bool csum_ipv6 = true;
volatile const bool kernel_context = true;

/* The device that lends its `forwarding` to route lookups. */
volatile const __u32 fib_ifindex = 0;
/* Of the network namespace that is the host. */
volatile const __u64 host_netns_cookie = 0;

/* Of the tenured tables: what keys are hashed with, and how many sets there are, less one. */
volatile const __u32 flow_seed[FLOW_SEED_WORDS] = {};
volatile const __u32 flow_sets_mask4 = 0;
volatile const __u32 flow_sets_mask6 = 0;

/* How jiffies tell the time (loader/clock.go): what they were when CLOCK_MONOTONIC
 * was 0, and how long one is, in seconds with 32 fractional bits. */
volatile const __u64 jiffies_origin = 0;
volatile const __u64 jiffy_seconds = 0;

/* The host's ip_local_port_range, which masquerade keeps out of. */
volatile const __u16 local_port_first = 32768;
volatile const __u16 local_port_last = 60999;

/*
 * Timeouts in seconds, after RFC 5382 REQ-5 (TCP), RFC 4787 REQ-5 (UDP) and
 * RFC 5508 REQ-2 (ICMP).
 */
volatile const __u32 timeout_tcp_opening = 240;
volatile const __u32 timeout_tcp_established = 7440;
volatile const __u32 timeout_tcp_closing = 240;
volatile const __u32 timeout_tcp_reset = 10;
volatile const __u32 timeout_udp_new = 120;
volatile const __u32 timeout_udp_replied = 300;
volatile const __u32 timeout_icmp = 60;
/* How long fragments follow the first one; the stack waits as long (ipfrag_time). */
volatile const __u32 timeout_fragment = 30;

#endif
