/* SPDX-License-Identifier: BSD-3-Clause */
/* A ledger in memory: applies records of rows, keeps descriptors, gives all back for a restart. */
#ifndef TESTS_ROW_TABLE_H
#define TESTS_ROW_TABLE_H

#include "capacity/capacity_priv.h"

#include <inttypes.h>

typedef struct RowTable {
	GHashTable *rows;  /* key as text -> RowRecord of one change */
	GHashTable *files; /* incarnation as text -> MemFile: what a keeper holds */
} RowTable;

static void row_table_init(RowTable *table)
{
	table->rows = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
					    (GDestroyNotify)row_record_unref);
	table->files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
					     (GDestroyNotify)mem_file_unref);
}

static void row_table_clear(RowTable *table)
{
	g_hash_table_unref(table->rows);
	g_hash_table_unref(table->files);
}

static char *row_key(const RowChange *row)
{
	switch (row->kind) {
	case ROW_HOST:
		return g_strdup_printf("host %" PRIu64, row->host.serial);
	case ROW_BACKEND:
		return g_strdup_printf("backend %s", row->backend.name);
	case ROW_FILE:
		return g_strdup_printf("file %" PRIx64, row->file.incarnation);
	case ROW_HOLDER:
		return g_strdup_printf("of %" PRIx64 " holder %" PRIu64, row->holder.incarnation,
				       row->holder.serial);
	case ROW_WIPE:
		return g_strdup_printf("of %" PRIx64 " wipe %" PRIx64, row->wipe.incarnation,
				       row->wipe.offset);
	case ROW_DEVICE:
		return g_strdup_printf("device %" PRIu64, row->device.id);
	case ROW_OFFER:
		return g_strdup_printf("offer %" PRIu64, row->offer.id);
	case ROW_EXTENT:
		return g_strdup_printf("extent %" PRIu64 " %" PRIx64, row->extent.device,
				       row->extent.dpa);
	case ROW_QUARANTINE:
		return g_strdup_printf("quarantine %" PRIu64 " %" PRIx64, row->quarantine.device,
				       row->quarantine.dpa);
	case ROW_REQUEST:
		return g_strdup_printf("request %" PRIu64, row->request.id);
	case ROW_REQUEST_RANGE:
		return g_strdup_printf("in %" PRIu64 " range %u", row->request_range.request,
				       row->request_range.index);
	default:
		return g_strdup(row_kind_name(row->kind));
	}
}

static void row_copy(RowRecord *to, const RowChange *from)
{
	RowChange *row = row_record_add(to, ROW_UPSERT, from->kind);

	*row = *from;
	if (row->kind == ROW_BACKEND) {
		row->backend.name = g_strdup(from->backend.name);
		row->backend.path = g_strdup(from->backend.path);
	} else if (row->kind == ROW_FILE) {
		row->file.backend = g_strdup(from->file.backend);
		row->file.file = from->file.file ? mem_file_ref(from->file.file) : NULL;
	} else if (row->kind == ROW_DEVICE) {
		row->device.name = g_strdup(from->device.name);
		row->device.pool_config = g_strdup(from->device.pool_config);
		row->device.regions = g_memdup2(from->device.regions,
						row->device.n_regions * sizeof(RowRegion));
	} else if (row->kind == ROW_OFFER) {
		row->offer.backend = g_strdup(from->offer.backend);
	}
}

/* Everything whose key begins with PREFIX. */
static void row_table_cascade(RowTable *table, const char *prefix)
{
	GHashTableIter iter;
	gpointer key;

	g_hash_table_iter_init(&iter, table->rows);
	while (g_hash_table_iter_next(&iter, &key, NULL))
		if (g_str_has_prefix(key, prefix))
			g_hash_table_iter_remove(&iter);
}

static void row_table_delete(RowTable *table, const RowChange *row)
{
	g_autofree char *key = row_key(row), *prefix = NULL;

	g_hash_table_remove(table->rows, key);
	if (row->kind == ROW_FILE) {
		prefix = g_strdup_printf("of %" PRIx64 " ", row->file.incarnation);
		g_hash_table_remove(table->files, key);
	} else if (row->kind == ROW_REQUEST) {
		prefix = g_strdup_printf("in %" PRIu64 " ", row->request.id);
	}
	if (prefix)
		row_table_cascade(table, prefix);
}

static void row_table_upsert(RowTable *table, const RowChange *row)
{
	RowRecord *record = row_record_new(ROW_REASON_CHANGE);
	RowChange copy = *row;

	if (row->kind == ROW_FILE) {
		if (row->file.file)
			g_hash_table_insert(table->files, row_key(row),
					    mem_file_ref(row->file.file));
		copy.file.file = NULL;
	}
	row_copy(record, &copy);
	g_hash_table_insert(table->rows, row_key(row), record);
}

static void row_table_apply(RowTable *table, const RowRecord *record)
{
	if (record->replaces_all) {
		g_hash_table_remove_all(table->rows);
		g_hash_table_remove_all(table->files);
	}
	for (guint i = 0; i < record->changes->len; i++) {
		const RowChange *row = row_record_at(record, i);

		if (row->op == ROW_UPSERT)
			row_table_upsert(table, row);
		else
			row_table_delete(table, row);
	}
}

