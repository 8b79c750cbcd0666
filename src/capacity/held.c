/* SPDX-License-Identifier: BSD-3-Clause */
/* What a host that comes back says it holds: put in order, searched, and subtracted from. */
#include "capacity/capacity_priv.h"

/*
 * A host may list what it likes: unknown maps, one range sixty thousand times, everything under
 * each name. So that this costs neither time nor memory, the list is made disjoint first; what
 * follows is then linear in the list and in what the core knows.
 */

static int compare_held(gconstpointer a, gconstpointer b)
{
	const DcHeldMap *x = a, *y = b;

	if (x->map_id != y->map_id)
		return x->map_id < y->map_id ? -1 : 1;
	return (x->dpa > y->dpa) - (x->dpa < y->dpa);
}

static int compare_parts(gconstpointer a, gconstpointer b)
{
	const DcMapPart *x = a, *y = b;

	if (x->map_id != y->map_id)
		return x->map_id < y->map_id ? -1 : 1;
	return (x->dpa > y->dpa) - (x->dpa < y->dpa);
}

GArray *held_sort(const DcHeldMap *held, size_t n_held)
{
	GArray *sorted = g_array_sized_new(FALSE, FALSE, sizeof(DcHeldMap), (guint)n_held);
	uint64_t map_id = 0, covered = 0;
	guint n = 0;

	if (n_held > 0)
		g_array_append_vals(sorted, held, (guint)n_held);
	g_array_sort(sorted, compare_held);
	for (guint i = 0; i < sorted->len; i++) {
		DcHeldMap map = g_array_index(sorted, DcHeldMap, i);
		uint64_t end;

		if (__builtin_add_overflow(map.dpa, map.len, &end))
			continue;
		if (map.map_id == map_id)
			map.dpa = MAX(map.dpa, covered);
		if (map.dpa >= end)
			continue;
		map.len = end - map.dpa;
		map_id = map.map_id;
		covered = end;
		g_array_index(sorted, DcHeldMap, n++) = map;
	}
	g_array_set_size(sorted, n);
	return sorted;
}

guint held_search(const GArray *held, uint64_t map_id, uint64_t dpa)
{
	guint lo = 0, hi = held->len;

	while (lo < hi) {
		guint mid = lo + (hi - lo) / 2;
		const DcHeldMap *map = &g_array_index(held, DcHeldMap, mid);

		if (map->map_id < map_id || (map->map_id == map_id && map->dpa + map->len <= dpa))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Ends at or below DPA of this map, or is of one before it. */
static bool is_below(const DcMapPart *part, uint64_t map_id, uint64_t dpa)
{
	return part->map_id < map_id || (part->map_id == map_id && part->dpa + part->len <= dpa);
}

GArray *held_outside(const GArray *held, GArray *covered)
{
	GArray *ret = g_array_new(FALSE, FALSE, sizeof(DcMapPart));
	guint at = 0;

	g_array_sort(covered, compare_parts);
	for (guint i = 0; i < held->len; i++) {
		const DcHeldMap *map = &g_array_index(held, DcHeldMap, i);
		uint64_t dpa = map->dpa, end = map->dpa + map->len;

		while (dpa < end) {
			const DcMapPart *part = NULL;
			DcMapPart gap = { map->map_id, dpa, end - dpa };

			while (at < covered->len &&
			       is_below(&g_array_index(covered, DcMapPart, at), map->map_id, dpa))
				at++;
			if (at < covered->len)
				part = &g_array_index(covered, DcMapPart, at);
			if (part && (part->map_id != map->map_id || part->dpa >= end))
				part = NULL;
			if (part)
				gap.len = part->dpa > dpa ? part->dpa - dpa : 0;
			if (gap.len > 0)
				g_array_append_val(ret, gap);
			dpa = part ? part->dpa + part->len : end;
		}
	}
	return ret;
}
