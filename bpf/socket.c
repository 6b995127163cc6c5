// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hook `socket`: connect, sendmsg, recvmsg, getpeername and bind of the host's
 * own processes. A process that addresses a published port at a loopback or
 * own address talks to the container directly, and sees the address that it
 * asked for.
 */
#include "config.h"
#include "count.h"
#include "ports.h"

#define ALLOW 1
#define REFUSE 0

/* An address of a socket; IPv4 has the form ::ffff:a.b.c.d. */
union address {
	__u8 bytes[16];
	__u32 words[4];
};

static __always_inline union address mapped(__be32 addr)
{
	union address a = { .words = { 0, 0, bpf_htonl(0xffff), addr } };

	return a;
}

static __always_inline union address address6(const struct bpf_sock_addr *ctx)
{
	union address a = {
		.words = { ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3] },
	};

	return a;
}

static __always_inline void set_address6(struct bpf_sock_addr *ctx, const union address *a)
{
	ctx->user_ip6[0] = a->words[0];
	ctx->user_ip6[1] = a->words[1];
	ctx->user_ip6[2] = a->words[2];
	ctx->user_ip6[3] = a->words[3];
}

static __always_inline bool is_mapped(const union address *a)
{
	return !a->words[0] && !a->words[1] && a->words[2] == bpf_htonl(0xffff);
}

static __always_inline bool is_loopback6(const union address *a)
{
	return !a->words[0] && !a->words[1] && !a->words[2] && a->words[3] == bpf_htonl(1);
}

static __always_inline bool is_any6(const union address *a)
{
	return !a->words[0] && !a->words[1] && !a->words[2] && !a->words[3];
}

static __always_inline bool of_host(struct bpf_sock_addr *ctx)
{
	return bpf_get_netns_cookie(ctx) == host_netns_cookie;
}

/* To connect to 0.0.0.0 is to connect to 127.0.0.1, which is what the peer is then called. */
static __always_inline __be32 or_loopback(__be32 addr)
{
	return addr ? addr : bpf_htonl(0x7f000001);
}

static __always_inline bool host_address(__be32 addr)
{
	return (addr & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) ||
	       bpf_map_lookup_elem(&host_addrs4, &addr);
}

static __always_inline struct socket_key origin_key(struct bpf_sock_addr *ctx, const union address *a, __be16 port)
{
	struct socket_key key = {
		.cookie = bpf_get_socket_cookie(ctx),
		.port = port,
		.protocol = ctx->protocol,
	};

	__builtin_memcpy(key.addr, a->bytes, sizeof(key.addr));
	return key;
}

/* remember notes that the socket asked for `from` when it gets `to`. */
static __always_inline void remember(struct bpf_sock_addr *ctx, const union address *from, __be16 from_port,
				     const union address *to, __be16 to_port)
{
	struct socket_key key = origin_key(ctx, to, to_port);
	struct socket_origin origin = { .port = from_port };

	if (dry_run)
		return;
	__builtin_memcpy(origin.addr, from->bytes, sizeof(origin.addr));
	bpf_map_update_elem(&socket_origins, &key, &origin, BPF_ANY);
}

static __always_inline struct socket_origin *recall(struct bpf_sock_addr *ctx, const union address *a, __be16 port)
{
	struct socket_key key = origin_key(ctx, a, port);

	return bpf_map_lookup_elem(&socket_origins, &key);
}

/* The endpoint and port behind addr:port of the host, or false. */
static __always_inline bool resolve(struct bpf_sock_addr *ctx, __be32 addr, __be16 port, __be32 *to, __be16 *to_port)
{
	struct endpoint *endpoint;
	struct rule *rule;
	__u32 index = 0;

	if (!of_host(ctx) || !host_address(addr))
		return false;
	rule = published4(ctx->protocol, addr, port, &index);
	if (!rule)
		return false;
	endpoint = bpf_map_lookup_elem(&endpoints, &rule->endpoint);
	if (!endpoint || !(endpoint->flags & ENDPOINT_READY))
		return false;
	*to = endpoint->addr4;
	*to_port = rule_target(rule, port);
	count_flow(index, 0);
	return true;
}

