/* SPDX-License-Identifier: BSD-3-Clause */
/* The pool: registry of backends and tags, the queue of what goes out, journal, time. */
#include "capacity/capacity_priv.h"

#include <string.h>

G_DEFINE_QUARK(softdcd - capacity - error - quark, capacity_error)

Capacity *capacity_new(const CapacityOps *ops, void *opaque)
{
	Capacity *cap = g_new0(Capacity, 1);

	cap->ops = *ops;
	cap->opaque = opaque;
	cap->backends_by_name = g_hash_table_new(g_str_hash, g_str_equal);
	cap->backends_by_tag = g_hash_table_new(uuid_key_hash, uuid_key_equal);
	cap->devices = g_hash_table_new(g_str_hash, g_str_equal);
	cap->hosts = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
	cap->epoch = 1;
	cap->replace_us = NEVER;
	cap->next_id = cap->next_map = cap->next_req = 1;
	cap->announced_deadline_us = NEVER;
	cap->work = g_array_new(FALSE, FALSE, sizeof(Work));
	cap->notices = g_array_new(FALSE, FALSE, sizeof(CapacityNotice));
	return cap;
}

void capacity_free(Capacity *cap)
{
	g_autoptr(GPtrArray) devices = NULL;

	if (!cap)
		return;
	g_assert(cap->depth == 0);
	restore_free(cap->restore);
	wipe_jobs_orphan(cap);
	devices = hash_table_values(cap->devices);
	for (guint i = 0; i < devices->len; i++)
		dc_device_discard(devices->pdata[i]);
	while (cap->memories.head)
		memory_discard(cap->memories.head->data);
	journal_free(cap);
	g_hash_table_unref(cap->backends_by_name);
	g_hash_table_unref(cap->backends_by_tag);
	g_hash_table_unref(cap->devices);
	g_hash_table_unref(cap->hosts);
	g_array_unref(cap->work);
	g_array_unref(cap->notices);
	g_free(cap);
}

GPtrArray *hash_table_values(GHashTable *table)
{
	GPtrArray *values = g_ptr_array_sized_new(g_hash_table_size(table));
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, table);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		g_ptr_array_add(values, value);
	return values;
}

/* ---- what goes out ---- */

void capacity_queue_work(Capacity *cap, const Work *work)
{
	g_assert(cap->depth > 0);
	g_array_append_vals(cap->work, work, 1);
}

void capacity_queue(Capacity *cap, WorkFunc run, void *object, uint64_t number)
{
	Work work = { .run = run, .object = object, .number = number };

	capacity_queue_work(cap, &work);
}

void capacity_enter(Capacity *cap)
{
	cap->depth++;
}

/* Notices first: what they name may be freed by the work that follows. */
static void run_queue(Capacity *cap)
{
	for (;;) {
		if (cap->n_notices_done < cap->notices->len) {
			CapacityNotice notice = g_array_index(cap->notices, CapacityNotice,
							      cap->n_notices_done++);

			cap->ops.notify(cap->opaque, &notice);
		} else if (cap->n_work_done < cap->work->len) {
			Work work = g_array_index(cap->work, Work, cap->n_work_done++);

			work.run(cap, &work);
		} else {
			break;
		}
	}
	cap->n_notices_done = cap->n_work_done = 0;
	g_array_set_size(cap->notices, 0);
	g_array_set_size(cap->work, 0);
}

static void announce_deadline(Capacity *cap)
{
	uint64_t deadline_us = capacity_next_deadline_us(cap);
	bool earlier = deadline_us < cap->announced_deadline_us;

	cap->announced_deadline_us = deadline_us;
	if (earlier)
		cap->ops.deadline_changed(cap->opaque);
}

void capacity_leave(Capacity *cap)
{
	if (cap->depth == 1) {
		run_queue(cap);
		if (cap->ops.deadline_changed)
			announce_deadline(cap);
		/* Should the callback have led to more. */
		run_queue(cap);
	}
	cap->depth--;
}

void capacity_tell(Capacity *cap, CapacityNoticeType type, const Offer *offer, uint64_t dpa,
		   uint64_t len)
{
	CapacityNotice notice = {
		.type = type,
		.device = offer->dev,
		.backend = offer->mem && !offer->mem->untagged ? offer->mem : NULL,
		.offer = offer->id,
		.dpa = dpa,
		.len = len,
		.tag = offer->tag,
	};

	if (cap->ops.notify)
		g_array_append_val(cap->notices, notice);
}

void capacity_tell_backend(Capacity *cap, CapacityNoticeType type, Backend *backend)
{
	CapacityNotice notice = {
		.type = type,
		.backend = backend->untagged ? NULL : backend,
		.len = backend->size,
		.tag = backend->tag,
	};

	if (cap->ops.notify)
		g_array_append_val(cap->notices, notice);
}

