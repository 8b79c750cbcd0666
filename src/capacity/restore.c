/* SPDX-License-Identifier: BSD-3-Clause */
/* A pool from its rows: what comes in which order, and what rows say by themselves. */
#include "capacity/restore_priv.h"

#include <string.h>

/*
 * Three steps, because devices need their owner's callbacks: begin indexes all rows and makes the
 * backends; the owner adds the devices; end places offers and extents. Nothing is journaled before
 * all of it stands (journal_changes() knows), and then only what differs from the rows.
 */

bool restore_refuse(GError **error, const char *format, ...)
{
	g_autofree char *what = NULL;
	va_list args;

	va_start(args, format);
	what = g_strdup_vprintf(format, args);
	va_end(args);
	g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID, "ledger: %s", what);
	return false;
}

bool restore_is_ram(BackendType type)
{
	return type == BACKEND_MEMFD || type == BACKEND_HUGETLB;
}

/* ---- index ---- */

static bool check_number(uint64_t number, const char *what, GError **error)
{
	return number != 0 || restore_refuse(error, "%s 0: the number means none", what);
}

/* Takes VALUE, if TABLE owns its values, unless the key is 0. */
static bool add_unique(GHashTable *table, const uint64_t *key, gconstpointer value,
		       const char *what, GError **error)
{
	if (!check_number(*key, what, error))
		return false;
	if (!g_hash_table_replace(table, (gpointer)key, (gpointer)value))
		return restore_refuse(error, "%s %" G_GUINT64_FORMAT ": is there twice", what,
				      *key);
	return true;
}

static bool add_name(Restore *restore, const char *kind, const char *name, gconstpointer row,
		     GError **error)
{
	if (!name || !name[0] || !g_utf8_validate(name, -1, NULL))
		return restore_refuse(error, "%s: its name is missing or not UTF-8", kind);
	/* Not one number space: keys tell the kinds apart by the row they lead to. */
	if (!g_hash_table_insert(restore->names, g_strconcat(kind, " ", name, NULL), (gpointer)row))
		return restore_refuse(error, "%s %s: is there twice", kind, name);
	return true;
}

static bool add_host(Restore *restore, const RowHost *row, GError **error)
{
	DcHost *host;

	if (!check_number(row->serial, "host", error))
		return false;
	host = g_new0(DcHost, 1);
	host->serial = row->serial;
	host->pid = row->pid;
	host->start_time = row->start_time;
	host->uid = row->uid;
	return add_unique(restore->cap->hosts, &host->serial, host, "host", error);
}

static bool add_device(Restore *restore, const RowDevice *row, GError **error)
{
	RestoreDevice *device = g_new0(RestoreDevice, 1);

	device->row = row;
	g_ptr_array_add(restore->in_order, device);
	return add_name(restore, "device", row->name, row, error) &&
	       add_unique(restore->devices, &row->id, device, "device", error);
}

static void free_offer(gpointer data)
{
	RestoreOffer *offer = data;

	g_ptr_array_unref(offer->extents);
	g_free(offer);
}

static bool add_offer(Restore *restore, const RowOffer *row, GError **error)
{
	RestoreOffer *offer;

	if (!check_number(row->id, "offer", error))
		return false;
	offer = g_new0(RestoreOffer, 1);
	offer->row = row;
	offer->extents = g_ptr_array_new();
	return add_unique(restore->offers, &row->id, offer, "offer", error);
}

static bool add_file(Restore *restore, const RowFile *row, GError **error)
{
	if (row->offer != 0 && row->backend)
		return restore_refuse(
			error, "file %" G_GUINT64_FORMAT ": belongs to a backend and to an offer",
			row->incarnation);
	return add_unique(restore->files, &row->incarnation, row, "file", error) &&
	       (row->offer == 0 ||
		add_unique(restore->files_of_offers, &row->offer, row, "file of offer", error));
}

static bool add_row(Restore *restore, const RowChange *change, GError **error)
{
	if (change->op != ROW_UPSERT)
		return restore_refuse(error, "a row that is to be deleted");
	switch (change->kind) {
	case ROW_COUNTERS:
		if (restore->has_counters)
			return restore_refuse(error, "counters: are there twice");
		restore->has_counters = true;
		restore->counters = change->counters;
		return true;
	case ROW_HOST:
		return add_host(restore, &change->host, error);
	case ROW_BACKEND:
		return add_name(restore, "backend", change->backend.name, &change->backend, error);
	case ROW_FILE:
		return add_file(restore, &change->file, error);
	case ROW_DEVICE:
		return add_device(restore, &change->device, error);
	case ROW_OFFER:
		return add_offer(restore, &change->offer, error);
	case ROW_EXTENT:
		g_ptr_array_add(restore->extents, (gpointer)&change->extent);
		return true;
	case ROW_REQUEST:
		return add_unique(restore->requests, &change->request.id, &change->request,
				  "release request", error);
	case ROW_HOLDER:
	case ROW_WIPE:
	case ROW_QUARANTINE:
	case ROW_REQUEST_RANGE:
		return true;
	default:
		return restore_refuse(error, "a row of unknown kind %d", (int)change->kind);
	}
}