/* All rows for a restart, in no order. */
static RowRecord *row_table_load(RowTable *table)
{
	RowRecord *rows = row_record_new(ROW_REASON_REPLACE);
	GHashTableIter iter;
	gpointer key;
	RowRecord *record;

	g_hash_table_iter_init(&iter, table->rows);
	while (g_hash_table_iter_next(&iter, &key, (gpointer *)&record)) {
		MemFile *file = g_hash_table_lookup(table->files, key);

		row_copy(rows, row_record_at(record, 0));
		if (file && record->changes->len == 1 && row_record_at(record, 0)->kind == ROW_FILE)
			row_record_last(rows)->file.file = mem_file_ref(file);
	}
	return rows;
}

/* ---- as text, for comparing; what may differ for good reason is left out ---- */

static void row_show_memory(GString *text, const RowChange *row)
{
	char tag[UUID_TEXT_SIZE];

	if (row->kind == ROW_BACKEND) {
		uuid_format(&row->backend.tag, tag);
		g_string_append_printf(
			text, " %d %" PRIx64 " %s %s %d%d%d%d%d %" PRIx64 " %" PRIu64,
			row->backend.type, row->backend.size, tag,
			row->backend.path ? row->backend.path : "", row->backend.share,
			row->backend.shareable, row->backend.read_only, row->backend.prealloc,
			row->backend.wipes, row->backend.incarnation, row->backend.device);
	} else if (row->kind == ROW_FILE) {
		g_string_append_printf(text, " %d %" PRIx64 " dirty %d of %s %" PRIu64,
				       row->file.type, row->file.len, row->file.dirty,
				       row->file.backend ? row->file.backend : "", row->file.offer);
	} else if (row->kind == ROW_HOLDER) {
		g_string_append_printf(text, " uid %d ghost %d wiped %d gone %d",
				       row->holder.same_uid, row->holder.ghost, row->holder.wiped,
				       row->holder.gone);
	} else if (row->kind == ROW_WIPE) {
		g_string_append_printf(text, " %" PRIx64, row->wipe.len);
	}
}

static char *row_show(const RowChange *row)
{
	g_autofree char *key = row_key(row);
	GString *text = g_string_new(key);

	row_show_memory(text, row);
	if (row->kind == ROW_COUNTERS)
		g_string_append_printf(text, " %" PRIu64 " %" PRIu64, row->counters.next_id,
				       row->counters.last_serial);
	else if (row->kind == ROW_DEVICE)
		g_string_append_printf(text, " %s host %" PRIu64, row->device.name,
				       row->device.host);
	else if (row->kind == ROW_OFFER)
		g_string_append_printf(text, " %" PRIu64 " region %u pending %d", row->offer.device,
				       row->offer.region, row->offer.pending);
	else if (row->kind == ROW_EXTENT)
		g_string_append_printf(text,
				       " %" PRIx64 " offer %" PRIu64
				       " region %u state %u sanitize %d %u %u at %" PRIx64,
				       row->extent.len, row->extent.offer, row->extent.region,
				       row->extent.state, row->extent.sanitize,
				       row->extent.shared_seq, row->extent.order,
				       row->extent.mem_offset);
	else if (row->kind == ROW_QUARANTINE)
		g_string_append_printf(text, " %" PRIx64 " of %" PRIx64, row->quarantine.len,
				       row->quarantine.extent);
	else if (row->kind == ROW_REQUEST)
		g_string_append_printf(text, " %" PRIu64 " state %u resent %u", row->request.device,
				       row->request.state, row->request.n_resent);
	return g_string_free(text, FALSE);
}

static int compare_lines(gconstpointer a, gconstpointer b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *rows_show(const RowRecord *record)
{
	g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);

	/* What is left to ask for of a request follows from the rest. */
	for (guint i = 0; i < record->changes->len; i++)
		if (row_record_at(record, i)->kind != ROW_REQUEST_RANGE)
			g_ptr_array_add(lines, row_show(row_record_at(record, i)));
	g_ptr_array_sort(lines, compare_lines);
	g_ptr_array_add(lines, NULL);
	return g_strjoinv("\n", (char **)lines->pdata);
}

/* The table says what the pool is. */
static void row_table_assert_is(RowTable *table, Capacity *cap)
{
	g_autoptr(RowRecord) is = row_table_load(table), should = capacity_dump(cap);
	g_autofree char *is_text = rows_show(is), *should_text = rows_show(should);

	if (strcmp(is_text, should_text) != 0) {
		g_auto(GStrv) is_lines = g_strsplit(is_text, "\n", 0);
		g_auto(GStrv) should_lines = g_strsplit(should_text, "\n", 0);

		for (char **line = is_lines; *line; line++)
			if (!g_strv_contains((const char *const *)should_lines, *line))
				g_printerr("only in the ledger: %s\n", *line);
		for (char **line = should_lines; *line; line++)
			if (!g_strv_contains((const char *const *)is_lines, *line))
				g_printerr("only in the pool:   %s\n", *line);
	}
	g_assert_true(strcmp(is_text, should_text) == 0);
}

#endif
