/* SPDX-License-Identifier: GPL-2.0-only */
/* Keys of halves. */

static __always_inline bool same_key(const flow_key_t *a, const flow_key_t *b)
{
	const word_t *left = (const word_t *)a, *right = (const word_t *)b;
	__u32 differs = 0;

#pragma unroll
	for (__u32 i = 0; i < sizeof(*a) / sizeof(*left); i++)
		differs |= left[i] ^ right[i];
	return !differs;
}

/* The key of a half's counterpart. */
static __always_inline void set_other_key(flow_key_t *other, const flow_key_t *key, const flow_t *flow)
{
	other->src = flow->dst;
	other->dst = flow->src;
	other->sport = flow->dport;
	other->dport = flow->sport;
	other->zone = flow->head.back_zone;
	other->protocol = key->protocol;
	other->echo_reply = key->protocol == AF(IPPROTO_ICMP) ? !key->echo_reply : 0;
}

static __always_inline flow_key_t other_key(const flow_key_t *key, const flow_t *flow)
{
	flow_key_t other;

	set_other_key(&other, key, flow);
	return other;
}
