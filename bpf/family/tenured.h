/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tenured table: a set-associative one in an array, since a lookup costs no call
 * and, with many flows, waits for memory once. A hash of the key leads to one set of
 * FLOW_WAYS entries, and the set's tags say which of them may have the key. An entry
 * is taken and given up by its tag alone, in one atomic step. Who puts one into a full
 * set takes the place of a flow that is over, or else of the one idle for longest.
 */

/*
 * flow_hash is NH of UMAC (RFC 4418 5.2): of any two keys that somebody chooses without
 * the seed, one in 2^32 have the same. What follows spreads it over all bits.
 */
static __always_inline __u64 flow_hash(const flow_key_t *key)
{
	const word_t *words = (const word_t *)key;
	__u64 hash = 0;

#pragma unroll
	for (__u32 i = 0; i < sizeof(*key) / sizeof(*words); i += 2)
		hash += (__u64)(words[i] + flow_seed[i]) * (words[i + 1] + flow_seed[i + 1]);
	hash = (hash ^ hash >> 32) * 0x9e3779b97f4a7c15ULL;
	return hash ^ hash >> 32;
}

/* The tags of the set that a hash leads to. */
static __always_inline struct flow_tags *tags_of(__u64 hash)
{
	__u32 set = hash & AF(flow_sets_mask);

	return bpf_map_lookup_elem(&AF(flow_tags), &set);
}

/* The index of an entry in that set. */
static __always_inline __u32 index_of(__u64 hash, __u32 way)
{
	return (hash & AF(flow_sets_mask)) * FLOW_WAYS + way;
}

#define NO_ENTRY 0xffffffff /* the index of none */

/* How many ways are compared: more than three others of a set with the key's tag do not happen. */
#define TAG_COLLISIONS 4

/* scan returns the index of an entry that has a key, behind so many others that have, or NO_ENTRY. */
static __always_inline __u32 scan(const flow_key_t *key, __u32 others)
{
	__u64 hash = flow_hash(key);
	struct flow_tags *tags = tags_of(hash);
	flow_entry_t *entry;
	__u32 ways, index;

	if (!tags)
		return NO_ENTRY;
	ways = ways_from(home_way(hash), ways_with(tags->words, flow_tag(hash)));
	for (int i = 0; i < TAG_COLLISIONS && ways; i++) {
		index = index_of(hash, (lowest_way(ways) + home_way(hash)) % FLOW_WAYS);
		entry = bpf_map_lookup_elem(&AF(flows), &index);
		if (entry && same_key(&entry->key, key) && !others--)
			return index;
		ways &= ways - 1;
	}
	return NO_ENTRY;
}

/* tenured_index returns the index of the entry that has a key, or NO_ENTRY. */
__noinline __u32 tenured_index(const flow_key_t *key)
{
	return key ? scan(key, 0) : NO_ENTRY;
}

/* tenured_twin returns that of a second one. */
__noinline __u32 tenured_twin(const flow_key_t *key)
{
	return key ? scan(key, 1) : NO_ENTRY;
}

/* tenured_find returns the half of a key, or NULL. */
static __always_inline flow_t *tenured_find(const flow_key_t *key)
{
	__u32 index = tenured_index(key);
	flow_entry_t *entry = bpf_map_lookup_elem(&AF(flows), &index);

	return entry ? &entry->flow : NULL;
}

/* tenured_at_home does so without a call, for those that are in their home: most. */
static __always_inline flow_t *tenured_at_home(const flow_key_t *key)
{
	__u64 hash = flow_hash(key);
	struct flow_tags *tags = tags_of(hash);
	flow_entry_t *entry;
	__u32 index;

	if (!tags || tag_of(tags->words, home_way(hash)) != flow_tag(hash))
		return NULL;
	index = index_of(hash, home_way(hash));
	entry = bpf_map_lookup_elem(&AF(flows), &index);
	return entry && same_key(&entry->key, key) ? &entry->flow : NULL;
}

/* free_entry gives an entry up that has a key. */
static __always_inline void free_entry(__u32 index, const flow_key_t *key)
{
	__u32 set = index / FLOW_WAYS;
	struct flow_tags *tags = bpf_map_lookup_elem(&AF(flow_tags), &set);

	if (tags)
		retag(tags->words, index % FLOW_WAYS, flow_tag(flow_hash(key)), TAG_FREE);
}

/* tenured_erase removes the half of a key. */
__noinline int tenured_erase(const flow_key_t *key)
{
	__u32 index = key ? tenured_index(key) : NO_ENTRY;

	if (index != NO_ENTRY)
		free_entry(index, key);
	return 0;
}

/* Who has to give way in a full set. */
struct AF(victim_search) {
	__u64 fittest; /* see way_fitness */
	__u32 set;
	__u32 now;
};

/*
 * How fit a way is to be taken, the higher the fitter, with its tag and number in the
 * lowest bits; 0 while somebody writes its entry.
 */
