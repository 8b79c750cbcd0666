/* SPDX-License-Identifier: BSD-3-Clause */
/* A pool of three devices under random operations: set up, hosts that come and go, checks, end. */
#ifndef TESTS_CAPACITY_POOL_H
#define TESTS_CAPACITY_POOL_H

#include "capacity-operations.h"

#include <glib/gstdio.h>
#include <stdlib.h>

/* ---- the pool ---- */

typedef struct BackendRow {
	const char *name;
	BackendType type;
	unsigned n_blocks;
	bool shareable, read_only;
	OnRelease on_release;
} BackendRow;

static const BackendRow backend_rows[N_BACKENDS] = {
	{ "ram", BACKEND_MEMFD, 16, false, false, ON_RELEASE_DEFAULT },
	{ "ram-small", BACKEND_MEMFD, 2, false, false, ON_RELEASE_DEFAULT },
	{ "ram-keep", BACKEND_MEMFD, 8, false, false, ON_RELEASE_KEEP },
	{ "shared", BACKEND_MEMFD, 12, true, false, ON_RELEASE_DEFAULT },
	{ "read-only", BACKEND_MEMFD, 6, true, true, ON_RELEASE_DEFAULT },
	{ "file-keep", BACKEND_FILE, 8, false, false, ON_RELEASE_DEFAULT },
	{ "file-wipe", BACKEND_FILE, 8, false, false, ON_RELEASE_WIPE },
};

static void add_backend(Model *model, unsigned index)
{
	const BackendRow *row = &backend_rows[index];
	g_autofree char *path = g_build_filename(model->dir, row->name, NULL);
	BackendConfig config = {
		.name = row->name,
		.type = row->type,
		.size = row->n_blocks * (uint64_t)BLOCK,
		.path = row->type == BACKEND_FILE ? path : NULL,
		.shareable = row->shareable,
		.read_only = row->read_only,
		.on_release = row->on_release,
	};
	GError *error = NULL;

	config.tag.b[15] = (uint8_t)(index + 1);
	model->backends[index] = backend_new(&config, &error);
	g_assert_no_error(error);
	g_assert_true(capacity_add_backend(model->cap, model->backends[index], &error));
}

static void add_device(Model *model, unsigned index)
{
	static const char *const names[N_DEVICES] = { "dev0", "dev1", "dev2" };
	ModelDevice *device = &model->devices[index];
	DcDeviceConfig config = {
		.name = names[index],
		.static_len = STATIC_LEN,
		.regions = regions,
		.n_regions = G_N_ELEMENTS(regions),
		.max_extents = 16,
		.max_offers = 5,
		.max_chain = 8,
		.chains_in_flight = index == 2 ? 2 : 1,
		.hold_off = index != 0,
	};
	GError *error = NULL;

	device->model = model;
	device->index = index;
	if (!device->log)
		device->log = g_array_new(FALSE, FALSE, sizeof(LogRecord));
	device->dc = capacity_add_device(model->cap, &config, &model_device_ops, device, &error);
	g_assert_no_error(error);
	if (index == 0) {
		dc_device_add_static(device->dc, 0, model->ram, true, &error);
		g_assert_no_error(error);
	}
}

/* ---- checks ---- */

static bool is_being_revoked(Model *model, ModelDevice *device, const ModelMap *map, uint64_t dpa)
{
	for (guint i = 0; i < model->pending->len; i++) {
		const Pending *pending = model->pending->pdata[i];

		if (pending->kind != PENDING_REVOKE || pending->device != device->index)
			continue;
		for (guint j = 0; j < pending->items->len; j++) {
			const DcMapPart *part = &g_array_index(pending->items, DcMapPart, j);

			if (part->map_id == map->id && dpa >= part->dpa &&
			    dpa - part->dpa < part->len)
				return true;
		}
	}
	return false;
}