static bool check_below(const char *what, GHashTable *ids, uint64_t limit, GError **error)
{
	GHashTableIter iter;
	uint64_t *id;

	g_hash_table_iter_init(&iter, ids);
	while (g_hash_table_iter_next(&iter, (gpointer *)&id, NULL))
		if (*id >= limit)
			return restore_refuse(error,
					      "%s %" G_GUINT64_FORMAT
					      ": is not below the counter of its kind, "
					      "%" G_GUINT64_FORMAT,
					      what, *id, limit);
	return true;
}

static bool check_counters(Restore *restore, GError **error)
{
	Capacity *cap = restore->cap;
	const RowCounters *counters = &restore->counters;
	GHashTableIter iter;
	gpointer id;

	/* They are written with the first row that is numbered by them: a pool may have backends
	 * only. */
	if (!restore->has_counters)
		return g_hash_table_size(restore->offers) + g_hash_table_size(restore->requests) +
				       g_hash_table_size(restore->devices) +
				       g_hash_table_size(cap->hosts) + restore->extents->len ==
			       0 ||
		       restore_refuse(error, "there are numbered rows but no counters");
	if (counters->next_id == 0 || counters->next_map == 0 ||
	    counters->next_id > UINT64_MAX / 2 || counters->next_map > UINT64_MAX / 2 ||
	    counters->last_serial > UINT64_MAX / 2)
		return restore_refuse(error, "counters: 0, or nearly used up");
	if (!check_below("offer", restore->offers, counters->next_id, error) ||
	    !check_below("release request", restore->requests, counters->next_id, error) ||
	    !check_below("device", restore->devices, counters->next_map, error) ||
	    !check_below("host", cap->hosts, counters->last_serial + 1, error))
		return false;
	g_hash_table_iter_init(&iter, restore->requests);
	while (g_hash_table_iter_next(&iter, &id, NULL))
		if (g_hash_table_contains(restore->offers, id))
			return restore_refuse(error,
					      "release request %" G_GUINT64_FORMAT
					      ": an offer has the same number",
					      *(uint64_t *)id);
	cap->next_id = counters->next_id;
	cap->next_map = cap->saved_map = counters->next_map;
	cap->last_serial = counters->last_serial;
	return true;
}

/* ---- begin ---- */

static void free_device(gpointer data)
{
	RestoreDevice *device = data;

	g_clear_pointer(&device->quarantined, g_hash_table_unref);
	g_free(device);
}

static void free_backend(gpointer data)
{
	backend_free(data);
}

static Restore *restore_new(Capacity *cap, RowRecord *rows)
{
	Restore *restore = g_new0(Restore, 1);

	restore->cap = cap;
	restore->rows = row_record_ref(rows);
	restore->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	restore->devices = g_hash_table_new(g_int64_hash, g_int64_equal);
	restore->in_order = g_ptr_array_new_with_free_func(free_device);
	restore->files = g_hash_table_new(g_int64_hash, g_int64_equal);
	restore->files_of_offers = g_hash_table_new(g_int64_hash, g_int64_equal);
	restore->memories = g_hash_table_new(g_int64_hash, g_int64_equal);
	restore->statics = g_ptr_array_new_with_free_func(free_backend);
	restore->offers = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, free_offer);
	restore->requests = g_hash_table_new(g_int64_hash, g_int64_equal);
	restore->made = g_hash_table_new(g_int64_hash, g_int64_equal);
	restore->extents = g_ptr_array_new();
	restore->returned = g_ptr_array_new();
	restore->lost = g_hash_table_new(NULL, NULL);
	return restore;
}

void restore_free(Restore *restore)
{
	if (!restore)
		return;
	g_hash_table_unref(restore->names);
	g_hash_table_unref(restore->devices);
	g_ptr_array_unref(restore->in_order);
	g_hash_table_unref(restore->files);
	g_hash_table_unref(restore->files_of_offers);
	g_hash_table_unref(restore->memories);
	g_ptr_array_unref(restore->statics);
	g_hash_table_unref(restore->offers);
	g_hash_table_unref(restore->requests);
	g_hash_table_unref(restore->made);
	g_ptr_array_unref(restore->extents);
	g_ptr_array_unref(restore->returned);
	g_hash_table_unref(restore->lost);
	row_record_unref(restore->rows);
	g_free(restore);
}