#define FITNESS_OVER (1ULL << 53)
#define FITNESS_IDLE 20
#define FITNESS_TAG 4

/*
 * By how many seconds a reply half counts as more idle. A request brings it back before
 * its answer comes, and nothing does that for the forward half before a request.
 */
#define REPLY_GIVES_WAY 8

static __always_inline __u64 way_fitness(const flow_entry_t *entry, __u16 tag, __u32 way, __u32 now)
{
	const struct flow_head *flow = &entry->flow.head;
	/* Signed: another CPU may have seen the flow after we read the clock. */
	__s32 idle = now - flow->seen + (flow->direction == DIRECTION_REPLY ? REPLY_GIVES_WAY : 0);

	/* The other half may have seen a packet so much later. */
	return (flow_over(flow, entry->key.protocol, now - SEEN_TOGETHER) ? FITNESS_OVER : 0) |
	       (__u64)(idle < 0 ? 1 : idle + 1) << FITNESS_IDLE | (__u64)tag << FITNESS_TAG | way;
}

static long consider_way(__u32 way, struct AF(victim_search) *search)
{
	struct flow_tags *tags = bpf_map_lookup_elem(&AF(flow_tags), &search->set);
	__u32 index = search->set * FLOW_WAYS + way;
	flow_entry_t *entry = bpf_map_lookup_elem(&AF(flows), &index);
	__u64 fitness;
	__u16 tag;

	if (!tags || !entry)
		return 1;
	tag = tag_of(tags->words, way);
	if (tag == TAG_FREE || tag == TAG_TAKEN)
		return 0;
	fitness = way_fitness(entry, tag, way, search->now);
	if (fitness > search->fittest)
		search->fittest = fitness;
	return 0;
}

/* tell_other has the counterpart of a half that gives way bring it back, if it is at work. */
__noinline int tell_other(__u32 index)
{
	flow_entry_t *entry = bpf_map_lookup_elem(&AF(flows), &index);
	packet_t *p = this_packet();
	flow_t *other;

	if (!entry || !p)
		return 0;
	set_other_key(&p->other, &entry->key, &entry->flow);
	other = tenured_find(&p->other);
	if (other)
		other->head.alone = 1;
	return 0;
}

/*
 * tenured_take takes an entry for a key, its home or the next free one if there are any,
 * and returns its index; NO_ENTRY when another CPU was faster.
 */
__noinline __u32 tenured_take(const flow_key_t *key)
{
	struct AF(victim_search) search = {};
	struct flow_tags *tags;
	__u32 way, free;
	__u64 hash;
	__u16 tag;

	if (!key)
		return NO_ENTRY;
	hash = flow_hash(key);
	search.set = hash & AF(flow_sets_mask);
	tags = bpf_map_lookup_elem(&AF(flow_tags), &search.set);
	if (!tags)
		return NO_ENTRY;
	free = ways_from(home_way(hash), ways_with(tags->words, TAG_FREE));
	if (free) {
		way = (lowest_way(free) + home_way(hash)) % FLOW_WAYS;
		tag = TAG_FREE;
	} else {
		search.now = now_seconds();
		bpf_loop(FLOW_WAYS, consider_way, &search, 0);
		way = search.fittest % FLOW_WAYS;
		tag = search.fittest >> FITNESS_TAG;
		tell_other(index_of(hash, way));
	}
	return retag(tags->words, way, tag, TAG_TAKEN) ? index_of(hash, way) : NO_ENTRY;
}

/* tenured_add inserts the half of a key that has none; false when there is no room. */
static __always_inline bool tenured_add(const flow_key_t *key, const flow_t *half)
{
	__u32 index = NO_ENTRY;
	struct flow_tags *tags;
	flow_entry_t *entry;
	__u64 hash;

	for (int i = 0; i < TAG_RACES && index == NO_ENTRY; i++)
		index = tenured_take(key);
	entry = bpf_map_lookup_elem(&AF(flows), &index);
	hash = flow_hash(key);
	tags = tags_of(hash);
	if (!entry || !tags)
		return false;
	entry->key = *key;
	entry->flow = *half;
	publish_tag(tags->words, index % FLOW_WAYS, flow_tag(hash));
	/* Other CPUs may have found none either: whoever sees several entries leaves the first, which all find. */
	for (int i = 0; i < TAG_COLLISIONS && (index = tenured_twin(key)) != NO_ENTRY; i++)
		free_entry(index, key);
	return true;
}

/*
 * tenured_put inserts a half, or replaces the one that has its key; false when there
 * is no room.
 */
__noinline int tenured_put(const flow_key_t *key, const flow_t *half)
{
	flow_t *old;

	if (!key || !half)
		return 0;
	old = tenured_find(key);
	if (!old)
		return tenured_add(key, half);
	*old = *half;
	return 1;
}
