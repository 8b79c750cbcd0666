/* SPDX-License-Identifier: BSD-3-Clause */
/* Ordered map of many small entries that stays fast when it no longer fits the cache. */
#include "capacity/sorted_map.h"

#include <string.h>

#define LEAF_MAX 64

typedef struct Leaf {
	SortedKey keys[LEAF_MAX];
	void *values[LEAF_MAX];
} Leaf;

/* FIRSTS, COUNTS and LEAVES run in parallel; no leaf is empty. */
struct SortedMap {
	SortedKey *firsts;
	uint16_t *counts;
	Leaf **leaves;
	guint n_leaves;
	guint n_room;
	size_t n;
};

static bool is_above(const SortedKey *a, const SortedKey *b)
{
	return a->major != b->major ? a->major > b->major : a->minor > b->minor;
}

/* How many of the N sorted KEYS are at or below KEY. */
static guint count_not_above(const SortedKey *keys, guint n, const SortedKey *key)
{
	guint base = 0;

	/* Without a branch to mispredict: the compiler makes the choice a conditional move. */
	while (n > 0) {
		guint half = (n + 1) / 2;

		base = is_above(&keys[base + half - 1], key) ? base : base + half;
		n -= half;
	}
	return base;
}

SortedMap *sorted_map_new(void)
{
	return g_new0(SortedMap, 1);
}

void sorted_map_free(SortedMap *map)
{
	if (!map)
		return;
	for (guint i = 0; i < map->n_leaves; i++)
		g_free(map->leaves[i]);
	g_free(map->firsts);
	g_free(map->counts);
	g_free(map->leaves);
	g_free(map);
}

size_t sorted_map_n(const SortedMap *map)
{
	return map->n;
}

/* ---- leaves ---- */

/* The leaf KEY belongs to; there must be one. */
static guint leaf_of(const SortedMap *map, const SortedKey *key)
{
	guint n = count_not_above(map->firsts, map->n_leaves, key);

	return n > 0 ? n - 1 : 0;
}

static void add_leaf(SortedMap *map, guint index)
{
	guint n_after = map->n_leaves - index;

	if (map->n_leaves == map->n_room) {
		map->n_room = MAX(8, map->n_room * 2);
		map->firsts = g_renew(SortedKey, map->firsts, map->n_room);
		map->counts = g_renew(uint16_t, map->counts, map->n_room);
		map->leaves = g_renew(Leaf *, map->leaves, map->n_room);
	}
	memmove(&map->firsts[index + 1], &map->firsts[index], n_after * sizeof(*map->firsts));
	memmove(&map->counts[index + 1], &map->counts[index], n_after * sizeof(*map->counts));
	memmove(&map->leaves[index + 1], &map->leaves[index], n_after * sizeof(*map->leaves));
	map->leaves[index] = g_new(Leaf, 1);
	map->counts[index] = 0;
	map->n_leaves++;
}

static void remove_leaf(SortedMap *map, guint index)
{
	guint n_after = map->n_leaves - index - 1;

	g_free(map->leaves[index]);
	memmove(&map->firsts[index], &map->firsts[index + 1], n_after * sizeof(*map->firsts));
	memmove(&map->counts[index], &map->counts[index + 1], n_after * sizeof(*map->counts));
	memmove(&map->leaves[index], &map->leaves[index + 1], n_after * sizeof(*map->leaves));
	map->n_leaves--;
}

/* Moves the entries of leaf FROM from SLOT on to the end of leaf TO. */
static void move_tail(SortedMap *map, guint from, guint slot, guint to)
{
	Leaf *source = map->leaves[from], *target = map->leaves[to];
	guint n = map->counts[from] - slot, at = map->counts[to];

	memcpy(&target->keys[at], &source->keys[slot], n * sizeof(*source->keys));
	memcpy(&target->values[at], &source->values[slot], n * sizeof(*source->values));
	map->counts[to] = (uint16_t)(at + n);
	map->counts[from] = (uint16_t)slot;
}

/* Makes room in a full leaf; returns the leaf KEY then belongs to. */
static guint split_leaf(SortedMap *map, guint index, const SortedKey *key)
{
	const Leaf *leaf = map->leaves[index];
	/* Entries that come in order shall leave full leaves behind. */
	bool at_end = is_above(key, &leaf->keys[LEAF_MAX - 1]);

	add_leaf(map, index + 1);
	move_tail(map, index, at_end ? LEAF_MAX : LEAF_MAX / 2, index + 1);
	if (at_end)
		return index + 1;
	map->firsts[index + 1] = map->leaves[index + 1]->keys[0];
	return is_above(&map->firsts[index + 1], key) ? index : index + 1;
}

static void merge_if_small(SortedMap *map, guint index)
{
	guint n = map->counts[index];

	if (n >= LEAF_MAX / 4)
		return;
	if (index + 1 < map->n_leaves && n + map->counts[index + 1] <= LEAF_MAX * 3 / 4) {
		move_tail(map, index + 1, 0, index);
		remove_leaf(map, index + 1);
	} else if (index > 0 && n + map->counts[index - 1] <= LEAF_MAX * 3 / 4) {
		move_tail(map, index, 0, index - 1);
		remove_leaf(map, index);
	}
}

/* ---- entries ---- */

