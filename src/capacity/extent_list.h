/* SPDX-License-Identifier: BSD-3-Clause */
/* A device's accepted extents: by DPA for lookup, by allocation for the host's list. */
#ifndef CAPACITY_EXTENT_LIST_H
#define CAPACITY_EXTENT_LIST_H

#include "capacity/extent.h"

/*
 * Two orders over the same extents: by first DPA, and in the order 4801h lists them, by allocation
 * and place in the tag's assembly. That place is the offset into the allocation's memory: what
 * comes earlier lies lower. The list owns nothing.
 */
typedef struct ExtentList ExtentList;

ExtentList *extent_list_new(void);
void extent_list_free(ExtentList *list);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ExtentList, extent_list_free)

size_t extent_list_n(const ExtentList *list);
void extent_list_insert(ExtentList *list, Extent *extent); /* must overlap none */
void extent_list_remove(ExtentList *list, Extent *extent);
/* Cuts an extent of the list, keeps both parts in it; returns the upper one. */
Extent *extent_list_split(ExtentList *list, Extent *extent, uint64_t at);

Extent *extent_list_find(const ExtentList *list, uint64_t dpa); /* the one that holds DPA */
/* The lowest one that shares a byte with the range, NULL if none does. */
Extent *extent_list_overlap(const ExtentList *list, uint64_t dpa, uint64_t len);

/* In list order. */
Extent *extent_list_at(const ExtentList *list, size_t position);
Extent *extent_list_next(const ExtentList *list, const Extent *extent);
Extent *extent_list_first_of(const ExtentList *list, uint64_t alloc);
/* Copies up to N from POSITION on; returns how many. */
size_t extent_list_copy(const ExtentList *list, size_t position, Extent **ret, size_t n);

#endif
