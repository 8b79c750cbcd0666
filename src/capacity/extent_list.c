/* SPDX-License-Identifier: BSD-3-Clause */
/* A device's accepted extents: by DPA for lookup, by allocation for the host's list. */
#include "capacity/extent_list.h"

/* The DPA itself is the tree's key: one cache line less per step than a key in the extent. */
G_STATIC_ASSERT(sizeof(gsize) == sizeof(uint64_t));
#define DPA_KEY(dpa) GSIZE_TO_POINTER((gsize)(dpa))

struct ExtentList {
	GTree *by_dpa;
	GSequence *by_place;
	size_t n;
};

static int compare_dpa(gconstpointer a, gconstpointer b, gpointer opaque)
{
	gsize dpa_a = GPOINTER_TO_SIZE(a), dpa_b = GPOINTER_TO_SIZE(b);

	return (dpa_a > dpa_b) - (dpa_a < dpa_b);
}

static int compare_place(gconstpointer a, gconstpointer b, gpointer opaque)
{
	const Extent *x = a, *y = b;

	if (x->alloc != y->alloc)
		return x->alloc < y->alloc ? -1 : 1;
	if (x->order != y->order)
		return x->order < y->order ? -1 : 1;
	return (x->mem_offset > y->mem_offset) - (x->mem_offset < y->mem_offset);
}

ExtentList *extent_list_new(void)
{
	ExtentList *list = g_new0(ExtentList, 1);

	list->by_dpa = g_tree_new_full(compare_dpa, NULL, NULL, NULL);
	list->by_place = g_sequence_new(NULL);
	return list;
}

void extent_list_free(ExtentList *list)
{
	if (!list)
		return;
	g_tree_unref(list->by_dpa);
	g_sequence_free(list->by_place);
	g_free(list);
}

size_t extent_list_n(const ExtentList *list)
{
	return list->n;
}

/* Groups are answered in the order they were offered, so the end is nearly always right. */
static GSequenceIter *insert_by_place(ExtentList *list, Extent *extent)
{
	GSequenceIter *end = g_sequence_get_end_iter(list->by_place);
	GSequenceIter *last = g_sequence_iter_prev(end);

	if (last == end || compare_place(g_sequence_get(last), extent, NULL) < 0)
		return g_sequence_append(list->by_place, extent);
	return g_sequence_insert_sorted(list->by_place, extent, compare_place, NULL);
}

void extent_list_insert(ExtentList *list, Extent *extent)
{
	g_assert(!extent->place);
	g_tree_insert_node(list->by_dpa, DPA_KEY(extent->dpa), extent);
	extent->place = insert_by_place(list, extent);
	list->n++;
}

void extent_list_remove(ExtentList *list, Extent *extent)
{
	g_assert(extent->place);
	g_tree_remove(list->by_dpa, DPA_KEY(extent->dpa));
	g_sequence_remove(extent->place);
	extent->place = NULL;
	list->n--;
}

Extent *extent_list_split(ExtentList *list, Extent *extent, uint64_t at)
{
	Extent *upper = extent_split(extent, at);
	GSequenceIter *after = g_sequence_iter_next(extent->place);

	g_tree_insert_node(list->by_dpa, DPA_KEY(upper->dpa), upper);
	upper->place = g_sequence_insert_before(after, upper);
	list->n++;
	return upper;
}

Extent *extent_list_find(const ExtentList *list, uint64_t dpa)
{
	GTreeNode *above = g_tree_upper_bound(list->by_dpa, DPA_KEY(dpa));
	GTreeNode *node = above ? g_tree_node_previous(above) : g_tree_node_last(list->by_dpa);
	Extent *extent = node ? g_tree_node_value(node) : NULL;

	return extent && dpa - extent->dpa < extent->len ? extent : NULL;
}

Extent *extent_list_overlap(const ExtentList *list, uint64_t dpa, uint64_t len)
{
	Extent *extent = extent_list_find(list, dpa);
	GTreeNode *node;

	if (extent)
		return extent;
	node = g_tree_upper_bound(list->by_dpa, DPA_KEY(dpa));
	extent = node ? g_tree_node_value(node) : NULL;
	return extent && extent->dpa - dpa < len ? extent : NULL;
}

Extent *extent_list_at(const ExtentList *list, size_t position)
{
	if (position >= list->n)
		return NULL;
	return g_sequence_get(g_sequence_get_iter_at_pos(list->by_place, (int)position));
}

Extent *extent_list_next(const Extent *extent)
{
	GSequenceIter *next = g_sequence_iter_next(extent->place);

	return g_sequence_iter_is_end(next) ? NULL : g_sequence_get(next);
}

Extent *extent_list_first_of(const ExtentList *list, uint64_t alloc)
{
	/* Nothing compares equal to it: places of an allocation start at (0, 0), after this. */
	Extent key = { .alloc = alloc - 1, .order = UINT32_MAX, .mem_offset = UINT64_MAX };
	GSequenceIter *at = g_sequence_search(list->by_place, &key, compare_place, NULL);
	Extent *extent;

	if (g_sequence_iter_is_end(at))
		return NULL;
	extent = g_sequence_get(at);
	return extent->alloc == alloc ? extent : NULL;
}