static __always_inline int towards4(struct bpf_sock_addr *ctx)
{
	__be32 asked = or_loopback(ctx->user_ip4), addr;
	__be16 port = ctx->user_port, to_port;
	union address from, to;

	if (!resolve(ctx, asked, port, &addr, &to_port))
		return ALLOW;
	from = mapped(asked);
	to = mapped(addr);
	remember(ctx, &from, port, &to, to_port);
	ctx->user_ip4 = addr;
	ctx->user_port = to_port;
	return ALLOW;
}

SEC("cgroup/connect4")
int socket_connect4(struct bpf_sock_addr *ctx)
{
	return towards4(ctx);
}

SEC("cgroup/sendmsg4")
int socket_sendmsg4(struct bpf_sock_addr *ctx)
{
	return towards4(ctx);
}

/*
 * IPv4-mapped addresses are IPv4, and ::1, or ::, leads to the container by IPv4 too:
 * for TCP and connected UDP. The kernel refuses that change in sendmsg, where
 * mapped addresses go through socket_sendmsg4 anyway.
 */
SEC("cgroup/connect6")
int socket_connect6(struct bpf_sock_addr *ctx)
{
	union address from = address6(ctx), to;
	__be16 port = ctx->user_port, to_port;
	__be32 addr;

	if (is_any6(&from))
		from.words[3] = bpf_htonl(1);
	if (is_mapped(&from))
		from.words[3] = addr = or_loopback(from.words[3]);
	else if (is_loopback6(&from))
		addr = bpf_htonl(0x7f000001);
	else
		return ALLOW;
	if (!resolve(ctx, addr, port, &addr, &to_port))
		return ALLOW;
	to = mapped(addr);
	remember(ctx, &from, port, &to, to_port);
	set_address6(ctx, &to);
	ctx->user_port = to_port;
	return ALLOW;
}

static __always_inline int back4(struct bpf_sock_addr *ctx)
{
	union address a = mapped(ctx->user_ip4);
	struct socket_origin *origin;

	if (!of_host(ctx))
		return ALLOW;
	origin = recall(ctx, &a, ctx->user_port);
	if (!origin)
		return ALLOW;
	__builtin_memcpy(&a, origin->addr, sizeof(a));
	ctx->user_ip4 = a.words[3];
	ctx->user_port = origin->port;
	return ALLOW;
}

SEC("cgroup/recvmsg4")
int socket_recvmsg4(struct bpf_sock_addr *ctx)
{
	return back4(ctx);
}

SEC("cgroup/getpeername4")
int socket_getpeername4(struct bpf_sock_addr *ctx)
{
	return back4(ctx);
}

static __always_inline int back6(struct bpf_sock_addr *ctx)
{
	union address a = address6(ctx);
	struct socket_origin *origin;

	if (!of_host(ctx) || !is_mapped(&a))
		return ALLOW;
	origin = recall(ctx, &a, ctx->user_port);
	if (!origin)
		return ALLOW;
	__builtin_memcpy(&a, origin->addr, sizeof(a));
	set_address6(ctx, &a);
	ctx->user_port = origin->port;
	return ALLOW;
}

SEC("cgroup/recvmsg6")
int socket_recvmsg6(struct bpf_sock_addr *ctx)
{
	return back6(ctx);
}

SEC("cgroup/getpeername6")
int socket_getpeername6(struct bpf_sock_addr *ctx)
{
	return back6(ctx);
}

/* A published port is taken: addr 0 stands for every address. */
static __always_inline int bind_allowed(struct bpf_sock_addr *ctx, __be32 addr)
{
	if (!of_host(ctx) || !bind_conflicts4(ctx->protocol, addr, ctx->user_port))
		return ALLOW;
	bpf_set_retval(-EADDRINUSE);
	return REFUSE;
}

SEC("cgroup/bind4")
int socket_bind4(struct bpf_sock_addr *ctx)
{
	return bind_allowed(ctx, ctx->user_ip4);
}

/* A socket on :: takes IPv4 too, unless IPV6_V6ONLY, which cannot be seen here. */
SEC("cgroup/bind6")
int socket_bind6(struct bpf_sock_addr *ctx)
{
	union address a = address6(ctx);

	if (is_any6(&a))
		return bind_allowed(ctx, 0);
	return is_mapped(&a) ? bind_allowed(ctx, a.words[3]) : ALLOW;
}

char _license[] SEC("license") = "GPL";
