/* SPDX-License-Identifier: GPL-2.0-only */
/* Memory for what does not fit on the stack, of which a chain of calls has 512 bytes. */
#ifndef SLUICE_WORKSPACE_H
#define SLUICE_WORKSPACE_H

#include "maps.h"

/* NULL is for the verifier alone. */
static __always_inline void *workspace(__u32 slot, __u32 size)
{
	void *space = bpf_map_lookup_elem(&workspaces, &slot);

	if (space) /* as words: of memory that may begin anywhere, clang clears each byte by itself */
		__builtin_memset(__builtin_assume_aligned(space, sizeof(__u64)), 0, size);
	return space;
}

#endif
