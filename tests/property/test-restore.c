/* SPDX-License-Identifier: BSD-3-Clause */
/* Random operations and a daemon that is killed at random: I5 and I6 hold after each restart. */

/*
 * The journal goes to a table of rows. At the kill some of what is under way there has become
 * durable, the rest has not; what hosts hold they keep. Then the pool is restored from the table.
 * SOFTDCD_SEED=N repeats a run, SOFTDCD_OPS=N sets its length.
 */

#include "capacity-pool.h"

#include "capacity/accept.h"

/* ---- what was told before the kill ---- */

typedef struct Before {
	GHashTable *accepted[N_DEVICES];  /* DPA of a block -> Told */
	GHashTable *uncertain[N_DEVICES]; /* DPA of blocks that something under way is about */
	GPtrArray *accepts[N_DEVICES];    /* GArray of DcRange: each whole or not at all */
	GHashTable *offers[N_DEVICES];    /* ids */
	uint32_t generation[N_DEVICES];
	bool behind;
	uint64_t n_accepted;
} Before;

typedef struct Told {
	uint64_t alloc, offset;
	const MemFile *file; /* only compared */
	bool dirty;
} Told;

static void add_blocks(GHashTable *blocks, uint64_t dpa, uint64_t len)
{
	for (uint64_t at = dpa; at < dpa + len; at += BLOCK)
		g_hash_table_add(blocks, GSIZE_TO_POINTER(at));
}

static void note_accept(Before *before, unsigned index, const Accept *accept)
{
	GArray *ranges = g_array_new(FALSE, FALSE, sizeof(DcRange));

	for (guint i = 0; i < accept->pieces->len; i++) {
		const AcceptPiece *piece = &g_array_index(accept->pieces, AcceptPiece, i);
		DcRange range = { piece->dpa, piece->len };

		add_blocks(before->uncertain[index], range.dpa, range.len);
		g_array_append_val(ranges, range);
	}
	g_ptr_array_add(before->accepts[index], ranges);
}

static void note_device(Before *before, unsigned index, DcDevice *dev)
{
	GHashTableIter iter;
	Offer *offer;

	before->accepted[index] = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	before->uncertain[index] = g_hash_table_new(NULL, NULL);
	before->offers[index] = g_hash_table_new(NULL, NULL);
	before->accepts[index] = g_ptr_array_new_with_free_func((GDestroyNotify)g_array_unref);
	before->generation[index] = dev->generation;
	for (Extent *extent = extent_list_at(dev->list, 0); extent;
	     extent = extent_list_next(dev->list, extent)) {
		if (extent->locked)
			add_blocks(before->uncertain[index], extent->dpa, extent->len);
		for (uint64_t at = 0; at < extent->len; at += BLOCK) {
			Told told = { extent->alloc, extent->mem_offset + at,
				      extent->offer->mem->file, extent->offer->mem->dirty };

			g_hash_table_insert(before->accepted[index],
					    GSIZE_TO_POINTER(extent->dpa + at),
					    g_memdup2(&told, sizeof(told)));
			before->n_accepted++;
		}
	}
	for (guint i = 0; i < dev->accepts->len; i++)
		note_accept(before, index, dev->accepts->pdata[i]);
	g_hash_table_iter_init(&iter, dev->offers);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&offer))
		if (!offer->journaling && !offer->accept)
			g_hash_table_add(before->offers[index], GSIZE_TO_POINTER(offer->id));
}

static void before_clear(Before *before)
{
	for (unsigned i = 0; i < N_DEVICES; i++) {
		g_hash_table_unref(before->accepted[i]);
		g_hash_table_unref(before->uncertain[i]);
		g_hash_table_unref(before->offers[i]);
		g_ptr_array_unref(before->accepts[i]);
	}
}

/* ---- the kill ---- */

static bool is_quiet(Model *model)
{
	for (guint i = 0; i < model->pending->len; i++)
		if (((Pending *)model->pending->pdata[i])->kind == PENDING_JOURNAL)
			return false;
	for (unsigned i = 0; i < N_DEVICES; i++) {
		const DcDevice *dev = model->devices[i].dc;

		for (guint j = 0; j < dev->accepts->len; j++)
			if (accept_is_recorded(dev->accepts->pdata[j]))
				return false;
	}
	return !capacity_is_behind(model->cap);
}

/* Of the records on their way the first few have become durable, unheard. */
static void end_journal(Model *model)
{
	bool ends = false;

	for (guint i = 0; i < model->pending->len; i++) {
		const Pending *pending = model->pending->pdata[i];

		if (pending->kind != PENDING_JOURNAL)
			continue;
		ends |= model_chance(model, 30) || pending->record->epoch <= model->failed_epoch;
		if (!ends)
			row_table_apply(model->table, pending->record);
	}
}

