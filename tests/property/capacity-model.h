/* SPDX-License-Identifier: BSD-3-Clause */
/* Model of everything around the capacity core: hosts, link, event log, wipe pool, journal. */
#ifndef TESTS_CAPACITY_MODEL_H
#define TESTS_CAPACITY_MODEL_H

/*
 * A host is a process with maps; it keeps every file it was ever given and may write to it at any
 * time (the descriptor is the capability). What is asked of it waits in a queue and is answered in
 * any order, late, or not at all. The model asserts on the spot what must never happen: a map given
 * to a host while another process can reach the same bytes, or one that shows another's writing.
 */

#include "row-table.h"

#define BLOCK      4096u
#define N_DEVICES  3
#define N_BACKENDS 7
#define LOG_DEPTH  24u

typedef struct ModelMap {
	uint64_t id, dpa, len, offset, incarnation;
	MemFile *file;
	bool exposed, writable;
} ModelMap;

/* A host process; never freed, so that its number can be looked up. */
typedef struct Process {
	DcHost host;
	unsigned device;
	bool alive;
	GArray *maps;     /* ModelMap */
	GPtrArray *files; /* MemFile it was ever given writable, referenced */
} Process;

typedef enum PendingKind {
	PENDING_PREPARE,
	PENDING_EXPOSE,
	PENDING_REVOKE,
	PENDING_DROP,
	PENDING_WIPE,
	PENDING_JOURNAL
} PendingKind;

typedef struct Pending {
	PendingKind kind;
	unsigned device;
	uint64_t req;
	GArray *items; /* DcMap (file referenced), uint64_t or DcMapPart */
	WipeJob *job;
	bool fails; /* wipe: finish without running */
	RowRecord *record;
} Pending;

typedef struct LogRecord {
	uint64_t cookie;
	bool read;
} LogRecord;

typedef struct ModelDevice {
	struct Model *model;
	unsigned index;
	DcDevice *dc;
	Process *process; /* attached or last */
	bool attached;
	GArray *log; /* LogRecord */
	uint32_t reserved;
	bool in_chain;
	uint64_t chain;
} ModelDevice;

typedef struct Answer {
	struct Model *model;
	unsigned n_calls;
	enum cxl_rc rc;
} Answer;

typedef struct Model {
	Capacity *cap;
	GRand *rand;
	uint64_t now_us;
	ModelDevice devices[N_DEVICES];
	GPtrArray *processes;
	GPtrArray *pending;
	GPtrArray *answers; /* Answer: every command ever sent is answered once */
	Backend *backends[N_BACKENDS];
	/* How the world behaves: out of 100 */
	int answer_now, fail, wipe_fail, journal_fail;
	Backend *ram;          /* static, of device 0 */
	char *dir;             /* of files */
	uint64_t failed_epoch; /* of the journal */
	RowTable *table;       /* where the journal goes; NULL = nowhere */
	uint64_t n_notices[NOTICE_N_TYPES];
	uint64_t n_rc[CXL_RC_ABORT_NOT_SUPPORTED + 1];
} Model;

static int model_random(Model *model, int below)
{
	return below > 0 ? g_rand_int_range(model->rand, 0, below) : 0;
}

static bool model_chance(Model *model, int percent)
{
	return model_random(model, 100) < percent;
}

static bool model_overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

/* ---- contents: who wrote last ---- */

static void model_write(Model *model, MemFile *file, uint64_t offset, uint64_t serial)
{
	mem_file_write(file, offset, &serial, sizeof(serial));
}

static uint64_t model_read(MemFile *file, uint64_t offset)
{
	uint64_t serial = 0;

	g_assert_cmpint(mem_file_read(file, offset, &serial, sizeof(serial)), ==, 0);
	return serial;
}

/* ---- what must hold when a host is given memory ---- */

/* The registered backend with this file, NULL if it belongs to an untagged offer. */
static Backend *model_backend_of(Model *model, const MemFile *file)
{
	for (unsigned i = 0; i < N_BACKENDS; i++)
		if (model->backends[i] && backend_peek_file(model->backends[i]) == file)
			return model->backends[i];
	return NULL;
}

