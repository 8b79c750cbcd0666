/* SPDX-License-Identifier: BSD-3-Clause */
/* The free DPA ranges of one region, by address and by size. */
#include "capacity/dpa_space.h"

G_STATIC_ASSERT(sizeof(gsize) == sizeof(uint64_t));
#define DPA_KEY(dpa) GSIZE_TO_POINTER((gsize)(dpa))

struct DpaSpace {
	GTree *by_dpa; /* first DPA -> DpaPiece, owns them */
	GTree *by_len; /* the pieces themselves, by (length, DPA) */
	uint64_t free_len;
};

static int compare_dpa(gconstpointer a, gconstpointer b, gpointer opaque)
{
	gsize dpa_a = GPOINTER_TO_SIZE(a), dpa_b = GPOINTER_TO_SIZE(b);

	return (dpa_a > dpa_b) - (dpa_a < dpa_b);
}

static int compare_len(gconstpointer a, gconstpointer b, gpointer opaque)
{
	const DpaPiece *x = a, *y = b;

	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	return (x->dpa > y->dpa) - (x->dpa < y->dpa);
}

static void add_range(DpaSpace *space, uint64_t dpa, uint64_t len)
{
	DpaPiece *range = g_new(DpaPiece, 1);

	*range = (DpaPiece){ dpa, len };
	g_tree_insert_node(space->by_dpa, DPA_KEY(dpa), range);
	g_tree_insert_node(space->by_len, range, range);
}

static void remove_range(DpaSpace *space, DpaPiece *range)
{
	g_tree_remove(space->by_len, range);
	g_tree_remove(space->by_dpa, DPA_KEY(range->dpa));
}

/* The end stays, so its place by address does too. */
static void resize_range(DpaSpace *space, DpaPiece *range, uint64_t len)
{
	g_tree_remove(space->by_len, range);
	range->len = len;
	g_tree_insert_node(space->by_len, range, range);
}

DpaSpace *dpa_space_new(uint64_t base, uint64_t len)
{
	DpaSpace *space = g_new0(DpaSpace, 1);

	space->by_dpa = g_tree_new_full(compare_dpa, NULL, NULL, g_free);
	space->by_len = g_tree_new_full(compare_len, NULL, NULL, NULL);
	space->free_len = len;
	if (len > 0)
		add_range(space, base, len);
	return space;
}

void dpa_space_free(DpaSpace *space)
{
	if (!space)
		return;
	g_tree_unref(space->by_len);
	g_tree_unref(space->by_dpa);
	g_free(space);
}

/* The range that holds DPA or lies below it. */
static DpaPiece *range_at_or_below(const DpaSpace *space, uint64_t dpa)
{
	GTreeNode *above = g_tree_upper_bound(space->by_dpa, DPA_KEY(dpa));
	GTreeNode *node = above ? g_tree_node_previous(above) : g_tree_node_last(space->by_dpa);

	return node ? g_tree_node_value(node) : NULL;
}

bool dpa_space_is_free(const DpaSpace *space, uint64_t dpa, uint64_t len)
{
	const DpaPiece *range = range_at_or_below(space, dpa);

	return range && dpa - range->dpa < range->len && len <= range->len - (dpa - range->dpa);
}

void dpa_space_take(DpaSpace *space, uint64_t dpa, uint64_t len)
{
	DpaPiece *range = range_at_or_below(space, dpa);
	uint64_t before, after;

	g_assert(range && dpa - range->dpa <= range->len && len <= range->len - (dpa - range->dpa));
	before = dpa - range->dpa;
	after = range->len - before - len;
	space->free_len -= len;
	if (before > 0)
		resize_range(space, range, before);
	else
		remove_range(space, range);
	if (after > 0)
		add_range(space, dpa + len, after);
}

void dpa_space_give(DpaSpace *space, uint64_t dpa, uint64_t len)
{
	DpaPiece *below = range_at_or_below(space, dpa);
	DpaPiece *above = g_tree_lookup(space->by_dpa, DPA_KEY(dpa + len));

	g_assert(!below || below->dpa + below->len <= dpa);
	space->free_len += len;
	if (above) {
		len += above->len;
		remove_range(space, above);
	}
	if (below && below->dpa + below->len == dpa)
		resize_range(space, below, below->len + len);
	else
		add_range(space, dpa, len);
}

/* The aligned part of a range. */
static DpaPiece aligned_part(const DpaPiece *range, uint64_t align)
{
	uint64_t skip = (align - range->dpa % align) % align;

	if (skip >= range->len)
		return (DpaPiece){ range->dpa, 0 };
	return (DpaPiece){ range->dpa + skip, (range->len - skip) / align * align };
}

/* Smallest range that holds LEN whole; the first step up does unless ALIGN is above the block. */
static bool plan_one(const DpaSpace *space, uint64_t len, uint64_t align, DpaPiece *ret)
{
	const DpaPiece key = { 0, len };
	GTreeNode *node = g_tree_lower_bound(space->by_len, &key);

	for (; node; node = g_tree_node_next(node)) {
		DpaPiece part = aligned_part(g_tree_node_value(node), align);

		if (part.len >= len) {
			*ret = (DpaPiece){ part.dpa, len };
			return true;
		}
	}
	return false;
}

static int compare_longest_first(gconstpointer a, gconstpointer b)
{
	return compare_len(b, a, NULL);
}

static bool plan_many(const DpaSpace *space, uint64_t len, uint64_t align, size_t max,
		      GArray *pieces)
{
	g_autoptr(GArray) parts = g_array_new(FALSE, FALSE, sizeof(DpaPiece));
	GTreeNode *node = g_tree_node_last(space->by_len);
	uint64_t total = 0;
	bool trimmed = false;

	/* Longest first is fewest pieces. Where alignment trims, a shorter range may give the
	 * longer part: then all are looked at. */
	for (; node; node = g_tree_node_previous(node)) {
		const DpaPiece *range = g_tree_node_value(node);
		DpaPiece part = aligned_part(range, align);

		trimmed |= part.len < range->len;
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
	GTreeNode *longest;
	DpaPiece piece;

	if (max > 0 && plan_one(space, len, align, &piece)) {
		g_array_append_val(pieces, piece);
		return g_steal_pointer(&pieces);
	}
	if (!contiguous && len <= space->free_len && plan_many(space, len, align, max, pieces))
		return g_steal_pointer(&pieces);
	longest = g_tree_node_last(space->by_len);
	*ret_largest = longest ? ((const DpaPiece *)g_tree_node_value(longest))->len : 0;
	return NULL;
}

uint64_t dpa_space_free_len(const DpaSpace *space)
{
	return space->free_len;
}

size_t dpa_space_n_ranges(const DpaSpace *space)
{
	return (size_t)g_tree_nnodes(space->by_dpa);
}

void dpa_space_foreach(const DpaSpace *space, void (*func)(uint64_t, uint64_t, void *),
		       void *opaque)
{
	for (GTreeNode *node = g_tree_node_first(space->by_dpa); node;
	     node = g_tree_node_next(node)) {
		const DpaPiece *range = g_tree_node_value(node);

		func(range->dpa, range->len, opaque);
	}
}
