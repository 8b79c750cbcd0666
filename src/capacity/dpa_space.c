/* SPDX-License-Identifier: BSD-3-Clause */
/* The free DPA ranges of one region, by address and by size. */
#include "capacity/dpa_space.h"
#include "capacity/sorted_map.h"

/* The keys say it all; every value is the space itself. */
struct DpaSpace {
	SortedMap *by_dpa; /* (first DPA, length) */
	SortedMap *by_len; /* (length, first DPA) */
	uint64_t free_len;
};

static void add_range(DpaSpace *space, uint64_t dpa, uint64_t len)
{
	sorted_map_insert(space->by_dpa, (SortedKey){ dpa, len }, space);
	sorted_map_insert(space->by_len, (SortedKey){ len, dpa }, space);
}

static void remove_range(DpaSpace *space, const DpaPiece *range)
{
	sorted_map_remove(space->by_dpa, (SortedKey){ range->dpa, range->len });
	sorted_map_remove(space->by_len, (SortedKey){ range->len, range->dpa });
}

/* By address it stays between the same neighbours. */
static void change_range(DpaSpace *space, const DpaPiece *range, uint64_t dpa, uint64_t len)
{
	sorted_map_rekey(space->by_dpa, (SortedKey){ range->dpa, range->len },
			 (SortedKey){ dpa, len });
	sorted_map_remove(space->by_len, (SortedKey){ range->len, range->dpa });
	sorted_map_insert(space->by_len, (SortedKey){ len, dpa }, space);
}

DpaSpace *dpa_space_new(uint64_t base, uint64_t len)
{
	DpaSpace *space = g_new0(DpaSpace, 1);

	space->by_dpa = sorted_map_new();
	space->by_len = sorted_map_new();
	space->free_len = len;
	if (len > 0)
		add_range(space, base, len);
	return space;
}

void dpa_space_free(DpaSpace *space)
{
	if (!space)
		return;
	sorted_map_free(space->by_len);
	sorted_map_free(space->by_dpa);
	g_free(space);
}

/* The range that holds DPA or lies below it, and the next one above; empty if there is none. */
static void ranges_around(const DpaSpace *space, uint64_t dpa, DpaPiece *ret_below,
			  DpaPiece *ret_above)
{
	SortedIter iter = sorted_map_seek_above(space->by_dpa, (SortedKey){ dpa, UINT64_MAX });
	const SortedKey *key = sorted_iter_key(&iter);

	*ret_above = key ? (DpaPiece){ key->major, key->minor } : (DpaPiece){ 0, 0 };
	*ret_below = (DpaPiece){ 0, 0 };
	if (sorted_iter_prev(&iter)) {
		key = sorted_iter_key(&iter);
		*ret_below = (DpaPiece){ key->major, key->minor };
	}
}

bool dpa_space_is_free(const DpaSpace *space, uint64_t dpa, uint64_t len)
{
	DpaPiece range, above;

	ranges_around(space, dpa, &range, &above);
	return dpa - range.dpa < range.len && len <= range.len - (dpa - range.dpa);
}

void dpa_space_take(DpaSpace *space, uint64_t dpa, uint64_t len)
{
	DpaPiece range, above;
	uint64_t before, after;

	ranges_around(space, dpa, &range, &above);
	g_assert(dpa - range.dpa < range.len && len <= range.len - (dpa - range.dpa));
	before = dpa - range.dpa;
	after = range.len - before - len;
	space->free_len -= len;
	if (before > 0)
		change_range(space, &range, range.dpa, before);
	else if (after > 0)
		change_range(space, &range, dpa + len, after);
	else
		remove_range(space, &range);
	if (before > 0 && after > 0)
		add_range(space, dpa + len, after);
}

void dpa_space_give(DpaSpace *space, uint64_t dpa, uint64_t len)
{
	DpaPiece below, above;
	bool joins_below, joins_above;

	ranges_around(space, dpa, &below, &above);
	g_assert(below.len == 0 || below.dpa + below.len <= dpa);
	g_assert(above.len == 0 || above.dpa - dpa >= len);
	space->free_len += len;
	joins_below = below.len > 0 && below.dpa + below.len == dpa;
	joins_above = above.len > 0 && above.dpa == dpa + len;
	if (joins_below && joins_above)
		remove_range(space, &above);
	if (joins_below)
		change_range(space, &below, below.dpa,
			     below.len + len + (joins_above ? above.len : 0));
	else if (joins_above)
		change_range(space, &above, dpa, len + above.len);
	else
		add_range(space, dpa, len);
}

