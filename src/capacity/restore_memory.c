/* SPDX-License-Identifier: BSD-3-Clause */
/* Backends from their rows: files, who holds them, what is lost, what is to be wiped. */
#include "capacity/restore_priv.h"

#define U64 "%" G_GUINT64_FORMAT

/* ---- what rows say of one ---- */

static bool check_backend(const Restore *restore, const RowBackend *row, const RowFile *file,
			  GError **error)
{
	bool has_path = row->path && row->path[0];

	if ((unsigned)row->type > BACKEND_DEVDAX || row->size == 0 || row->size > INT64_MAX)
		return restore_refuse(error, "backend %s: type %d or size " U64 " is impossible",
				      row->name, (int)row->type, row->size);
	if (has_path == restore_is_ram(row->type))
		return restore_refuse(error, "backend %s: %s a path", row->name,
				      has_path ? "memory has" : "a file needs");
	if (row->read_only && row->wipes)
		return restore_refuse(error, "backend %s: read-only memory cannot be wiped",
				      row->name);
	if (row->device != 0 && !g_hash_table_contains(restore->devices, &row->device))
		return restore_refuse(error, "backend %s: its device " U64 " has no row", row->name,
				      row->device);
	if (row->device != 0 && (row->shareable || !uuid_is_null(&row->tag)))
		return restore_refuse(error,
				      "backend %s: a static partition with a tag, or shareable",
				      row->name);
	if (!file)
		return restore_refuse(error, "backend %s: its file " U64 " has no row", row->name,
				      row->incarnation);
	if (g_strcmp0(file->backend, row->name) != 0 || file->offer != 0 ||
	    file->type != row->type || file->len != row->size ||
	    file->page_size != row->page_size || file->read_only != row->read_only)
		return restore_refuse(error,
				      "backend %s: its file " U64 " is another's or unlike it",
				      row->name, row->incarnation);
	return true;
}

static bool check_file(const RowFile *row, GError **error)
{
	if (!row->file)
		return true;
	if (mem_file_type(row->file) != row->type || mem_file_len(row->file) != row->len)
		return restore_refuse(error,
				      "file " U64 ": its descriptor is of another size or type",
				      row->incarnation);
	return true;
}

/* What is to be opened by path is there: it would be made anew otherwise, and empty. */
static MemFile *open_file(const RowBackend *row, GError **error)
{
	MemFileConfig config = {
		.name = row->name,
		.type = row->type,
		.len = row->size,
		.page_size = row->page_size,
		.path = row->path,
		.read_only = row->read_only,
	};
	MemFile *file;
	int rc;

	if (!restore_is_ram(row->type) && !g_file_test(row->path, G_FILE_TEST_EXISTS)) {
		restore_refuse(error,
			       "backend %s: %s is not there (any more); put it back before the "
			       "pool can start",
			       row->name, row->path);
		return NULL;
	}
	file = mem_file_new(&config, error);
	if (!file)
		g_prefix_error(error, "ledger: backend %s: ", row->name);
	rc = file && row->prealloc ? mem_file_populate(file) : 0;
	if (rc == 0)
		return file;
	restore_refuse(error, "backend %s: preallocating " U64 " bytes: %s", row->name, row->size,
		       g_strerror(-rc));
	mem_file_unref(file);
	return NULL;
}

/* ---- named and static ones ---- */

static void lose(Restore *restore, Backend *mem, const RowFile *row)
{
	mem->incarnation = backend_new_incarnation();
	mem->dirty = false;
	g_hash_table_insert(restore->lost, mem, (gpointer)row);
}

static void add_static(Restore *restore, Backend *mem, const RowBackend *row)
{
	mem->static_of = row->device;
	mem->static_dpa = row->static_dpa;
	mem->static_map_id = row->map_id;
	mem->static_host = row->host;
	g_ptr_array_add(restore->statics, mem);
}

static bool add_named(Restore *restore, Backend *mem, GError **error)
{
	Capacity *cap = restore->cap;

	if (capacity_add_backend(cap, mem, error))
		return true;
	g_prefix_error(error, "ledger: ");
	backend_free(mem);
	return false;
}

