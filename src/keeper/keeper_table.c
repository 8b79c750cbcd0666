/* SPDX-License-Identifier: BSD-3-Clause */
/* The keeper's table of descriptors. */
#include "keeper/keeper_table.h"

#include <stdlib.h>
#include <unistd.h>

#define MIN_ALLOCATED 32

/* The finaliser of splitmix64. */
static uint32_t first_slot(const KeeperTable *table, uint64_t incarnation)
{
	uint64_t x = incarnation ^ table->seed;

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)(x ^ x >> 31) & (table->n_slots - 1);
}

/* The slot that holds the key, or the empty one where it would go. */
static uint32_t find_slot(const KeeperTable *table, uint64_t incarnation)
{
	uint32_t slot = first_slot(table, incarnation);

	while (table->slots[slot] != 0 &&
	       table->entries[table->slots[slot] - 1].incarnation != incarnation)
		slot = (slot + 1) & (table->n_slots - 1);
	return slot;
}

/* False: no memory, nothing changed. */
static bool resize(KeeperTable *table, uint32_t n_allocated)
{
	uint32_t *slots = calloc((size_t)n_allocated * 2, sizeof(*slots));
	KeeperEntry *entries;

	if (slots == NULL)
		return false;
	entries = realloc(table->entries, n_allocated * sizeof(*entries));
	if (entries == NULL) {
		free(slots);
		return false;
	}
	free(table->slots);
	table->entries = entries;
	table->n_allocated = n_allocated;
	table->slots = slots;
	table->n_slots = n_allocated * 2;
	for (uint32_t i = 0; i < table->n; i++)
		slots[find_slot(table, entries[i].incarnation)] = i + 1;
	return true;
}

bool keeper_table_init(KeeperTable *table, uint64_t seed)
{
	*table = (KeeperTable){ .seed = seed };
	return resize(table, MIN_ALLOCATED);
}

void keeper_table_finish(KeeperTable *table)
{
	for (uint32_t i = 0; i < table->n; i++)
		close(table->entries[i].fd);
	free(table->entries);
	free(table->slots);
	*table = (KeeperTable){ 0 };
}

KeeperEntry *keeper_table_find(const KeeperTable *table, uint64_t incarnation)
{
	uint32_t slot = find_slot(table, incarnation);

	return table->slots[slot] != 0 ? &table->entries[table->slots[slot] - 1] : NULL;
}

bool keeper_table_add(KeeperTable *table, const KeeperEntry *entry)
{
	if (table->n == table->n_allocated && !resize(table, table->n_allocated * 2))
		return false;
	table->entries[table->n++] = *entry;
	table->slots[find_slot(table, entry->incarnation)] = table->n;
	return true;
}

/* Keeps every later key of the run reachable from its first slot, without tombstones. */
static void empty_slot(KeeperTable *table, uint32_t hole)
{
	uint32_t mask = table->n_slots - 1;

	for (uint32_t slot = (hole + 1) & mask; table->slots[slot] != 0; slot = (slot + 1) & mask) {
		uint32_t home = first_slot(table,
					   table->entries[table->slots[slot] - 1].incarnation);

		if (((slot - home) & mask) < ((slot - hole) & mask))
			continue;
		table->slots[hole] = table->slots[slot];
		hole = slot;
	}
	table->slots[hole] = 0;
}

bool keeper_table_remove(KeeperTable *table, uint64_t incarnation)
{
	uint32_t slot = find_slot(table, incarnation);
	uint32_t index, last = table->n - 1;

	if (table->slots[slot] == 0)
		return false;
	index = table->slots[slot] - 1;
	close(table->entries[index].fd);
	empty_slot(table, slot);
	if (index != last) {
		table->slots[find_slot(table, table->entries[last].incarnation)] = index + 1;
		table->entries[index] = table->entries[last];
	}
	table->n = last;
	if (table->n_allocated > MIN_ALLOCATED && table->n < table->n_allocated / 4)
		(void)resize(table, table->n_allocated / 2); /* no memory: stays large */
	return true;
}