/* I1, one way: what a host can reach is accepted or being revoked. */
static void check_reachable_is_accepted(Model *model, ModelDevice *device)
{
	Process *process = device->process;

	for (guint i = 0; i < process->maps->len; i++) {
		const ModelMap *map = &g_array_index(process->maps, ModelMap, i);
		DcExtent extent;

		if (!map->exposed || map->dpa < STATIC_LEN)
			continue;
		for (uint64_t dpa = map->dpa; dpa < map->dpa + map->len; dpa += BLOCK) {
			bool accepted = dc_device_find_extent(device->dc, dpa, &extent) &&
					extent.map_id == map->id;

			if (accepted)
				g_assert_cmpuint(extent.backend_offset + (dpa - extent.dpa), ==,
						 map->offset + (dpa - map->dpa));
			else
				g_assert_true(is_being_revoked(model, device, map, dpa));
		}
	}
}

/* I1, the other way, once everything has been answered. */
static void check_accepted_is_reachable(ModelDevice *device, bool ghosts)
{
	Process *process = device->process;
	DcExtent extents[64];
	size_t n = dc_device_extents(device->dc, 0, extents, G_N_ELEMENTS(extents));

	g_assert_cmpuint(n, ==, dc_device_n_extents(device->dc));
	for (size_t i = 0; i < n; i++) {
		uint64_t reachable = 0;

		for (guint j = 0; j < process->maps->len; j++) {
			const ModelMap *map = &g_array_index(process->maps, ModelMap, j);
			uint64_t start = MAX(map->dpa, extents[i].dpa);
			uint64_t end = MIN(map->dpa + map->len, extents[i].dpa + extents[i].len);

			if (map->exposed && start < end)
				reachable += end - start;
		}
		if (extents[i].map_id == 0)
			g_assert_true(ghosts && reachable == 0);
		else
			g_assert_cmpuint(reachable, ==, extents[i].len);
	}
}

static void check(Model *model)
{
	capacity_check(model->cap);
	for (unsigned i = 0; i < N_DEVICES; i++)
		if (model->devices[i].attached && !model->devices[i].process->host.control_only)
			check_reachable_is_accepted(model, &model->devices[i]);
}

/* ---- hosts come and go ---- */

/* Requests in flight die with the link; letting go stays open in the core. */
static void cut_link(Model *model, ModelDevice *device)
{
	for (guint i = model->pending->len; i-- > 0;) {
		Pending *pending = model->pending->pdata[i];

		if (pending->kind <= PENDING_DROP && pending->device == device->index)
			g_ptr_array_remove_index(model->pending, i);
	}
	device->attached = false;
	dc_device_detach_host(device->dc);
}

static void forget_unexposed(Process *process)
{
	for (guint i = process->maps->len; i-- > 0;)
		if (!g_array_index(process->maps, ModelMap, i).exposed)
			process_remove(process, i);
}

static void attach(Model *model, ModelDevice *device, Process *process)
{
	g_autoptr(GArray) held = g_array_new(FALSE, FALSE, sizeof(DcHeldMap));

	if (device->attached)
		cut_link(model, device);
	forget_unexposed(process);
	for (guint i = 0; i < process->maps->len; i++) {
		const ModelMap *map = &g_array_index(process->maps, ModelMap, i);
		DcHeldMap item = { map->id, map->dpa, map->len, map->incarnation };

		g_array_append_val(held, item);
	}
	device->process = process;
	device->attached = true;
	dc_device_attach_host(device->dc, &process->host, (DcHeldMap *)(void *)held->data,
			      held->len);
}

static Process *new_process(Model *model, ModelDevice *device)
{
	Process *process = g_new0(Process, 1);

	process->alive = true;
	process->device = device->index;
	process->maps = g_array_new(FALSE, FALSE, sizeof(ModelMap));
	process->files = g_ptr_array_new_with_free_func((GDestroyNotify)mem_file_unref);
	process->host.serial = model->processes->len + 1;
	process->host.control_only = model_chance(model, 15);
	process->host.same_uid = model_chance(model, 40);
	process->host.max_maps = model_chance(model, 30) ? 6 : UINT32_MAX;
	g_ptr_array_add(model->processes, process);
	return process;
}

