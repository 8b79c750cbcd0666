/* SPDX-License-Identifier: BSD-3-Clause */
/* The mappings of one span. */

#include "fabric/span_priv.h"
#include <errno.h>
#include <sys/mman.h>

#define MAPPED_AT_ONCE   128u /* between two looks whether it is still wanted */
#define UNMAPPED_AT_ONCE 1024u

uint64_t stripe_turn_len(const Stripe *stripe)
{
	return (uint64_t)stripe->interleave.granularity * stripe->interleave.ways;
}

uint64_t span_n_pieces(const Span *span)
{
	return (span->end - span->first) * span->stripes[0].interleave.ways;
}

static int map_piece(const Span *span, uint8_t *at, uint64_t n)
{
	DecodeInterleave il = span->stripes[0].interleave;
	const Stripe *stripe = &span->stripes[n % il.ways];
	uint64_t offset = stripe->offset + n / il.ways * il.granularity;
	int prot = PROT_READ | (stripe->writable ? PROT_WRITE : 0);
	int ret = 0;

	if (mmap(at, il.granularity, prot, MAP_SHARED | MAP_FIXED, stripe->fd, (off_t)offset) ==
	    MAP_FAILED) {
		ret = -errno;
		/* It may have left a hole, and the next mapping of another thread may be there. */
		(void)!mmap(at, il.granularity, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1,
			    0);
	}
	return ret;
}

static int map_pieces(Span *span, uint8_t *base)
{
	uint64_t granularity = span->stripes[0].interleave.granularity;
	uint64_t n = span_n_pieces(span);

	for (uint64_t i = 0; i < n; i += MAPPED_AT_ONCE) {
		uint64_t end = MIN(i + MAPPED_AT_ONCE, n);

		if (__atomic_load_n(&span->cancelled, __ATOMIC_RELAXED))
			return -ECANCELED;
		for (uint64_t j = i; j < end; j++) {
			int ret = map_piece(span, base + j * granularity, j);

			if (ret != 0)
				return ret;
		}
		madvise(base + i * granularity, (end - i) * granularity, MADV_DONTDUMP);
	}
	return 0;
}

int span_map(Span *span)
{
	const Stripe *stripe = &span->stripes[0];
	uint64_t turn = stripe_turn_len(stripe);
	FabricAlias alias = {
		.hpa = stripe->hpa + span->first * turn,
		.len = (span->end - span->first) * turn,
		.fd = -1,
		.writable = stripe->writable,
	};

	alias.hva = mmap(NULL, alias.len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			 -1, 0);
	if (alias.hva == MAP_FAILED)
		return -errno;
	span->alias = alias;
	return map_pieces(span, alias.hva);
}

void span_unmap(Span *span)
{
	uint64_t step = (uint64_t)UNMAPPED_AT_ONCE * span->stripes[0].interleave.granularity;
	uint8_t *base = span->alias.hva;

	for (uint64_t at = 0; base && at < span->alias.len; at += step)
		munmap(base + at, MIN(step, span->alias.len - at));
	span->alias.hva = NULL;
}
