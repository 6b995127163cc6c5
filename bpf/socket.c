// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hook `socket`: connect, sendmsg, recvmsg, getpeername and bind of the host's
 * own processes. A process that addresses a published port at a loopback or
 * own address talks to the container directly, and sees the address that it
 * asked for.
 */
#include "common.h"

#define FAMILY 4
#include "family/socket.h"
#undef FAMILY

#define FAMILY 6
#include "family/socket.h"
#undef FAMILY

#define ALLOW 1
#define REFUSE 0

/* IPv4 as ::ffff:a.b.c.d. */
static __always_inline struct addr6 mapped(__be32 addr)
{
	struct addr6 a = { .bytes = { [10] = 0xff, [11] = 0xff } };

	__builtin_memcpy(a.bytes + 12, &addr, sizeof(addr));
	return a;
}

static __always_inline bool is_mapped(const struct addr6 *a)
{
	return !word6(a, 0) && !word6(a, 1) && word6(a, 2) == bpf_htonl(0xffff);
}

static __always_inline struct addr6 address_of(const struct bpf_sock_addr *ctx)
{
	__be32 words[4] = { ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3] };
	struct addr6 a;

	__builtin_memcpy(&a, words, sizeof(a));
	return a;
}

static __always_inline void set_address(struct bpf_sock_addr *ctx, const struct addr6 *a)
{
	ctx->user_ip6[0] = word6(a, 0);
	ctx->user_ip6[1] = word6(a, 1);
	ctx->user_ip6[2] = word6(a, 2);
	ctx->user_ip6[3] = word6(a, 3);
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

static __always_inline struct socket_key origin_key(struct bpf_sock_addr *ctx, const struct addr6 *a, __be16 port)
{
	struct socket_key key = {
		.cookie = bpf_get_socket_cookie(ctx),
		.port = port,
		.protocol = ctx->protocol,
	};

	__builtin_memcpy(key.addr, a, sizeof(key.addr));
	return key;
}

/* remember notes that the socket asked for `from` when it gets `to`. */
static __always_inline void remember(struct bpf_sock_addr *ctx, const struct addr6 *from, __be16 from_port,
				     const struct addr6 *to, __be16 to_port)
{
	struct socket_key key = origin_key(ctx, to, to_port);
	struct socket_origin origin = { .port = from_port };

	if (dry_run)
		return;
	__builtin_memcpy(origin.addr, from, sizeof(origin.addr));
	bpf_map_update_elem(&socket_origins, &key, &origin, BPF_ANY);
}

static __always_inline struct socket_origin *recall(struct bpf_sock_addr *ctx, const struct addr6 *a, __be16 port)
{
	struct socket_key key = origin_key(ctx, a, port);

	return bpf_map_lookup_elem(&socket_origins, &key);
}

static __always_inline int towards4(struct bpf_sock_addr *ctx)
{
	__be32 asked = or_loopback(ctx->user_ip4), addr;
	__be16 port = ctx->user_port, to_port;
	struct addr6 from, to;

	if (!of_host(ctx) || !resolve4(ctx, asked, port, &addr, &to_port))
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

/* Whether the socket is bound to an IPv6 address, by which the kernel makes it one of IPv6 alone. */
static __always_inline bool bound_to_ipv6(const struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	__be32 words[4] = { sk->src_ip6[0], sk->src_ip6[1], sk->src_ip6[2], sk->src_ip6[3] };
	struct addr6 a;

	__builtin_memcpy(&a, words, sizeof(a));
	return !is_zero6(a) && !is_mapped(&a);
}

/*
 * resolve_any finds what is behind an address of an IPv6 socket. IPv4-mapped
 * addresses are IPv4; ::1 leads to a container that has no IPv6 by IPv4, if the
 * kernel takes that: it does for TCP and connected UDP, of a socket that is not
 * bound to an IPv6 address.
 */
static __always_inline bool resolve_any(struct bpf_sock_addr *ctx, const struct addr6 *asked, bool by_ipv4,
					struct addr6 *to, __be16 *to_port)
{
	__be32 addr = bpf_htonl(0x7f000001);

	if (is_mapped(asked))
		addr = word6(asked, 3);
	else if (resolve6(ctx, *asked, ctx->user_port, to, to_port))
		return true;
	else if (!by_ipv4 || !is_loopback6(*asked))
		return false;
	if (!resolve4(ctx, addr, ctx->user_port, &addr, to_port))
		return false;
	*to = mapped(addr);
	return true;
}

static __always_inline int towards6(struct bpf_sock_addr *ctx, bool by_ipv4)
{
	struct addr6 asked = address_of(ctx), to;
	__be16 to_port;

	/* As IPv4: to connect to :: is to connect to ::1. */
	if (is_zero6(asked))
		asked.bytes[15] = 1;
	else if (is_mapped(&asked))
		asked = mapped(or_loopback(word6(&asked, 3)));
	if (!of_host(ctx) || !resolve_any(ctx, &asked, by_ipv4, &to, &to_port))
		return ALLOW;
	remember(ctx, &asked, ctx->user_port, &to, to_port);
	set_address(ctx, &to);
	ctx->user_port = to_port;
	return ALLOW;
}

SEC("cgroup/connect6")
int socket_connect6(struct bpf_sock_addr *ctx)
{
	return towards6(ctx, !bound_to_ipv6(ctx));
}

/* Mapped addresses come to socket_sendmsg4. */
SEC("cgroup/sendmsg6")
int socket_sendmsg6(struct bpf_sock_addr *ctx)
{
	return towards6(ctx, false);
}

static __always_inline int back4(struct bpf_sock_addr *ctx)
{
	struct addr6 a = mapped(ctx->user_ip4);
	struct socket_origin *origin;

	if (!of_host(ctx))
		return ALLOW;
	origin = recall(ctx, &a, ctx->user_port);
	if (!origin)
		return ALLOW;
	__builtin_memcpy(&a, origin->addr, sizeof(a));
	ctx->user_ip4 = word6(&a, 3);
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
	struct addr6 a = address_of(ctx);
	struct socket_origin *origin;

	if (!of_host(ctx))
		return ALLOW;
	origin = recall(ctx, &a, ctx->user_port);
	if (!origin)
		return ALLOW;
	__builtin_memcpy(&a, origin->addr, sizeof(a));
	set_address(ctx, &a);
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

static __always_inline int in_use(void)
{
	bpf_set_retval(-EADDRINUSE);
	return REFUSE;
}

/* A published port is taken; an address of zero stands for every one. */
SEC("cgroup/bind4")
int socket_bind4(struct bpf_sock_addr *ctx)
{
	if (!of_host(ctx) || !bind_conflicts4(ctx->protocol, ctx->user_ip4, ctx->user_port))
		return ALLOW;
	return in_use();
}

/* Whether binding an IPv6 socket to the address takes a published port of IPv4 away. */
static __always_inline bool takes_ipv4(struct bpf_sock_addr *ctx, const struct addr6 *a)
{
	__be32 addr = word6(a, 3);

	/* ::1 leads to those of 127.0.0.1, see resolve_any. */
	if (!is_mapped(a) && is_loopback6(*a))
		addr = bpf_htonl(0x7f000001);
	else if (!is_mapped(a) && !is_zero6(*a))
		return false;
	return bind_conflicts4(ctx->protocol, addr, ctx->user_port);
}

/* A socket on :: takes IPv4 too, unless IPV6_V6ONLY, which cannot be seen here. */
SEC("cgroup/bind6")
int socket_bind6(struct bpf_sock_addr *ctx)
{
	struct addr6 a = address_of(ctx);

	if (!of_host(ctx))
		return ALLOW;
	if (!is_mapped(&a) && bind_conflicts6(ctx->protocol, a, ctx->user_port))
		return in_use();
	return takes_ipv4(ctx, &a) ? in_use() : ALLOW;
}

char _license[] SEC("license") = "GPL";
