/* SPDX-License-Identifier: GPL-2.0-only */
/* Tags of a set of the tenured table; see family/tenured.h. */
#ifndef SLUICE_TAGS_H
#define SLUICE_TAGS_H

#include "types.h"

/* A key, or part of it. */
typedef __u32 __attribute__((may_alias)) word_t;

#define TAG_FREE 0
#define TAG_TAKEN 1 /* somebody is writing the entry: it has no key yet */

/* A word of tags, each with its lowest bit set, and with its highest. */
#define LANES 0x0001000100010001ULL
#define LANES_TOP (LANES << 15)

/* The tag of a key: bits of its hash that do not choose the set. */
static __always_inline __u16 flow_tag(__u64 hash)
{
	return hash >> 48 | 2;
}

/*
 * The way where a key's entry is if that was free, which is looked at first. The CPU then
 * asks for the entry and for the tags at once, since neither's place depends on the other.
 */
static __always_inline __u32 home_way(__u64 hash)
{
	return hash >> 44 & (FLOW_WAYS - 1);
}

/* The top bit of each tag in a word that equals those of another one. */
static __always_inline __u64 equal_tags(__u64 word, __u64 tags)
{
	word ^= tags;
	return ~(((word & ~LANES_TOP) + ~LANES_TOP) | word | ~LANES_TOP);
}

/*
 * Which ways of a set have a tag, as bits: that of way i is in word i % 4, its lane
 * i / 4. The product moves the four bits of each lane side by side.
 */
static __always_inline __u32 ways_with(const __u64 *words, __u16 tag)
{
	__u64 tags = tag * LANES;
	__u64 ways = equal_tags(words[0], tags) >> 15 | equal_tags(words[1], tags) >> 14 |
		     equal_tags(words[2], tags) >> 13 | equal_tags(words[3], tags) >> 12;

	return ways * 0x0001001001001000ULL >> 48;
}

/* Ways counted from one of them on, so that it is the first. */
static __always_inline __u32 ways_from(__u32 home, __u32 ways)
{
	return (ways >> home | ways << (FLOW_WAYS - home)) & ((1 << FLOW_WAYS) - 1);
}

/* 1 if any of these bits of a way's is set: without a branch, whose ways the verifier would follow. */
static __always_inline __u32 any_bit(__u32 way, __u32 bits)
{
	return ((way & bits) + 0xffff) >> 16;
}

/* The number of the lowest of some ways. */
static __always_inline __u32 lowest_way(__u32 ways)
{
	__u32 lowest = ways & -ways;

	return any_bit(lowest, 0xaaaa) | any_bit(lowest, 0xcccc) << 1 | any_bit(lowest, 0xf0f0) << 2 |
	       any_bit(lowest, 0xff00) << 3;
}

static __always_inline __u64 *tag_word(__u64 *words, __u32 way)
{
	return &words[way & 3];
}

static __always_inline __u32 tag_shift(__u32 way)
{
	return (way >> 2 & 3) * 16;
}

static __always_inline __u16 tag_of(__u64 *words, __u32 way)
{
	return *(volatile __u64 *)tag_word(words, way) >> tag_shift(way);
}

/* How often at most one CPU changes a word of tags while another one tries to. */
#define TAG_RACES 8

/* retag gives a way another tag, false when it has not the one that it had. */
static __always_inline bool retag(__u64 *words, __u32 way, __u16 from, __u16 to)
{
	__u64 *word = tag_word(words, way), was;
	__u32 shift = tag_shift(way);

	for (int i = 0; i < TAG_RACES; i++) {
		was = *(volatile __u64 *)word;
		if ((__u16)(was >> shift) != from)
			return false;
		if (__sync_val_compare_and_swap(word, was, was ^ (__u64)(from ^ to) << shift) == was)
			return true;
	}
	return false;
}

/*
 * publish_tag gives a way that was taken the tag of its key. The result is used for the
 * sake of order: without it, arm64's instruction may come before what was written.
 */
static __always_inline void publish_tag(__u64 *words, __u32 way, __u16 tag)
{
	__u64 was = __sync_fetch_and_xor(tag_word(words, way), (__u64)(TAG_TAKEN ^ tag) << tag_shift(way));

	asm volatile("" : : "r"(was));
}

#endif
