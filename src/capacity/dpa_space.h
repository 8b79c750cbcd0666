/* SPDX-License-Identifier: BSD-3-Clause */
/* The free DPA ranges of one region, by address and by size. */
#ifndef CAPACITY_DPA_SPACE_H
#define CAPACITY_DPA_SPACE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct DpaPiece {
	uint64_t dpa;
	uint64_t len;
} DpaPiece;

/* Neighbouring free ranges are always merged, so each range is as long as it can be. O(log n). */
typedef struct DpaSpace DpaSpace;

DpaSpace *dpa_space_new(uint64_t base, uint64_t len); /* all free */
void dpa_space_free(DpaSpace *space);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DpaSpace, dpa_space_free)

bool dpa_space_is_free(const DpaSpace *space, uint64_t dpa, uint64_t len);
void dpa_space_take(DpaSpace *space, uint64_t dpa, uint64_t len); /* must be free */
void dpa_space_give(DpaSpace *space, uint64_t dpa, uint64_t len); /* must not be */

/*
 * Where LEN bytes could go, each piece starting and ending at a multiple of ALIGN: in one piece if
 * that is possible (the smallest range that fits), else, unless CONTIGUOUS, in as few as possible
 * (largest first), at most MAX of them. Takes nothing. NULL: no room; *RET_LARGEST is then the
 * longest run there is.
 */
GArray *dpa_space_plan(const DpaSpace *space, uint64_t len, uint64_t align, bool contiguous,
		       size_t max, uint64_t *ret_largest);

uint64_t dpa_space_free_len(const DpaSpace *space);
size_t dpa_space_n_ranges(const DpaSpace *space);
/* In address order. */
void dpa_space_foreach(const DpaSpace *space, void (*func)(uint64_t, uint64_t, void *),
		       void *opaque);

#endif