static void end_pending(Model *model)
{
	for (guint i = 0; i < model->pending->len; i++) {
		Pending *pending = model->pending->pdata[i];

		if (pending->kind != PENDING_WIPE)
			continue;
		if (model_chance(model, 50))
			wipe_job_run(pending->job);
		wipe_job_finish(pending->job);
	}
	g_ptr_array_set_size(model->pending, 0);
	for (guint i = 0; i < model->answers->len; i++)
		((Answer *)model->answers->pdata[i])->n_calls = 1;
}

static void kill_daemon(Model *model)
{
	end_journal(model);
	capacity_free(model->cap);
	backend_free(model->ram);
	end_pending(model);
	for (unsigned i = 0; i < N_DEVICES; i++) {
		empty_log(&model->devices[i]);
		model->devices[i].reserved = 0;
		model->devices[i].attached = false;
	}
	model->failed_epoch = 0;
}

/* The keeper of descriptors was killed too, or some of what it had. */
static GHashTable *lose_files(Model *model)
{
	GHashTable *lost = g_hash_table_new_full(NULL, NULL, (GDestroyNotify)mem_file_unref, NULL);
	int percent = model_chance(model, 10) ? 30 : 0;
	GHashTableIter iter;
	MemFile *file;

	g_hash_table_iter_init(&iter, model->table->files);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&file)) {
		if (!model_chance(model, percent))
			continue;
		g_hash_table_add(lost, mem_file_ref(file));
		g_hash_table_iter_remove(&iter);
	}
	return lost;
}

/* ---- the restart ---- */

/* A file opened again by its path is the same memory: who could write to it still can. */
static void same_file(Model *model, MemFile *old, MemFile *new_file)
{
	for (guint i = 0; i < model->processes->len; i++) {
		Process *process = model->processes->pdata[i];

		for (guint j = 0; j < process->maps->len; j++) {
			ModelMap *map = &g_array_index(process->maps, ModelMap, j);

			if (map->file != old)
				continue;
			mem_file_unref(map->file);
			map->file = mem_file_ref(new_file);
		}
		for (guint j = 0; j < process->files->len; j++) {
			if (process->files->pdata[j] != old)
				continue;
			mem_file_unref(process->files->pdata[j]);
			process->files->pdata[j] = mem_file_ref(new_file);
		}
	}
}

static void restore(Model *model, const CapacityOps *ops)
{
	g_autoptr(RowRecord) rows = row_table_load(model->table);
	GError *error = NULL;

	model->cap = capacity_new(ops, model);
	capacity_restore_begin(model->cap, rows, &error);
	g_assert_no_error(error);
	for (guint i = 0; capacity_restore_device(model->cap, i); i++) {
		const RowDevice *row = capacity_restore_device(model->cap, i);

		if (strcmp(row->name, "dev0") == 0)
			model->ram = capacity_restore_take_static(model->cap, row, 0);
	}
	for (unsigned i = 0; i < N_DEVICES; i++)
		add_device(model, i);
	capacity_restore_end(model->cap, &error);
	g_assert_no_error(error);
}

static void restart(Model *model, const CapacityOps *ops)
{
	MemFile *files[N_BACKENDS];

	for (unsigned i = 0; i < N_BACKENDS; i++)
		files[i] = mem_file_ref(backend_peek_file(model->backends[i]));
	kill_daemon(model);
	restore(model, ops);
	for (unsigned i = 0; i < N_BACKENDS; i++) {
		model->backends[i] = capacity_peek_backend(model->cap, backend_rows[i].name);
		g_assert_nonnull(model->backends[i]);
		if (backend_rows[i].type == BACKEND_FILE)
			same_file(model, files[i], backend_peek_file(model->backends[i]));
		mem_file_unref(files[i]);
	}
}

/* ---- what must be there ---- */

static bool is_lost(GHashTable *lost, const Told *told)
{
	return told && told->file && g_hash_table_contains(lost, told->file);
}

static void check_accepts(const Before *before, unsigned index, DcDevice *dev)
{
	for (guint i = 0; i < before->accepts[index]->len; i++) {
		const GArray *ranges = before->accepts[index]->pdata[i];
		guint n = 0;

		for (guint j = 0; j < ranges->len; j++) {
			const DcRange *range = &g_array_index(ranges, DcRange, j);
			DcExtent extent;

			n += dc_device_find_extent(dev, range->dpa, &extent) &&
			     extent.dpa == range->dpa && extent.len == range->len;
		}
		g_assert_true(n == 0 || n == ranges->len);
	}
}

