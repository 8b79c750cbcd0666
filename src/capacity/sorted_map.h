/* SPDX-License-Identifier: BSD-3-Clause */
/* Ordered map of many small entries that stays fast when it no longer fits the cache. */
#ifndef CAPACITY_SORTED_MAP_H
#define CAPACITY_SORTED_MAP_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Why not GTree or GSequence: they take one cache miss or two per binary step, some twenty at 64 k
 * entries, and a command makes several such walks. Here keys lie side by side in leaves of up to
 * 64, and the first keys of all leaves side by side again: a lookup misses three or four times
 * whatever the size, insert and remove move at most a leaf. Entries by position count leaves, not
 * entries.
 */
typedef struct SortedKey {
	uint64_t major;
	uint64_t minor;
} SortedKey;

typedef struct SortedMap SortedMap;

/* A place between or at entries; any change of the map invalidates it. */
typedef struct SortedIter {
	const SortedMap *map;
	guint leaf;
	guint slot;
} SortedIter;

SortedMap *sorted_map_new(void);
void sorted_map_free(SortedMap *map);
size_t sorted_map_n(const SortedMap *map);
void sorted_map_insert(SortedMap *map, SortedKey key, void *value); /* must be absent */
/* Changes a key to one that sorts in the same place. */
void sorted_map_rekey(SortedMap *map, SortedKey from, SortedKey to);
void sorted_map_remove(SortedMap *map, SortedKey key); /* must be there */

/* NULL if there is none. */
void *sorted_map_lookup(const SortedMap *map, SortedKey key);
void *sorted_map_at_or_below(const SortedMap *map, SortedKey key);
void *sorted_map_above(const SortedMap *map, SortedKey key);

/* The first entry at or above KEY, the first above it, the entry at POSITION, the end. */
SortedIter sorted_map_seek(const SortedMap *map, SortedKey key);
SortedIter sorted_map_seek_above(const SortedMap *map, SortedKey key);
SortedIter sorted_map_seek_position(const SortedMap *map, size_t position);
SortedIter sorted_map_end(const SortedMap *map);
void *sorted_iter_value(const SortedIter *iter);          /* NULL at the end */
const SortedKey *sorted_iter_key(const SortedIter *iter); /* likewise */
void sorted_iter_next(SortedIter *iter);
bool sorted_iter_prev(SortedIter *iter); /* false, and stays, at the beginning */

#endif