static bool restore_backend(Restore *restore, const RowBackend *row, GError **error)
{
	const RowFile *file_row = g_hash_table_lookup(restore->files, &row->incarnation);
	MemFile *file = NULL;
	Backend *mem;

	if (!check_backend(restore, row, file_row, error) || !check_file(file_row, error))
		return false;
	if (restore_is_ram(row->type) && file_row->file)
		file = mem_file_ref(file_row->file);
	else
		file = open_file(row, error);
	if (!file)
		return false;
	mem = memory_restore(row, file_row, file);
	mem->is_restored = true;
	/* The keys of named ones stay theirs, lost or not. */
	g_hash_table_insert(restore->memories, (gpointer)&file_row->incarnation, mem);
	if (restore_is_ram(row->type) && !file_row->file)
		lose(restore, mem, file_row);
	if (row->device == 0)
		return add_named(restore, mem, error);
	add_static(restore, mem, row);
	return true;
}

/* ---- who holds what ---- */

static bool restore_holder(Restore *restore, const RowHolder *row, GError **error)
{
	Backend *mem = g_hash_table_lookup(restore->memories, &row->incarnation);
	const RowFile *file = g_hash_table_lookup(restore->files, &row->incarnation);
	Holder holder = {
		.serial = row->serial,
		.same_uid = row->same_uid,
		.ghost = row->ghost,
		.wiped = row->wiped,
		.gone = row->gone,
	};

	if (!file)
		return restore_refuse(error, "holder " U64 " of file " U64 ": the file has no row",
				      row->serial, row->incarnation);
	if (row->serial == 0)
		return restore_refuse(error, "holder of file " U64 ": host 0 is none",
				      row->incarnation);
	/* Of an untagged offer: comes with it. Of lost memory: what it holds is another file. */
	if (!mem || g_hash_table_contains(restore->lost, mem))
		return true;
	/* One that has ended loses its row first, then the others that name it. */
	if (!g_hash_table_contains(restore->cap->hosts, &row->serial))
		holder.gone = true;
	for (guint i = 0; i < array_len(mem->holders); i++)
		if (g_array_index(mem->holders, Holder, i).serial == row->serial)
			return restore_refuse(error,
					      "holder " U64 " of file " U64 ": is there twice",
					      row->serial, row->incarnation);
	if (!mem->holders)
		mem->holders = g_array_new(FALSE, FALSE, sizeof(Holder));
	g_array_append_val(mem->holders, holder);
	return true;
}

static bool restore_wipe(Restore *restore, const RowWipe *row, GError **error)
{
	Backend *mem = g_hash_table_lookup(restore->memories, &row->incarnation);

	if (!mem || row->len == 0 || row->offset >= mem->size || row->len > mem->size - row->offset)
		return restore_refuse(error,
				      "wipe of file " U64 ": offset " U64 " and length " U64
				      " are beyond it, or no backend has it",
				      row->incarnation, row->offset, row->len);
	if (g_hash_table_contains(restore->lost, mem))
		return true;
	if (!mem->sanitize)
		mem->sanitize = g_hash_table_new(NULL, NULL);
	g_hash_table_insert(mem->sanitize, GSIZE_TO_POINTER((gsize)row->offset),
			    GSIZE_TO_POINTER((gsize)row->len));
	return true;
}

bool restore_memories(Restore *restore, GError **error)
{
	const RowRecord *rows = restore->rows;

	for (guint i = 0; i < rows->changes->len; i++) {
		const RowChange *change = row_record_at(rows, i);

		if (change->kind == ROW_BACKEND &&
		    !restore_backend(restore, &change->backend, error))
			return false;
	}
	for (guint i = 0; i < rows->changes->len; i++) {
		const RowChange *change = row_record_at(rows, i);

		if (change->kind == ROW_FILE && !change->file.offer &&
		    !g_hash_table_contains(restore->memories, &change->file.incarnation))
			return restore_refuse(error,
					      "file " U64 ": its backend %s has another, or no row",
					      change->file.incarnation,
					      change->file.backend ? change->file.backend : "");
	}
	return true;
}

bool restore_holders(Restore *restore, GError **error)
{
	const RowRecord *rows = restore->rows;

	for (guint i = 0; i < rows->changes->len; i++) {
		const RowChange *change = row_record_at(rows, i);

		if ((change->kind == ROW_HOLDER &&
		     !restore_holder(restore, &change->holder, error)) ||
		    (change->kind == ROW_WIPE && !restore_wipe(restore, &change->wipe, error)))
			return false;
	}
	return true;
}

/* ---- of untagged offers ---- */