static bool model_is_trusted(Model *model, uint64_t serial)
{
	g_assert_cmpuint(serial, <=, model->processes->len);
	return ((Process *)model->processes->pdata[serial - 1])->host.same_uid;
}

static void model_check_map(Model *model, Process *process, const DcMap *map, bool is_new)
{
	Backend *backend = model_backend_of(model, map->file);
	bool wipes = !backend || backend_wipes_on_release(backend);
	bool fresh = wipes && mem_file_is_replaceable(map->file);

	if (backend && backend_is_shareable(backend))
		return;
	if (backend && backend_is_read_only(backend)) {
		g_assert_false(map->writable);
		return;
	}
	for (guint i = 0; i < model->processes->len; i++) {
		Process *other = model->processes->pdata[i];

		if (other == process || !other->alive)
			continue;
		for (guint j = 0; j < other->maps->len; j++) {
			const ModelMap *held = &g_array_index(other->maps, ModelMap, j);

			/* I2, I4: nobody else can reach these bytes. */
			g_assert_false(
				held->file == map->file &&
				model_overlap(held->offset, held->len, map->offset, map->len));
		}
		/* The fd is the capability. */
		if (g_ptr_array_find(other->files, map->file, NULL))
			g_assert_true(other->host.same_uid && !(fresh && is_new));
	}
	if (!is_new || !wipes)
		return;
	/* I4: a new tenant reads zeros, or what it wrote itself in an earlier attempt; where the
	 * file had to stay the same, also what a trusted former host writes against the rules. */
	for (uint64_t at = 0; at < map->len; at += BLOCK) {
		uint64_t serial = model_read(map->file, map->offset + at);

		g_assert_true(serial == 0 || serial == process->host.serial ||
			      (!fresh && model_is_trusted(model, serial)));
	}
}

/* ---- the host side ---- */

static void process_prepare(Model *model, ModelDevice *device, const DcMap *map)
{
	Process *process = device->process;
	ModelMap held = {
		.id = map->id,
		.dpa = map->dpa,
		.len = map->len,
		.offset = map->offset,
		.incarnation = map->incarnation,
		.file = mem_file_ref(map->file),
		.writable = map->writable,
	};

	g_array_append_val(process->maps, held);
}

static void process_expose(Process *process, uint64_t id)
{
	for (guint i = 0; i < process->maps->len; i++) {
		ModelMap *map = &g_array_index(process->maps, ModelMap, i);

		if (map->id == id)
			map->exposed = true;
	}
}

static void process_remove(Process *process, guint index)
{
	mem_file_unref(g_array_index(process->maps, ModelMap, index).file);
	g_array_remove_index(process->maps, index);
}

static void process_drop(Process *process, uint64_t id)
{
	for (guint i = process->maps->len; i-- > 0;)
		if (g_array_index(process->maps, ModelMap, i).id == id)
			process_remove(process, i);
}

static void process_revoke(Process *process, const DcMapPart *part)
{
	for (guint i = process->maps->len; i-- > 0;) {
		ModelMap map = g_array_index(process->maps, ModelMap, i);
		uint64_t start = MAX(map.dpa, part->dpa);
		uint64_t end = MIN(map.dpa + map.len, part->dpa + part->len);
		ModelMap below = map, above = map;

		if (map.id != part->map_id || start >= end)
			continue;
		below.len = start - map.dpa;
		above.dpa = end;
		above.offset += end - map.dpa;
		above.len = map.dpa + map.len - end;
		if (below.len > 0) {
			mem_file_ref(below.file);
			g_array_append_val(process->maps, below);
		}
		if (above.len > 0) {
			mem_file_ref(above.file);
			g_array_append_val(process->maps, above);
		}
		process_remove(process, i);
	}
}

static void process_die(Process *process)
{
	process->alive = false;
	while (process->maps->len > 0)
		process_remove(process, process->maps->len - 1);
	g_ptr_array_set_size(process->files, 0);
}

/* ---- requests to it ---- */