uint64_t capacity_now_us(const Capacity *cap)
{
	return cap->ops.now_us(cap->opaque);
}

/* ---- time ---- */

void capacity_tick(Capacity *cap)
{
	g_autoptr(GPtrArray) devices = hash_table_values(cap->devices);
	uint64_t now_us = capacity_now_us(cap);

	capacity_enter(cap);
	for (guint i = 0; i < devices->len; i++)
		dc_device_tick(devices->pdata[i], now_us);
	journal_tick(cap, now_us);
	capacity_leave(cap);
}

uint64_t capacity_next_deadline_us(const Capacity *cap)
{
	uint64_t deadline_us = journal_deadline_us(cap);
	GHashTableIter iter;
	DcDevice *dev;

	g_hash_table_iter_init(&iter, cap->devices);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&dev))
		deadline_us = MIN(deadline_us, dc_device_deadline_us(dev));
	return deadline_us;
}

void capacity_counters(const Capacity *cap, CapacityCounters *ret)
{
	*ret = cap->bytes;
}

/* ---- backends ---- */

bool capacity_add_backend(Capacity *cap, Backend *backend, GError **error)
{
	const Backend *other = g_hash_table_lookup(cap->backends_by_tag, &backend->tag);
	char text[UUID_TEXT_SIZE];

	if (backend->cap) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY,
			    "backend %s: is in a pool already", backend->name);
		return false;
	}
	if (g_hash_table_contains(cap->backends_by_name, backend->name)) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY,
			    "backend %s: the name is taken; choose another", backend->name);
		return false;
	}
	if (other) {
		uuid_format(&backend->tag, text);
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY,
			    "backend %s: tag %s belongs to backend %s; tags are unique in a pool",
			    backend->name, text, other->name);
		return false;
	}
	g_hash_table_insert(cap->backends_by_name, backend->name, backend);
	if (!uuid_is_null(&backend->tag))
		g_hash_table_insert(cap->backends_by_tag, &backend->tag, backend);
	memory_join(cap, backend);
	capacity_enter(cap);
	rows_add_backend(backend, journal_changes(cap));
	rows_add_file(backend, true, backend->dirty, journal_changes(cap));
	capacity_leave(cap);
	return true;
}

static Backend *find_backend(const Capacity *cap, const char *name, GError **error)
{
	Backend *backend = g_hash_table_lookup(cap->backends_by_name, name);

	if (!backend)
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_NOT_FOUND,
			    "backend %s: there is none of this name", name);
	return backend;
}

Backend *capacity_remove_backend(Capacity *cap, const char *name, GError **error)
{
	Backend *backend = find_backend(cap, name, error);
	const Offer *offer;

	if (!backend)
		return NULL;
	if (backend->offers.length > 0) {
		offer = backend->offers.head->data;
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY,
			    "backend %s: is in use by offer %" G_GUINT64_FORMAT " on %s; %s", name,
			    offer->id, offer->dev->name,
			    offer->pending ? "withdraw it first" : "release it first");
		return NULL;
	}
	if (!memory_is_idle(backend) || backend->bytes.free != backend->bytes.total) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY, "backend %s: %s", name,
			    backend->state == MEMORY_QUARANTINED
				    ? "is quarantined; reclaim it first"
				    : "is still draining; try again");
		return NULL;
	}
	g_hash_table_remove(cap->backends_by_name, backend->name);
	if (!uuid_is_null(&backend->tag))
		g_hash_table_remove(cap->backends_by_tag, &backend->tag);
	capacity_enter(cap);
	rows_delete_backend(backend->name, journal_changes(cap));
	rows_delete_file(backend->incarnation, journal_changes(cap));
	memory_leave(backend);
	capacity_leave(cap);
	return backend;
}

Backend *capacity_peek_backend(const Capacity *cap, const char *name)
{
	return g_hash_table_lookup(cap->backends_by_name, name);
}

Backend *capacity_peek_backend_by_tag(const Capacity *cap, const Uuid *tag)
{
	return g_hash_table_lookup(cap->backends_by_tag, tag);
}

bool capacity_reclaim_backend(Capacity *cap, const char *name, GError **error)
{
	Backend *backend = find_backend(cap, name, error);
	bool ok;

	if (!backend)
		return false;
	capacity_enter(cap);
	ok = memory_reclaim(backend, error);
	capacity_leave(cap);
	return ok;
}

static int compare_names(gconstpointer a, gconstpointer b)
{
	const Backend *x = *(Backend *const *)a, *y = *(Backend *const *)b;

	return strcmp(x->name, y->name);
}

void capacity_foreach_backend(Capacity *cap, void (*func)(Backend *, void *), void *opaque)
{
	g_autoptr(GPtrArray) all = hash_table_values(cap->backends_by_name);

	g_ptr_array_sort(all, compare_names);
	for (guint i = 0; i < all->len; i++)
		func(all->pdata[i], opaque);
}