Backend *restore_untagged(Restore *restore, const RowOffer *row, GError **error)
{
	const RowFile *file = g_hash_table_lookup(restore->files_of_offers, &row->id);
	Backend *mem;

	if (row->mem_len == 0 || row->mem_len > INT64_MAX || row->mem_len % 4096 != 0) {
		restore_refuse(error, "offer " U64 ": memory of " U64 " bytes is impossible",
			       row->id, row->mem_len);
		return NULL;
	}
	if (file && (file->len != row->mem_len || file->type != BACKEND_MEMFD ||
		     file->page_size != 0 || file->read_only)) {
		restore_refuse(error, "offer " U64 ": its file " U64 " is unlike its memory",
			       row->id, file->incarnation);
		return NULL;
	}
	if (file && !check_file(file, error))
		return NULL;
	mem = memory_restore_untagged(restore->cap, row, file);
	if (file && !file->file)
		g_hash_table_insert(restore->lost, mem, (gpointer)file);
	else if (file)
		g_hash_table_insert(restore->memories, (gpointer)&file->incarnation, mem);
	return mem;
}

/* ---- what is due ---- */

/* One that had offers of it accepted is taken out from under them; it must never read as zeros. */
static void take_lost(Backend *mem)
{
	GPtrArray *offers = g_ptr_array_new();

	for (const GList *link = mem->offers.head; link; link = link->next)
		g_ptr_array_add(offers, link->data);
	for (guint i = 0; i < offers->len; i++) {
		Offer *offer = offers->pdata[i];
		g_autoptr(GPtrArray) accepted = g_ptr_array_new();

		for (const GList *link = offer->live.head; link; link = link->next)
			if (((Extent *)link->data)->state == EXTENT_ACCEPTED)
				g_ptr_array_add(accepted, link->data);
		if (mem->untagged)
			capacity_tell(mem->cap, NOTICE_CONTENTS_LOST, offer, 0, mem->size);
		if (accepted->len > 0)
			requests_force(offer->dev, accepted);
	}
	g_ptr_array_unref(offers);
}

static void settle_lost(gpointer key, gpointer value, gpointer opaque)
{
	Backend *mem = key;
	const RowFile *row = value;
	RowRecord *record = journal_changes(mem->cap);

	rows_delete_file(row->incarnation, record);
	if (!mem->untagged) {
		rows_add_file(mem, true, false, record);
		rows_add_backend(mem, record);
	}
	/* Zeros in place of zeros are no loss. */
	if (!row->dirty)
		return;
	if (!mem->untagged)
		capacity_tell_backend(mem->cap, NOTICE_CONTENTS_LOST, mem);
	if (!mem->is_static)
		take_lost(mem);
}

static bool has_known_past(const Backend *mem)
{
	for (guint i = 0; i < array_len(mem->holders); i++)
		if (!g_array_index(mem->holders, Holder, i).wiped)
			return true;
	return false;
}

/* An acceptance under way when the daemon ended may have left maps nobody knows of. */
static void doubt_holders(Backend *mem)
{
	for (guint i = 0; i < array_len(mem->holders); i++)
		g_array_index(mem->holders, Holder, i).uncertain = true;
}

/* A static partition that was about to begin anew for the present one. */
static bool is_of_former_host(const Backend *mem)
{
	for (guint i = 0; i < array_len(mem->holders); i++) {
		const Holder *holder = &g_array_index(mem->holders, Holder, i);

		if (!holder->wiped && (holder->ghost || holder->gone))
			return true;
	}
	return false;
}

static void delete_orphans(Restore *restore)
{
	GHashTableIter iter;
	RestoreOffer *offer;
	const RowFile *file;

	g_hash_table_iter_init(&iter, restore->offers);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&offer))
		if (!offer->offer)
			rows_delete_offer(offer->row->id, journal_changes(restore->cap));
	g_hash_table_iter_init(&iter, restore->files_of_offers);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&file)) {
		offer = g_hash_table_lookup(restore->offers, &file->offer);
		if (!offer || !offer->offer || !offer->offer->mem)
			rows_delete_file(file->incarnation, journal_changes(restore->cap));
	}
}

void restore_settle(Restore *restore)
{
	delete_orphans(restore);
	for (guint i = 0; i < restore->returned->len; i++)
		memory_return(restore->returned->pdata[i]);
	g_hash_table_foreach(restore->lost, settle_lost, NULL);
	for (const GList *link = restore->cap->memories.head; link; link = link->next) {
		Backend *mem = link->data;

		if (mem->dirty && mem->is_static && mem->wipes && is_of_former_host(mem))
			memory_renew_static(mem);
		if (mem->is_static)
			continue;
		doubt_holders(mem);
		if (!mem->dirty)
			continue;
		mem->past_unknown = mem->wipes && !has_known_past(mem);
		memory_settle_later(mem);
	}
}