/* A new host is a new session: the endpoint's logs are empty. */
static void empty_log(ModelDevice *device)
{
	g_array_set_size(device->log, 0);
	device->in_chain = false;
}

static void kill_process(Model *model, Process *process)
{
	ModelDevice *device = &model->devices[process->device];

	if (device->process == process && device->attached)
		cut_link(model, device);
	process_die(process);
	capacity_host_gone(model->cap, process->host.serial);
}

static void op_host(Model *model)
{
	ModelDevice *device = any_device(model);
	int kind = model_random(model, 100);

	if (!device->process || (!device->process->alive && kind < 50) || kind < 12) {
		Process *process = new_process(model, device);

		attach(model, device, process);
		empty_log(device);
	} else if (kind < 35) {
		if (device->attached)
			cut_link(model, device);
	} else if (kind < 65) {
		/* With a link or without, whatever it had before. */
		if (!device->attached && device->process->alive) {
			device->process->host.control_only = model_chance(model, 20);
			attach(model, device, device->process);
		}
	} else {
		Process *process =
			model->processes->pdata[model_random(model, (int)model->processes->len)];

		if (process->alive)
			kill_process(model, process);
	}
}

static void op_reset(Model *model)
{
	ModelDevice *device = any_device(model);
	int kind = model_random(model, 100);

	dc_device_reset(device->dc, kind < 45   ? DC_RESET_FLR
				    : kind < 90 ? DC_RESET_CONVENTIONAL
						: DC_RESET_FORGET);
	if (kind >= 45)
		empty_log(device);
}

static void op_reclaim(Model *model)
{
	const BackendRow *row = &backend_rows[model_random(model, N_BACKENDS)];

	/* The operator's word is only true when no other host can reach it. */
	for (guint i = 0; i < model->processes->len; i++) {
		Process *process = model->processes->pdata[i];
		MemFile *file = backend_peek_file(capacity_peek_backend(model->cap, row->name));

		if (process->alive && g_ptr_array_find(process->files, file, NULL))
			return;
	}
	capacity_reclaim_backend(model->cap, row->name, NULL);
}

static void op_mood(Model *model)
{
	static const int now[] = { 0, 50, 100, 100 };

	model->answer_now = now[model_random(model, G_N_ELEMENTS(now))];
	model->fail = model_chance(model, 40) ? 30 : 2;
	model->wipe_fail = model_chance(model, 20) ? 20 : 0;
	model->journal_fail = model_chance(model, 20) ? 20 : 0;
}

/* Everybody answers, and well; time passes. */
static void flush(Model *model)
{
	int answer_now = model->answer_now;
	bool ghosts = false;

	model->fail = model->wipe_fail = model->journal_fail = 0;
	model->answer_now = 100;
	for (int i = 0; i < 4; i++) {
		while (model->pending->len > 0)
			model_answer(model, 0);
		model->now_us += 70 * G_USEC_PER_SEC;
		capacity_tick(model->cap);
	}
	g_assert_cmpuint(model->pending->len, ==, 0);
	for (guint i = 0; i < model->processes->len; i++) {
		Process *process = model->processes->pdata[i];

		ghosts |= process->alive && model->devices[process->device].process != process;
	}
	for (unsigned i = 0; i < N_DEVICES; i++) {
		ModelDevice *device = &model->devices[i];

		g_assert_false(device->dc->command.active);
		if (device->attached && !device->process->host.control_only)
			check_accepted_is_reachable(device, ghosts);
	}
	check(model);
	model->answer_now = answer_now;
	op_mood(model);
}

typedef struct Operation {
	int weight;
	void (*run)(Model *model);
} Operation;

static const Operation operations[] = {
	{ 18, op_offer },          { 3, op_withdraw },    { 24, op_respond }, { 14, op_give_back },
	{ 5, op_request_release }, { 30, op_answer },     { 4, op_tick },     { 4, op_read_list },
	{ 14, op_read_log },       { 6, op_host_writes }, { 2, op_host },     { 1, op_reset },
	{ 1, op_reclaim },         { 1, op_mood },
};