static void pending_free(gpointer data)
{
	Pending *pending = data;

	if (pending->kind == PENDING_PREPARE)
		for (guint i = 0; i < pending->items->len; i++)
			mem_file_unref(g_array_index(pending->items, DcMap, i).file);
	if (pending->items)
		g_array_unref(pending->items);
	g_clear_pointer(&pending->record, row_record_unref);
	g_free(pending);
}

static void model_perform(Model *model, Pending *pending)
{
	ModelDevice *device = &model->devices[pending->device];
	bool ok = true;

	switch (pending->kind) {
	case PENDING_PREPARE:
		ok = !model_chance(model, model->fail);
		/* Refused at the k-th: those before are ready. */
		for (guint i = 0; i < pending->items->len; i++) {
			if (!ok && model_chance(model, 30))
				break;
			process_prepare(model, device, &g_array_index(pending->items, DcMap, i));
		}
		break;
	case PENDING_EXPOSE:
		ok = !model_chance(model, model->fail);
		for (guint i = 0; i < pending->items->len; i++) {
			if (!ok && model_chance(model, 30))
				break;
			process_expose(device->process, g_array_index(pending->items, uint64_t, i));
		}
		break;
	case PENDING_REVOKE:
		for (guint i = 0; i < pending->items->len; i++)
			process_revoke(device->process,
				       &g_array_index(pending->items, DcMapPart, i));
		break;
	case PENDING_DROP:
		for (guint i = 0; i < pending->items->len; i++)
			process_drop(device->process, g_array_index(pending->items, uint64_t, i));
		break;
	case PENDING_WIPE:
		if (!pending->fails)
			wipe_job_run(pending->job);
		wipe_job_finish(pending->job);
		return;
	case PENDING_JOURNAL:
		ok = pending->record->epoch > model->failed_epoch &&
		     !model_chance(model, model->journal_fail);
		if (!ok)
			model->failed_epoch = MAX(model->failed_epoch, pending->record->epoch);
		else if (model->table)
			row_table_apply(model->table, pending->record);
		capacity_journal_done(model->cap, pending->req, ok);
		return;
	}
	dc_device_effect_done(device->dc, pending->req, ok);
	/* Twice, and for one nobody asked: harmless. */
	if (model_chance(model, 10))
		dc_device_effect_done(device->dc, pending->req, !ok);
	if (model_chance(model, 5))
		dc_device_effect_done(device->dc, pending->req + 1000000, true);
}

static void model_submit(Model *model, Pending *pending)
{
	if (model_chance(model, model->answer_now)) {
		model_perform(model, pending);
		pending_free(pending);
	} else {
		g_ptr_array_add(model->pending, pending);
	}
}

static bool is_same_line(const Pending *a, const Pending *b)
{
	if (a->kind == PENDING_JOURNAL || b->kind == PENDING_JOURNAL)
		return a->kind == b->kind;
	return a->kind <= PENDING_DROP && b->kind <= PENDING_DROP && a->device == b->device;
}

/*
 * Messages of one link are handled in order: what a host was asked first it has done before what it
 * is asked later. So are records of the journal. Others in any order.
 */
static bool model_answer(Model *model, guint index)
{
	Pending *pending = model->pending->pdata[index];

	for (guint i = 0; i < index; i++) {
		Pending *other = model->pending->pdata[i];

		if (is_same_line(other, pending)) {
			pending = other;
			index = i;
			break;
		}
	}
	g_ptr_array_steal_index(model->pending, index);
	model_perform(model, pending);
	pending_free(pending);
	return true;
}

static Pending *model_pending(ModelDevice *device, PendingKind kind, uint64_t req,
			      const void *items, guint item_size, size_t n)
{
	Pending *pending = g_new0(Pending, 1);

	pending->kind = kind;
	pending->device = device->index;
	pending->req = req;
	pending->items = g_array_sized_new(FALSE, FALSE, item_size, (guint)n);
	g_array_append_vals(pending->items, items, (guint)n);
	return pending;
}