void sorted_map_insert(SortedMap *map, SortedKey key, void *value)
{
	guint index, slot, n;
	Leaf *leaf;

	if (map->n_leaves == 0)
		add_leaf(map, 0);
	index = map->n > 0 ? leaf_of(map, &key) : 0;
	if (map->counts[index] == LEAF_MAX)
		index = split_leaf(map, index, &key);
	leaf = map->leaves[index];
	n = map->counts[index];
	slot = count_not_above(leaf->keys, n, &key);
	g_assert(slot == 0 || is_above(&key, &leaf->keys[slot - 1]));
	memmove(&leaf->keys[slot + 1], &leaf->keys[slot], (n - slot) * sizeof(*leaf->keys));
	memmove(&leaf->values[slot + 1], &leaf->values[slot], (n - slot) * sizeof(*leaf->values));
	leaf->keys[slot] = key;
	leaf->values[slot] = value;
	map->counts[index]++;
	map->firsts[index] = leaf->keys[0];
	map->n++;
}

void sorted_map_remove(SortedMap *map, SortedKey key)
{
	guint index, slot, n;
	Leaf *leaf;

	g_assert(map->n > 0);
	index = leaf_of(map, &key);
	leaf = map->leaves[index];
	slot = count_not_above(leaf->keys, map->counts[index], &key);
	g_assert(slot > 0 && !is_above(&key, &leaf->keys[slot - 1]));
	slot--;
	n = --map->counts[index];
	memmove(&leaf->keys[slot], &leaf->keys[slot + 1], (n - slot) * sizeof(*leaf->keys));
	memmove(&leaf->values[slot], &leaf->values[slot + 1], (n - slot) * sizeof(*leaf->values));
	map->n--;
	if (n == 0) {
		remove_leaf(map, index);
		return;
	}
	map->firsts[index] = leaf->keys[0];
	merge_if_small(map, index);
}

void sorted_map_rekey(SortedMap *map, SortedKey from, SortedKey to)
{
	guint index, slot;
	Leaf *leaf;

	g_assert(map->n > 0);
	index = leaf_of(map, &from);
	leaf = map->leaves[index];
	slot = count_not_above(leaf->keys, map->counts[index], &from);
	g_assert(slot > 0 && !is_above(&from, &leaf->keys[slot - 1]));
	leaf->keys[slot - 1] = to;
	map->firsts[index] = leaf->keys[0];
}

/* ---- looking ---- */

SortedIter sorted_map_seek_above(const SortedMap *map, SortedKey key)
{
	SortedIter iter = { .map = map };

	if (map->n == 0)
		return iter;
	iter.leaf = leaf_of(map, &key);
	iter.slot = count_not_above(map->leaves[iter.leaf]->keys, map->counts[iter.leaf], &key);
	if (iter.slot == map->counts[iter.leaf]) {
		iter.leaf++;
		iter.slot = 0;
	}
	return iter;
}

const SortedKey *sorted_iter_key(const SortedIter *iter)
{
	if (iter->leaf >= iter->map->n_leaves)
		return NULL;
	return &iter->map->leaves[iter->leaf]->keys[iter->slot];
}

void *sorted_iter_value(const SortedIter *iter)
{
	if (iter->leaf >= iter->map->n_leaves)
		return NULL;
	return iter->map->leaves[iter->leaf]->values[iter->slot];
}

void sorted_iter_next(SortedIter *iter)
{
	if (iter->leaf < iter->map->n_leaves && ++iter->slot == iter->map->counts[iter->leaf]) {
		iter->leaf++;
		iter->slot = 0;
	}
}

bool sorted_iter_prev(SortedIter *iter)
{
	if (iter->slot == 0) {
		if (iter->leaf == 0)
			return false;
		iter->leaf--;
		iter->slot = iter->map->counts[iter->leaf];
	}
	iter->slot--;
	return true;
}

void *sorted_map_at_or_below(const SortedMap *map, SortedKey key)
{
	SortedIter iter = sorted_map_seek_above(map, key);

	return sorted_iter_prev(&iter) ? sorted_iter_value(&iter) : NULL;
}

void *sorted_map_above(const SortedMap *map, SortedKey key)
{
	SortedIter iter = sorted_map_seek_above(map, key);

	return sorted_iter_value(&iter);
}

void *sorted_map_lookup(const SortedMap *map, SortedKey key)
{
	SortedIter iter = sorted_map_seek_above(map, key);

	if (!sorted_iter_prev(&iter) || is_above(&key, sorted_iter_key(&iter)))
		return NULL;
	return sorted_iter_value(&iter);
}

SortedIter sorted_map_seek(const SortedMap *map, SortedKey key)
{
	SortedIter iter = sorted_map_seek_above(map, key), before = iter;

	if (sorted_iter_prev(&before) && !is_above(&key, sorted_iter_key(&before)))
		return before;
	return iter;
}

SortedIter sorted_map_seek_position(const SortedMap *map, size_t position)
{
	SortedIter iter = { .map = map };

	while (iter.leaf < map->n_leaves && position >= map->counts[iter.leaf])
		position -= map->counts[iter.leaf++];
	iter.slot = (guint)position;
	return iter;
}

SortedIter sorted_map_end(const SortedMap *map)
{
	return (SortedIter){ .map = map, .leaf = map->n_leaves };
}
