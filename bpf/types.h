/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Keys and values of the maps: the layout that pinned maps keep. A change here
 * needs a new LAYOUT in loader/layout.go. Go's types are generated from these.
 * Addresses and ports of packets are in network byte order, ports of rules in
 * host byte order, as each field says.
 */
#ifndef SLUICE_TYPES_H
#define SLUICE_TYPES_H

#include "abi.h"

#define MAX_NETWORKS 1024
#define MAX_ENDPOINTS 16384
#define MAX_RULES 16384
#define DEVICE_HINTS 4096
#define MAX_RULE_CHAIN 8
#define MAX_ALIASES 4096
#define MAX_ALIAS_MEMBERS 256
#define SNAT_CURSORS 4096
#define NEXT_HOP_BITS 9 /* of the index of next_hops4 and next_hops6 */
#define EVENT_BYTES 96
/* Of dropped packets, for each reason and on each CPU: a flood must not become one of reports. */
#define REPORTS_PER_SECOND 64

/* Where a sandbox asks for names, and where the daemon listens for that; host byte order. */
#define RESOLVER_ADDR 0x7f00000b /* 127.0.0.11 */
#define RESOLVER_PORT 61053      /* outside the ip_local_port_range of a new namespace */
#define DNS_PORT 53

/* Where a packet was seen: a network's index, or one of these. */
#define ZONE_OUTSIDE 0
#define ZONE_HOST 0xffff

/* Aligned as clang has to know it, or it would copy byte by byte. */
struct addr6 {
	__u8 bytes[16];
} __attribute__((aligned(4)));

/*
 * Where the kernel has sent a packet in this tick: an uplink, and the MAC addresses of
 * the way to the next hop. What has these addresses and protocol may go there too.
 */
struct next_hop4 {
	__u64 tick; /* jiffies */
	__be32 src;
	__be32 dst;
	__u32 ifindex;
	__u16 mtu; /* of the route, as the IP length that fits */
	__u8 dst_mac[6];
	__u8 src_mac[6];
	__u8 protocol;
	__u8 reserved[5];
};

struct next_hop6 {
	__u64 tick;
	struct addr6 src;
	struct addr6 dst;
	__u32 ifindex;
	__u16 mtu;
	__u8 dst_mac[6];
	__u8 src_mac[6];
	__u8 protocol;
	__u8 reserved[5];
};

/*
 * A flow has two halves, one per direction, each keyed by what a packet of that
 * direction looks like before translation.
 */
struct flow_key4 {
	__be32 src;
	__be32 dst;
	__be16 sport; /* ICMP echo request: the identifier */
	__be16 dport; /* ICMP echo reply: the identifier */
	__u16 zone;
	__u8 protocol;
	__u8 echo_reply; /* 1 for an ICMP echo reply */
};

struct flow_key6 {
	struct addr6 src;
	struct addr6 dst;
	__be16 sport;
	__be16 dport;
	__u16 zone;
	__u8 protocol;
	__u8 echo_reply;
};

#define WAITING_FLOWS 32768

/* A young flow that has been answered and taken up again; see family/waiting.h. */
struct waiting4 {
	struct flow_key4 key;
	__u32 begun; /* waiting_ends.begun when it was put there */
};

struct waiting6 {
	struct flow_key6 key;
	__u32 begun;
};

/* Numbers that only grow, modulo 2^32. */
struct waiting_ends {
	__u32 head;  /* who waits for longest */
	__u32 tail;  /* the place of the next one */
	__u32 begun; /* how many flows of the family have begun */
};

/* Slots of scratch_flows4 and scratch_flows6. */
#define SCRATCH_OPENING 0 /* the forward half of the flow that a packet opens */
#define SCRATCH_OTHER 1   /* the other half of a flow */
#define SCRATCH_FLOWS 2

/* Room for what does not fit on the stack, by slot. */
#define WORKSPACE_PACKET 0
#define WORKSPACE_ROUTE 1
#define WORKSPACE_WAITING 2
#define WORKSPACE_SLOTS 3
#define WORKSPACE_BYTES 192

struct workspace {
	__u64 words[WORKSPACE_BYTES / 8];
};

/* The fragments of one packet, RFC 791; the zone keeps sides apart as in flows. */
struct fragment_key4 {
	__be32 src;
	__be32 dst;
	__be16 id;
	__u16 zone;
	__u8 protocol;
	__u8 reserved[3];
};

