/* SPDX-License-Identifier: BSD-3-Clause */
/* A device's accepted extents: by DPA for lookup, by allocation for the host's list. */
#include "capacity/extent_list.h"
#include "capacity/sorted_map.h"

struct ExtentList {
	SortedMap *by_dpa;   /* (DPA, 0) */
	SortedMap *by_place; /* (allocation, offset into its memory) */
};

static SortedKey dpa_key(uint64_t dpa)
{
	return (SortedKey){ dpa, 0 };
}

static SortedKey place_key(const Extent *extent)
{
	return (SortedKey){ extent->alloc, extent->mem_offset };
}

ExtentList *extent_list_new(void)
{
	ExtentList *list = g_new0(ExtentList, 1);

	list->by_dpa = sorted_map_new();
	list->by_place = sorted_map_new();
	return list;
}

void extent_list_free(ExtentList *list)
{
	if (!list)
		return;
	sorted_map_free(list->by_dpa);
	sorted_map_free(list->by_place);
	g_free(list);
}

size_t extent_list_n(const ExtentList *list)
{
	return sorted_map_n(list->by_dpa);
}

void extent_list_insert(ExtentList *list, Extent *extent)
{
	sorted_map_insert(list->by_dpa, dpa_key(extent->dpa), extent);
	sorted_map_insert(list->by_place, place_key(extent), extent);
}

void extent_list_remove(ExtentList *list, Extent *extent)
{
	sorted_map_remove(list->by_dpa, dpa_key(extent->dpa));
	sorted_map_remove(list->by_place, place_key(extent));
}

Extent *extent_list_split(ExtentList *list, Extent *extent, uint64_t at)
{
	Extent *upper = extent_split(extent, at);

	extent_list_insert(list, upper);
	return upper;
}

Extent *extent_list_find(const ExtentList *list, uint64_t dpa)
{
	Extent *extent = sorted_map_at_or_below(list->by_dpa, dpa_key(dpa));

	return extent && dpa - extent->dpa < extent->len ? extent : NULL;
}

Extent *extent_list_overlap(const ExtentList *list, uint64_t dpa, uint64_t len)
{
	Extent *extent = extent_list_find(list, dpa);

	if (!extent)
		extent = sorted_map_above(list->by_dpa, dpa_key(dpa));
	return extent && (extent->dpa <= dpa || extent->dpa - dpa < len) ? extent : NULL;
}

Extent *extent_list_at(const ExtentList *list, size_t position)
{
	SortedIter iter = sorted_map_seek_position(list->by_place, position);

	return sorted_iter_value(&iter);
}

Extent *extent_list_next(const ExtentList *list, const Extent *extent)
{
	return sorted_map_above(list->by_place, place_key(extent));
}

Extent *extent_list_first_of(const ExtentList *list, uint64_t alloc)
{
	SortedIter iter = sorted_map_seek(list->by_place, (SortedKey){ alloc, 0 });
	Extent *extent = sorted_iter_value(&iter);

	return extent && extent->alloc == alloc ? extent : NULL;
}

size_t extent_list_copy(const ExtentList *list, size_t position, Extent **ret, size_t n)
{
	SortedIter iter = sorted_map_seek_position(list->by_place, position);
	size_t n_copied = 0;

	for (Extent *extent; n_copied < n && (extent = sorted_iter_value(&iter));
	     sorted_iter_next(&iter))
		ret[n_copied++] = extent;
	return n_copied;
}