/* In order behind what waits already, or at once if nothing does. */
static void model_submit_in_line(Model *model, Pending *pending)
{
	for (guint i = 0; i < model->pending->len; i++) {
		if (is_same_line(model->pending->pdata[i], pending)) {
			g_ptr_array_add(model->pending, pending);
			return;
		}
	}
	model_submit(model, pending);
}

static void model_submit_effect(ModelDevice *device, Pending *pending)
{
	model_submit_in_line(device->model, pending);
}

static void op_prepare(void *opaque, uint64_t req, const DcMap *maps, size_t n)
{
	ModelDevice *device = opaque;
	Process *process = device->process;
	Pending *pending;
	DcExtent extent;

	g_assert_true(device->attached && !process->host.control_only && n > 0);
	for (size_t i = 0; i < n; i++) {
		bool known = dc_device_find_extent(device->dc, maps[i].dpa, &extent);

		model_check_map(device->model, process, &maps[i], !known);
		if (maps[i].writable && !g_ptr_array_find(process->files, maps[i].file, NULL))
			g_ptr_array_add(process->files, mem_file_ref(maps[i].file));
	}
	pending = model_pending(device, PENDING_PREPARE, req, maps, sizeof(*maps), n);
	for (size_t i = 0; i < n; i++)
		mem_file_ref(maps[i].file);
	model_submit_effect(device, pending);
}

static void op_expose(void *opaque, uint64_t req, const uint64_t *ids, size_t n)
{
	ModelDevice *device = opaque;

	g_assert_true(device->attached && n > 0);
	model_submit_effect(device,
			    model_pending(device, PENDING_EXPOSE, req, ids, sizeof(*ids), n));
}

static void op_revoke(void *opaque, uint64_t req, const DcMapPart *parts, size_t n)
{
	ModelDevice *device = opaque;

	g_assert_true(device->attached && n > 0);
	/* Without a link nobody hears it; a process that had one before may still map the parts. */
	if (device->process->host.control_only)
		return;
	model_submit_effect(device,
			    model_pending(device, PENDING_REVOKE, req, parts, sizeof(*parts), n));
}

static void op_drop(void *opaque, uint64_t req, const uint64_t *ids, size_t n)
{
	ModelDevice *device = opaque;

	g_assert_true(device->attached && n > 0);
	if (device->process->host.control_only)
		return;
	model_submit_effect(device, model_pending(device, PENDING_DROP, req, ids, sizeof(*ids), n));
}

/* ---- the event log: I7 ---- */

static bool op_log_reserve(void *opaque, uint32_t n)
{
	ModelDevice *device = opaque;

	if (device->log->len + device->reserved + n > LOG_DEPTH)
		return false;
	device->reserved += n;
	return true;
}

static void op_log_unreserve(void *opaque, uint32_t n)
{
	ModelDevice *device = opaque;

	g_assert_cmpuint(device->reserved, >=, n);
	device->reserved -= n;
}

static void op_log_post(void *opaque, const DcEvent *event)
{
	ModelDevice *device = opaque;
	LogRecord record = { event->cookie, false };

	g_assert_cmpuint(device->reserved, >, 0);
	/* Chains do not interleave. */
	if (device->in_chain)
		g_assert_cmpuint(device->chain, ==, event->cookie);
	device->in_chain = event->more;
	device->chain = event->cookie;
	device->reserved--;
	g_array_append_val(device->log, record);
	g_assert_cmpuint(device->log->len + device->reserved, <=, LOG_DEPTH);
}

static void op_log_withdraw(void *opaque, uint64_t cookie)
{
	ModelDevice *device = opaque;

	for (guint i = device->log->len; i-- > 0;) {
		const LogRecord *record = &g_array_index(device->log, LogRecord, i);

		if (record->cookie == cookie && !record->read)
			g_array_remove_index(device->log, i);
	}
}

static const DcDeviceOps model_device_ops = {
	.prepare = op_prepare,
	.expose = op_expose,
	.revoke = op_revoke,
	.drop = op_drop,
	.log_reserve = op_log_reserve,
	.log_unreserve = op_log_unreserve,
	.log_post = op_log_post,
	.log_withdraw = op_log_withdraw,
};