/* Of IPv6: the identification is of the fragment header, RFC 8200 4.5. */
struct fragment_key6 {
	struct addr6 src;
	struct addr6 dst;
	__be32 id;
	__u16 zone;
	__u8 protocol; /* 0: the fragments may begin with different headers */
	__u8 reserved;
};

/* What the first fragment has said: what its flow's key has of it. */
struct fragment {
	__u32 seen; /* seconds of CLOCK_MONOTONIC */
	__be16 sport;
	__be16 dport;
	__u8 echo_reply;
	__u8 protocol;
	__u8 reserved[2];
};

/* Bits of flow_head.state: what has been seen, kept equal in both halves. */
#define FLOW_REPLIED 0x01      /* a packet of the reply direction */
#define FLOW_CONFIRMED 0x02    /* and after it one of the forward direction, but no bare SYN or reset */
#define FLOW_FIN_FORWARD 0x04
#define FLOW_FIN_REPLY 0x08
#define FLOW_RESET 0x10
#define FLOW_TENURED 0x20 /* it has proved itself: the half is in flows4 or flows6, not in the nursery */

/* Where a half's packets go once they are translated. */
enum flow_target {
	TARGET_ENDPOINT = 1, /* to flow_head.endpoint */
	TARGET_PEER = 2,     /* to flow_head.peer */
	TARGET_OUTSIDE = 3,  /* by a route of the host */
	TARGET_STACK = 4,    /* to the host's own stack */
};

#define DIRECTION_FORWARD 0
#define DIRECTION_REPLY 1

struct flow_head {
	__u32 created; /* seconds of CLOCK_MONOTONIC */
	__u32 seen;    /* likewise; of this half's last packet */
	__u8 state;
	__u8 direction;
	__u8 target;      /* enum flow_target, of this half */
	__u8 back_target; /* of the other half */
	__u16 back_zone;  /* the zone in the other half's key */
	__u8 hops;        /* what each packet loses of its TTL: 1 where it changes networks */
	__u8 alone;       /* 1 where the other half had to give way: the next packet brings it back */
	/* The endpoint that the flow belongs to: the one that is masqueraded or
	 * published. Its generation, when raised, ends the flow. */
	__u16 endpoint;
	/* The endpoint at the other end, 0 when that is not a container. */
	__u16 peer;
	__u16 rule;
	__u16 policy_epoch; /* of the policy that let the flow in; 0 until there are policies */
	__u32 endpoint_generation;
	__u32 peer_generation;
	__u32 rule_generation;
};

_Static_assert(MAX_ENDPOINTS <= 1 << 16 && MAX_RULES <= 1 << 16, "flows note indexes of 16 bits");

/* How many seconds pass before a packet of a tenured flow tells the other half, too, that it came. */
#define SEEN_TOGETHER 64

/* The addresses and ports that this half's packets get. */
struct flow4 {
	struct flow_head head;
	__be32 src;
	__be32 dst;
	__be16 sport;
	__be16 dport;
};

struct flow6 {
	struct flow_head head;
	struct addr6 src;
	struct addr6 dst;
	__be16 sport;
	__be16 dport;
	__u8 reserved[16];
};

/*
 * The tenured table: entries, FLOW_WAYS to a set, and beside them the sets' tags;
 * see family/tenured.h.
 */
#define FLOW_WAYS 16

/* Secret words that a key is hashed with: as many as IPv6's keys have. */
#define FLOW_SEED_WORDS 10

struct flow_seed {
	__u32 words[FLOW_SEED_WORDS];
};

struct flow_tags {
	__u64 words[4]; /* of four tags each; 0: the entry is free */
};

struct flow_entry4 {
	struct flow4 flow;
	struct flow_key4 key;
};

struct flow_entry6 {
	struct flow6 flow;
	struct flow_key6 key;
};

#define CACHE_LINE 64
_Static_assert(sizeof(struct flow_entry4) == CACHE_LINE && sizeof(struct flow_entry6) == 2 * CACHE_LINE, "an entry has lines of its own");

/*
 * What the program of table.c is asked for, as the frame of a BPF_PROG_TEST_RUN: the
 * kernel looks at what would be an Ethernet header.
 */
#define FLOW_PUT 1   /* insert the entry into the tenured table, unless that has its key */
#define FLOW_ERASE 2 /* remove the half of the entry's key from wherever it is */

#define FLOW_DONE 1
#define FLOW_THERE 2 /* not put: the key has a half; 0 would be for want of room, which is to be tried again */

struct flow_request {
	__u8 ethernet[14];
	__u8 reserved[2];
	__u32 operation;
	__u32 family; /* 4 or 6: of the entry behind it */
};