static void run_one(Model *model)
{
	int total = 0, pick;

	for (size_t i = 0; i < G_N_ELEMENTS(operations); i++)
		total += operations[i].weight;
	pick = model_random(model, total);
	for (size_t i = 0; i < G_N_ELEMENTS(operations); i++) {
		if (pick < operations[i].weight) {
			operations[i].run(model);
			return;
		}
		pick -= operations[i].weight;
	}
}

/* ---- the end: everything comes back ---- */

static void free_process(gpointer data)
{
	Process *process = data;

	g_array_unref(process->maps);
	g_ptr_array_unref(process->files);
	g_free(process);
}

static void remove_dir(const char *dir)
{
	for (unsigned i = 0; i < N_BACKENDS; i++) {
		g_autofree char *path = g_build_filename(dir, backend_rows[i].name, NULL);

		g_unlink(path);
	}
	g_rmdir(dir);
}

static void tear_down(Model *model)
{
	CapacityCounters counters;
	GError *error = NULL;

	flush(model);
	model->fail = model->wipe_fail = model->journal_fail = 0;
	model->answer_now = 100;
	for (guint i = 0; i < model->processes->len; i++)
		if (((Process *)model->processes->pdata[i])->alive)
			kill_process(model, model->processes->pdata[i]);
	for (unsigned i = 0; i < N_DEVICES; i++)
		dc_device_reset(model->devices[i].dc, DC_RESET_FORGET);
	for (unsigned i = 0; i < N_BACKENDS; i++)
		capacity_reclaim_backend(model->cap, backend_rows[i].name, NULL);
	capacity_check(model->cap);
	capacity_counters(model->cap, &counters);
	g_assert_cmpuint(counters.free, ==, counters.total);
	for (unsigned i = 0; i < N_DEVICES; i++) {
		dc_device_counters(model->devices[i].dc, &counters);
		g_assert_cmpuint(counters.free, ==, counters.total);
		g_assert_cmpuint(model->devices[i].reserved, ==, 0);
		capacity_remove_device(model->cap, model->devices[i].dc, &error);
		g_assert_no_error(error);
		g_array_unref(model->devices[i].log);
	}
	for (unsigned i = 0; i < N_BACKENDS; i++) {
		backend_free(capacity_remove_backend(model->cap, backend_rows[i].name, &error));
		g_assert_no_error(error);
	}
	backend_free(model->ram);
	for (guint i = 0; i < model->answers->len; i++)
		g_assert_cmpuint(((Answer *)model->answers->pdata[i])->n_calls, ==, 1);
	capacity_free(model->cap);
	remove_dir(model->dir);
	g_free(model->dir);
	g_ptr_array_unref(model->answers);
	g_ptr_array_unref(model->pending);
	g_ptr_array_unref(model->processes);
	g_rand_free(model->rand);
}

static uint64_t env_number(const char *name, uint64_t preset)
{
	const char *text = g_getenv(name);

	return text ? g_ascii_strtoull(text, NULL, 0) : preset;
}

/* An empty pool: not even its core. */
static void set_up(Model *model)
{
	uint32_t seed = (uint32_t)env_number("SOFTDCD_SEED", g_test_rand_int());

	g_test_message("SOFTDCD_SEED=%u", seed);
	g_print("# seed %u\n", seed);
	model->rand = g_rand_new_with_seed(seed);
	model->now_us = 1000;
	model->dir = g_dir_make_tmp("softdcd-XXXXXX", NULL);
	model->processes = g_ptr_array_new_with_free_func(free_process);
	model->pending = g_ptr_array_new_with_free_func(pending_free);
	model->answers = g_ptr_array_new_with_free_func(g_free);
	op_mood(model);
}

static void fill(Model *model, const CapacityOps *ops)
{
	BackendConfig ram_config = { .name = "static", .size = 16 * BLOCK };

	model->cap = capacity_new(ops, model);
	model->ram = backend_new(&ram_config, NULL);
	for (unsigned i = 0; i < N_DEVICES; i++)
		add_device(model, i);
	for (unsigned i = 0; i < N_BACKENDS; i++)
		add_backend(model, i);
}

#endif