static void check_told(const Before *before, unsigned index, DcDevice *dev, GHashTable *lost)
{
	GHashTableIter iter;
	gpointer at;
	Told *told;

	g_hash_table_iter_init(&iter, before->accepted[index]);
	while (g_hash_table_iter_next(&iter, &at, (gpointer *)&told)) {
		uint64_t dpa = GPOINTER_TO_SIZE(at);
		DcExtent extent;

		if (g_hash_table_contains(before->uncertain[index], at) || is_lost(lost, told))
			continue;
		g_assert_true(dc_device_find_extent(dev, dpa, &extent));
		g_assert_cmpuint(extent.alloc, ==, told->alloc);
		g_assert_cmpuint(extent.backend_offset + (dpa - extent.dpa), ==, told->offset);
	}
}

static void check_nothing_else(const Before *before, unsigned index, DcDevice *dev,
			       GHashTable *lost)
{
	for (Extent *extent = extent_list_at(dev->list, 0); extent;
	     extent = extent_list_next(dev->list, extent)) {
		for (uint64_t dpa = extent->dpa; dpa < extent_end(extent); dpa += BLOCK) {
			gpointer at = GSIZE_TO_POINTER(dpa);
			const Told *told = g_hash_table_lookup(before->accepted[index], at);
			bool is_uncertain = g_hash_table_contains(before->uncertain[index], at);

			g_assert_true(told || is_uncertain);
			/* It would read as zeros: on its way out, if the journal is slow. */
			if (is_lost(lost, told) && told->dirty && !is_uncertain)
				g_assert_true(extent->locked && extent->map_state != MAP_PREPARING);
		}
	}
}

static void check_offers_are_there(const Before *before, unsigned index, DcDevice *dev)
{
	GHashTableIter iter;
	gpointer id;

	g_hash_table_iter_init(&iter, before->offers[index]);
	while (g_hash_table_iter_next(&iter, &id, NULL)) {
		uint64_t number = GPOINTER_TO_SIZE(id);

		g_assert_nonnull(g_hash_table_lookup(dev->offers, &number));
	}
}

static void report_gone(Model *model)
{
	for (guint i = 0; i < model->processes->len; i++) {
		const Process *process = model->processes->pdata[i];

		if (!process->alive)
			capacity_host_gone(model->cap, process->host.serial);
	}
}

static void crash(Model *model, const CapacityOps *ops)
{
	Before before = { .behind = capacity_is_behind(model->cap) };
	g_autoptr(GHashTable) lost = NULL;

	if (is_quiet(model))
		row_table_assert_is(model->table, model->cap);
	for (unsigned i = 0; i < N_DEVICES; i++)
		note_device(&before, i, model->devices[i].dc);
	if (model_chance(model, 20) && model->processes->len > 0) {
		Process *process =
			model->processes->pdata[model_random(model, (int)model->processes->len)];

		if (process->alive)
			process_die(process);
	}
	lost = lose_files(model);
	restart(model, ops);
	capacity_check(model->cap);
	/* Before its journal failed, the pool may have told what it could not keep. */
	for (unsigned i = 0; i < N_DEVICES && !before.behind; i++) {
		DcDevice *dev = model->devices[i].dc;

		g_assert_cmpuint(dev->generation, >=, before.generation[i]);
		check_told(&before, i, dev, lost);
		check_nothing_else(&before, i, dev, lost);
		if (g_hash_table_size(lost) == 0)
			check_accepts(&before, i, dev);
		check_offers_are_there(&before, i, dev);
	}
	report_gone(model);
	capacity_check(model->cap);
	before_clear(&before);
}

static void run(void)
{
	uint64_t n_ops = env_number("SOFTDCD_OPS", 60000), n_crashes = 0;
	RowTable table;
	Model model = { .table = &table };
	const CapacityOps ops = {
		.now_us = op_now_us,
		.wipe = op_wipe,
		.journal = op_journal,
		.notify = op_notify,
	};

	row_table_init(&table);
	set_up(&model);
	model.answer_now = 100;
	model.journal_fail = 0;
	fill(&model, &ops);
	for (uint64_t i = 0; i < n_ops; i++) {
		run_one(&model);
		if (i % 4 == 0)
			check(&model);
		if (model_chance(&model, 1)) {
			crash(&model, &ops);
			n_crashes++;
		}
		if (i % 250 == 249) {
			flush(&model);
			row_table_assert_is(&table, model.cap);
		}
	}
	g_print("# %" PRIu64 " crashes\n", n_crashes);
	tear_down(&model);
	row_table_clear(&table);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/property/restore/killed-at-random", run);
	return g_test_run();
}
