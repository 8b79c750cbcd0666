/* SPDX-License-Identifier: BSD-3-Clause */
/* The fixture's pool with a ledger in memory, stopped in any state and started from it again. */
#ifndef TESTS_RESTORE_FIXTURE_H
#define TESTS_RESTORE_FIXTURE_H

#include "../property/row-table.h"
#include "capacity-fixture.h"

typedef struct World {
	Fixture *fix;
	RowTable table;
} World;

static void world_keep(void *opaque, const RowRecord *record)
{
	row_table_apply(&((World *)opaque)->table, record);
}

static void world_init(World *world, const FixtureConfig *like)
{
	FixtureConfig config = { 0 };

	if (like)
		config = *like;
	config.journal = true;
	config.keep = world_keep;
	config.keep_opaque = world;
	row_table_init(&world->table);
	world->fix = fix_new(&config);
}

/* The daemon is gone, with all that was in its memory; hosts keep what they can reach. */
static RowRecord *world_stop(World *world)
{
	Fixture *fix = world->fix;

	capacity_free(fix->cap);
	fix->cap = NULL;
	for (unsigned i = 0; i < N_DEVICES; i++) {
		Fake *fake = &fix->dev[i];

		fake_lose(fake);
		g_array_set_size(fake->events, 0);
		fake->log_used = fake->log_reserved = 0;
		fake->dc = NULL;
	}
	while (fix_finish_wipe(fix, false))
		;
	while (fix->journal_held->len > 0) {
		row_record_unref(g_array_index(fix->journal_held, HeldRecord, 0).record);
		g_array_remove_index(fix->journal_held, 0);
	}
	return row_table_load(&world->table);
}

static bool world_add_devices(Fixture *fix, GError **error)
{
	const RowDevice *row;

	for (guint i = 0; (row = capacity_restore_device(fix->cap, i)); i++) {
		unsigned index = row->name && strcmp(row->name, "dev0") == 0 ? 0 : 1;
		DcDeviceConfig config = {
			.name = index == 0 ? "dev0" : "dev1",
			.static_len = 256 * MIB,
			.regions = fixture_regions,
			.n_regions = N_REGIONS,
			.hold_off = true,
		};

		fix->dev[index].dc = capacity_add_device(fix->cap, &config, &fake_ops,
							 &fix->dev[index], error);
		if (!fix->dev[index].dc)
			return false;
	}
	return true;
}

/* Owns ROWS. Refused, there is no pool. */
static bool world_start(World *world, RowRecord *rows, GError **error)
{
	Fixture *fix = world->fix;
	bool ok;

	memset(fix->journal, 0, sizeof(fix->journal));
	fix->cap = capacity_new(&fix->ops, fix);
	ok = capacity_restore_begin(fix->cap, rows, error) && world_add_devices(fix, error) &&
	     capacity_restore_end(fix->cap, error);
	row_record_unref(rows);
	if (!ok)
		g_clear_pointer(&fix->cap, capacity_free);
	else
		capacity_check(fix->cap);
	return ok;
}

static void world_restart(World *world)
{
	GError *error = NULL;

	world_start(world, world_stop(world), &error);
	g_assert_no_error(error);
}

/* The host is back and says what it holds. */
static void world_resume(World *world, unsigned index, uint64_t serial)
{
	Fake *fake = &world->fix->dev[index];
	g_autoptr(GArray) held = g_array_new(FALSE, FALSE, sizeof(DcHeldMap));
	DcHost host = { .serial = serial, .max_maps = UINT32_MAX };

	for (guint i = 0; i < fake->reach->len; i++) {
		const Reach *map = &g_array_index(fake->reach, Reach, i);
		DcHeldMap item = { map->map_id, map->dpa, map->len, map->incarnation };

		g_array_append_val(held, item);
	}
	dc_device_attach_host(fake->dc, &host, (DcHeldMap *)(void *)held->data, held->len);
}

static inline void world_use_all(void)
{
	(void)world_restart;
	(void)world_resume;
}

static void world_free(World *world)
{
	fix_free(world->fix);
	row_table_clear(&world->table);
}

#endif