bool capacity_restore_begin(Capacity *cap, RowRecord *rows, GError **error)
{
	Restore *restore = restore_new(cap, rows);

	g_assert(!cap->restore && cap->memories.length == 0 &&
		 g_hash_table_size(cap->devices) == 0);
	cap->restore = restore;
	for (guint i = 0; i < rows->changes->len; i++)
		if (!add_row(restore, row_record_at(rows, i), error))
			return false;
	return check_counters(restore, error) && restore_memories(restore, error);
}

const RowDevice *capacity_restore_device(const Capacity *cap, guint index)
{
	const GPtrArray *devices = cap->restore->in_order;

	return index < devices->len ? ((RestoreDevice *)devices->pdata[index])->row : NULL;
}

Backend *capacity_restore_take_static(Capacity *cap, const RowDevice *device, uint64_t static_dpa)
{
	Restore *restore = cap->restore;

	for (guint i = 0; i < restore->statics->len; i++) {
		Backend *mem = restore->statics->pdata[i];

		if (mem->static_of == device->id && mem->static_dpa == static_dpa)
			return g_ptr_array_steal_index_fast(restore->statics, i);
	}
	return NULL;
}

/* ---- devices ---- */

static bool is_same_region(const DcRegionConfig *config, const RowRegion *row)
{
	return config->len == row->len && config->block_size == row->block_size &&
	       config->sharable == row->sharable && config->read_only == row->read_only &&
	       config->sanitize_on_release == row->sanitize_on_release &&
	       config->non_volatile == row->non_volatile;
}

bool restore_device(DcDevice *dev, GError **error)
{
	Capacity *cap = dev->cap;
	g_autofree char *key = g_strconcat("device ", dev->name, NULL);
	const RowDevice *row = g_hash_table_lookup(cap->restore->names, key);
	const DcHost *host;

	if (!row)
		return restore_refuse(error, "device %s: there is no row of it", dev->name);
	if (row->n_regions != dev->n_regions || row->static_len != dev->config.static_len)
		return restore_refuse(error,
				      "device %s: has %u regions above %" G_GUINT64_FORMAT
				      " static bytes, its row %u above %" G_GUINT64_FORMAT,
				      dev->name, dev->n_regions, dev->config.static_len,
				      row->n_regions, row->static_len);
	for (unsigned i = 0; i < dev->n_regions; i++)
		if (!is_same_region(&dev->regions[i].config, &row->regions[i]))
			return restore_refuse(error, "device %s: region %u is not as in its row",
					      dev->name, i);
	host = g_hash_table_lookup(cap->hosts, &row->host);
	if (row->host != 0 && !host)
		return restore_refuse(error, "device %s: its host %" G_GUINT64_FORMAT " has no row",
				      dev->name, row->host);
	dev->id = row->id;
	dev->generation = dev->recorded_generation = row->generation;
	if (host)
		dev->host = *host;
	dev->host.control_only = row->host_control_only;
	dev->host.same_uid = row->host_same_uid;
	dev->host.max_maps = row->host_max_maps;
	((RestoreDevice *)g_hash_table_lookup(cap->restore->devices, &row->id))->dev = dev;
	return true;
}

/* ---- end ---- */

static bool check_devices(const Restore *restore, GError **error)
{
	for (guint i = 0; i < restore->in_order->len; i++) {
		const RestoreDevice *device = restore->in_order->pdata[i];

		if (!device->dev)
			return restore_refuse(error, "device %s: has a row but was not added",
					      device->row->name);
	}
	for (guint i = 0; i < restore->statics->len; i++) {
		const Backend *mem = restore->statics->pdata[i];

		return restore_refuse(error, "backend %s: no device has it as static partition",
				      mem->name);
	}
	return true;
}

bool capacity_restore_end(Capacity *cap, GError **error)
{
	Restore *restore = cap->restore;
	bool ok;

	capacity_enter(cap);
	ok = check_devices(restore, error) && restore_offers(restore, error) &&
	     restore_requests(restore, error);
	if (ok) {
		cap->restore = NULL;
		restore_resume_requests(restore);
		restore_settle(restore);
		restore_free(restore);
	} else {
		/* Nothing half restored is to have any effect. */
		g_array_set_size(cap->work, 0);
		g_array_set_size(cap->notices, 0);
	}
	capacity_leave(cap);
	return ok;
}