#define ENDPOINT_READY 0x01      /* programs attached: packets may be delivered */
#define ENDPOINT_TRANSLATED 0x02 /* published: its packets inside the network have flows too */
#define ENDPOINT_FINAL 0x04      /* its device may have the program twice: what passes the first passes */

struct endpoint {
	__u32 generation;
	__u32 ifindex; /* of the host side of its veth */
	__be32 addr4;
	struct addr6 addr6;
	__u8 mac[6];
	__u16 network;
	__u8 flags;
	__u8 reserved[3];
};

struct network {
	__u32 ifindex; /* of its bridge */
	__u32 rule;    /* the masquerade rule; 0 for an internal network */
	__be32 subnet4;
	__be32 mask4;
	__be32 gateway4;
	struct addr6 subnet6;
	struct addr6 mask6;
	struct addr6 gateway6;
	__u8 mac[6]; /* of its bridge */
	__u8 reserved[2];
};

#define RULE_MASQUERADE 1
#define RULE_PUBLISH 2
#define RULE_ALIAS 3

struct rule {
	__u32 generation;
	__u32 next;   /* the next rule on these host ports, 0 at the end */
	__u32 endpoint;
	__u32 policy; /* 0: open */
	__be32 addr4; /* host address; 0 for every one */
	struct addr6 addr6;
	__u16 first; /* host ports, host byte order */
	__u16 last;
	__u16 target; /* the endpoint's port for `first`, host byte order */
	__u16 network;
	__u8 kind;
	__u8 protocol;
	__u8 family;
	__u8 reserved;
};

struct rule_counters {
	__u64 flows; /* first packets of flows */
	__u64 flow_bytes;
	__u64 packets; /* every translated packet, both directions */
	__u64 bytes;
};

/* Who takes the connections to an alias's address, in turn. Replaced whole. */
struct vip {
	__u32 alias; /* its slot of alias_turns */
	__u32 rule;
	__u16 network;
	__u16 count;
	__u32 members[MAX_ALIAS_MEMBERS]; /* endpoints' indexes */
};

/* How many connections an alias has handed out: the turn goes on when members change. */
struct turns {
	__u64 turn4;
	__u64 turn6;
};

#define HOST_ADDR_UNSTABLE 0x0001 /* no source for masquerade: temporary, deprecated or tentative */

/* Which host addresses are ours; network is that of a gateway, else 0. */
struct host_addr {
	__u16 network;
	__u16 flags;
};

#define UPLINK_ETHERNET 0x0001 /* its packets have Ethernet headers */

struct uplink {
	__be32 addr4; /* masquerade source when the route prefers none */
	struct addr6 addr6;
	__u32 flags; /* UPLINK_ETHERNET */
};

struct subnet_key4 {
	__u32 prefix_len;
	__be32 addr;
};

struct subnet_key6 {
	__u32 prefix_len;
	struct addr6 addr;
};

/* What a host process asked for, by its socket and by what it got instead. */
struct socket_key {
	__u64 cookie;
	__u8 addr[16]; /* IPv4 as ::ffff:a.b.c.d */
	__be16 port;
	__u16 protocol;
	__u32 reserved;
};

struct socket_origin {
	__u8 addr[16];
	__be16 port;
	__u16 reserved;
};

enum hook {
	HOOK_CONTAINER = 0,
	HOOK_UPLINK = 1,
	HOOK_BRIDGE = 2,
	HOOK_SOCKET = 3,
	HOOK_RESOLVER = 4,
	HOOKS = 5,
};

enum verdict {
	VERDICT_PASS = 0,     /* on to the next program or the stack */
	VERDICT_REDIRECT = 1, /* delivered by us */
	VERDICT_DROP = 2,
	VERDICTS = 3,
};

/* What a CPU has reported of the drops for one reason. */
struct report_budget {
	__u64 second;   /* the one that `reported` is about, of CLOCK_MONOTONIC */
	__u64 reported; /* in that second */
	__u64 withheld; /* drops that were not reported, since the map was made */
};

/* One dropped packet, for the ring buffer. */
struct drop_event {
	__u64 time; /* nanoseconds of CLOCK_MONOTONIC */
	__u32 ifindex;
	__u32 length; /* of the packet */
	__u16 reason;
	__u8 hook;
	__u8 captured; /* bytes of data that are valid */
	__u8 data[EVENT_BYTES]; /* from the Ethernet header on, if there is one */
	__u8 link; /* how long that is */
	__u8 reserved[3];
};

#endif
