/* SPDX-License-Identifier: BSD-3-Clause */
/* What a keeper holds: descriptors by incarnation; libc only. */
#ifndef KEEPER_KEEPER_TABLE_H
#define KEEPER_KEEPER_TABLE_H

#include "keeper/keeper_wire.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct KeeperEntry {
	uint64_t incarnation;
	uint64_t len;
	int fd;
	uint8_t label[KEEPER_LABEL_LEN];
} KeeperEntry;

/*
 * A dense array, so that it can be walked by index, and a hash index of it (open addressing, slots
 * hold index + 1). Memory follows the number held, up and down.
 */
typedef struct KeeperTable {
	KeeperEntry *entries;
	uint32_t n, n_allocated;
	uint32_t *slots;
	uint32_t n_slots; /* power of two, at least twice n_allocated */
	uint64_t seed;    /* keys are the client's choice: it must not choose collisions too */
} KeeperTable;

/* False: no memory. */
bool keeper_table_init(KeeperTable *table, uint64_t seed);
/* Closes everything held. */
void keeper_table_finish(KeeperTable *table);

KeeperEntry *keeper_table_find(const KeeperTable *table, uint64_t incarnation);
/* Appends; the key must not be there yet. The table owns the fd unless it returns false (no memory,
 * nothing changed). Entries move: pointers to others are void after it. */
bool keeper_table_add(KeeperTable *table, const KeeperEntry *entry);
/* Closes its fd; the last entry takes its place. False if it is not there. */
bool keeper_table_remove(KeeperTable *table, uint64_t incarnation);

#endif