/* The aligned part of a range. */
static DpaPiece aligned_part(uint64_t dpa, uint64_t len, uint64_t align)
{
	uint64_t skip = (align - dpa % align) % align;

	if (skip >= len)
		return (DpaPiece){ dpa, 0 };
	return (DpaPiece){ dpa + skip, (len - skip) / align * align };
}

/* Smallest range that holds LEN whole; the first step up does unless ALIGN is above the block. */
static bool plan_one(const DpaSpace *space, uint64_t len, uint64_t align, DpaPiece *ret)
{
	SortedIter iter = sorted_map_seek(space->by_len, (SortedKey){ len, 0 });
	const SortedKey *range;

	for (; (range = sorted_iter_key(&iter)); sorted_iter_next(&iter)) {
		DpaPiece part = aligned_part(range->minor, range->major, align);

		if (part.len >= len) {
			*ret = (DpaPiece){ part.dpa, len };
			return true;
		}
	}
	return false;
}

static int compare_longest_first(gconstpointer a, gconstpointer b)
{
	const DpaPiece *x = a, *y = b;

	if (x->len != y->len)
		return x->len > y->len ? -1 : 1;
	return (x->dpa < y->dpa) - (x->dpa > y->dpa);
}

static bool plan_many(const DpaSpace *space, uint64_t len, uint64_t align, size_t max,
		      GArray *pieces)
{
	g_autoptr(GArray) parts = g_array_new(FALSE, FALSE, sizeof(DpaPiece));
	SortedIter iter = sorted_map_end(space->by_len);
	uint64_t total = 0;
	bool trimmed = false;

	/* Longest first is fewest pieces. Where alignment trims, a shorter range may give the
	 * longer part: then all are looked at. */
	while (sorted_iter_prev(&iter)) {
		const SortedKey *range = sorted_iter_key(&iter);
		DpaPiece part = aligned_part(range->minor, range->major, align);

		trimmed |= part.len < range->major;
		if (part.len == 0)
			continue;
		g_array_append_val(parts, part);
		total += part.len;
		if (total >= len && !trimmed)
			break;
	}
	g_array_sort(parts, compare_longest_first);
	for (guint i = 0; i < parts->len && len > 0 && pieces->len < max; i++) {
		DpaPiece part = g_array_index(parts, DpaPiece, i);

		part.len = MIN(part.len, len);
		len -= part.len;
		g_array_append_val(pieces, part);
	}
	return len == 0;
}

GArray *dpa_space_plan(const DpaSpace *space, uint64_t len, uint64_t align, bool contiguous,
		       size_t max, uint64_t *ret_largest)
{
	g_autoptr(GArray) pieces = g_array_new(FALSE, FALSE, sizeof(DpaPiece));
	SortedIter iter;
	DpaPiece piece;

	if (max > 0 && plan_one(space, len, align, &piece)) {
		g_array_append_val(pieces, piece);
		return g_steal_pointer(&pieces);
	}
	if (!contiguous && len <= space->free_len && plan_many(space, len, align, max, pieces))
		return g_steal_pointer(&pieces);
	iter = sorted_map_end(space->by_len);
	*ret_largest = 0;
	if (sorted_iter_prev(&iter))
		*ret_largest = sorted_iter_key(&iter)->major;
	return NULL;
}

uint64_t dpa_space_free_len(const DpaSpace *space)
{
	return space->free_len;
}

size_t dpa_space_n_ranges(const DpaSpace *space)
{
	return sorted_map_n(space->by_dpa);
}

void dpa_space_foreach(const DpaSpace *space, void (*func)(uint64_t, uint64_t, void *),
		       void *opaque)
{
	SortedIter iter = sorted_map_seek_position(space->by_dpa, 0);
	const SortedKey *range;

	for (; (range = sorted_iter_key(&iter)); sorted_iter_next(&iter))
		func(range->major, range->minor, opaque);
}