/* ---- wipe pool, journal, clock ---- */

static uint64_t op_now_us(void *opaque)
{
	return ((Model *)opaque)->now_us;
}

static void op_wipe(void *opaque, WipeJob *job)
{
	Model *model = opaque;
	Pending *pending = g_new0(Pending, 1);

	pending->kind = PENDING_WIPE;
	pending->job = job;
	pending->fails = model_chance(model, model->wipe_fail);
	model_submit(model, pending);
}

static void op_journal(void *opaque, uint64_t req, RowRecord *record)
{
	Model *model = opaque;
	Pending *pending = g_new0(Pending, 1);

	pending->kind = PENDING_JOURNAL;
	pending->req = req;
	pending->record = row_record_ref(record);
	model_submit_in_line(model, pending);
}

static void op_notify(void *opaque, const CapacityNotice *notice)
{
	((Model *)opaque)->n_notices[notice->type]++;
}

/* ---- commands ---- */

static void on_answer(void *opaque, enum cxl_rc rc)
{
	Answer *answer = opaque;

	g_assert_cmpuint(answer->n_calls, ==, 0);
	answer->n_calls++;
	answer->rc = rc;
	answer->model->n_rc[rc]++;
}

static Answer *model_answer_new(Model *model)
{
	Answer *answer = g_new0(Answer, 1);

	answer->model = model;
	g_ptr_array_add(model->answers, answer);
	return answer;
}

/* ---- snapshots, for I3 ---- */

static void snapshot_counters(GString *text, const CapacityCounters *c)
{
	g_string_append_printf(
		text, "%" PRIx64 ",%" PRIx64 ",%" PRIx64 ",%" PRIx64 ",%" PRIx64 ",%" PRIx64 ";",
		c->total, c->free, c->reserved, c->accepted, c->draining, c->quarantined);
}

static void snapshot_offer(const OfferInfo *info, void *opaque)
{
	g_string_append_printf(opaque, "o%" PRIu64 ",%d,%zu,%" PRIx64 ";", info->id, info->state,
			       info->n_extents, info->len);
}

static void snapshot_release(const ReleaseInfo *info, void *opaque)
{
	g_string_append_printf(opaque, "r%" PRIu64 ",%d,%u,%" PRIx64 ";", info->id, info->state,
			       info->n_resent, info->len);
}

static void snapshot_backend(Backend *backend, void *opaque)
{
	CapacityCounters c;

	backend_counters(backend, &c);
	g_string_append_printf(opaque, "b%s,%" PRIx64 ",", backend_name(backend),
			       backend_incarnation(backend));
	snapshot_counters(opaque, &c);
}

static void snapshot_device(GString *text, ModelDevice *device)
{
	DcExtent extents[64];
	CapacityCounters c;
	size_t n, start = 0;

	dc_device_counters(device->dc, &c);
	snapshot_counters(text, &c);
	g_string_append_printf(text, "g%u,n%zu,l%u,%u;", dc_device_generation(device->dc),
			       dc_device_n_extents(device->dc), device->log->len, device->reserved);
	while ((n = dc_device_extents(device->dc, start, extents, G_N_ELEMENTS(extents))) > 0) {
		for (size_t i = 0; i < n; i++)
			g_string_append_printf(text, "e%" PRIx64 "+%" PRIx64 ",%" PRIx64 ",%u;",
					       extents[i].dpa, extents[i].len,
					       extents[i].backend_offset, extents[i].order);
		start += n;
	}
	dc_device_foreach_offer(device->dc, snapshot_offer, text);
	dc_device_foreach_release(device->dc, snapshot_release, text);
}

static char *model_snapshot(Model *model)
{
	GString *text = g_string_new(NULL);
	CapacityCounters c;

	capacity_counters(model->cap, &c);
	snapshot_counters(text, &c);
	for (unsigned i = 0; i < N_DEVICES; i++)
		snapshot_device(text, &model->devices[i]);
	capacity_foreach_backend(model->cap, snapshot_backend, text);
	return g_string_free(text, FALSE);
}

#endif
