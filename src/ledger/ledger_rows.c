/* SPDX-License-Identifier: BSD-3-Clause */
/* The ledger's tables as data: which column is which member; statements made from that. */
#include "ledger/ledger_rows.h"
#include "ledger/ledger_column.h"
#include "ledger/ledger_error.h"

#include <string.h>

typedef struct Table {
	const char *name;
	unsigned n_keys; /* of the first columns */
	const Column *columns;
	/* Run with the key after a row is deleted; foreign keys do the rest. May be NULL. */
	const char *after_delete;
} Table;

/* clang-format off */
#define COL(type, row, member)          { #member, COLUMN_##type, offsetof(row, member), 0 }
#define COL_MAX(type, row, member, max) { #member, COLUMN_##type, offsetof(row, member), max }
#define COL_END                         { NULL, COLUMN_ONE, 0, 0 }

static const Column counters_columns[] = {
	{ "one", COLUMN_ONE, 0, 0 },
	COL(U64, RowCounters, next_id),
	COL(U64, RowCounters, next_map),
	COL(U64, RowCounters, last_serial),
	COL_END
};

static const Column host_columns[] = {
	COL(U64, RowHost, serial),
	COL(I64, RowHost, pid),
	COL(U64, RowHost, start_time),
	COL(U32, RowHost, uid),
	COL_END
};

static const Column backend_columns[] = {
	COL(TEXT, RowBackend, name),
	COL_MAX(U32, RowBackend, type, BACKEND_DEVDAX),
	COL(U64, RowBackend, size),
	COL(U64, RowBackend, page_size),
	COL(TEXT_OR_NULL, RowBackend, path),
	COL(UUID, RowBackend, tag),
	COL(BOOL, RowBackend, share),
	COL(BOOL, RowBackend, shareable),
	COL(BOOL, RowBackend, read_only),
	COL(BOOL, RowBackend, prealloc),
	COL(BOOL, RowBackend, wipes),
	COL(U64, RowBackend, incarnation),
	COL(U64, RowBackend, device),
	COL(U64, RowBackend, static_dpa),
	COL(BOOL, RowBackend, fresh_per_session),
	COL(U64, RowBackend, map_id),
	COL(U64, RowBackend, host),
	COL_END
};

static const Column file_columns[] = {
	COL(U64, RowFile, incarnation),
	COL_MAX(U32, RowFile, type, BACKEND_DEVDAX),
	COL(U64, RowFile, len),
	COL(U64, RowFile, page_size),
	COL(BOOL, RowFile, read_only),
	COL(BOOL, RowFile, dirty),
	COL(TEXT_OR_NULL, RowFile, backend),
	COL(U64, RowFile, offer),
	COL_END
};

static const Column holder_columns[] = {
	COL(U64, RowHolder, incarnation),
	COL(U64, RowHolder, serial),
	COL(BOOL, RowHolder, same_uid),
	COL(BOOL, RowHolder, ghost),
	COL(BOOL, RowHolder, wiped),
	COL(BOOL, RowHolder, gone),
	COL_END
};

static const Column wipe_columns[] = {
	COL(U64, RowWipe, incarnation),
	COL(U64, RowWipe, offset),
	COL(U64, RowWipe, len),
	COL_END
};

static const Column device_columns[] = {
	COL(U64, RowDevice, id),
	COL(TEXT, RowDevice, name),
	COL(U64, RowDevice, static_len),
	{ "regions", COLUMN_REGIONS, 0, 0 },
	COL(U32, RowDevice, max_extents),
	COL(U32, RowDevice, max_offers),
	COL(U32, RowDevice, max_chain),
	COL(U32, RowDevice, chains_in_flight),
	COL(BOOL, RowDevice, hold_off),
	COL(TEXT_OR_NULL, RowDevice, pool_config),
	COL(U32, RowDevice, generation),
	COL(U64, RowDevice, host),
	COL(BOOL, RowDevice, host_control_only),
	COL(BOOL, RowDevice, host_same_uid),
	COL(U32, RowDevice, host_max_maps),
	COL_END
};

static const Column offer_columns[] = {
	COL(U64, RowOffer, id),
	COL(U64, RowOffer, device),
	COL_MAX(U8, RowOffer, region, LEDGER_MAX_REGIONS - 1),
	COL(U8, RowOffer, policy),
	COL(BOOL, RowOffer, pending),
	COL(UUID, RowOffer, tag),
	COL(TEXT_OR_NULL, RowOffer, backend),
	COL(U64, RowOffer, mem_len),
	COL_END
};

static const Column extent_columns[] = {
	COL(U64, RowExtent, device),
	COL(U64, RowExtent, dpa),
	COL(U64, RowExtent, len),
	COL(U64, RowExtent, offer),
	COL_MAX(U8, RowExtent, region, LEDGER_MAX_REGIONS - 1),
	COL_MAX(U8, RowExtent, state, ROW_EXTENT_SETTLED),
	COL(BOOL, RowExtent, sanitize),
	COL(U16, RowExtent, shared_seq),
	COL(U32, RowExtent, order),
	COL(U64, RowExtent, mem_offset),
	COL(U64, RowExtent, map_id),
	COL(U64, RowExtent, host),
	COL_END
};

static const Column quarantine_columns[] = {
	COL(U64, RowQuarantine, device),
	COL(U64, RowQuarantine, dpa),
	COL(U64, RowQuarantine, len),
	COL(U64, RowQuarantine, extent),
	COL_END
};

static const Column request_columns[] = {
	COL(U64, RowRequest, id),
	COL(U64, RowRequest, device),
	COL_MAX(U8, RowRequest, region, LEDGER_MAX_REGIONS - 1),
	COL(U8, RowRequest, state),
	COL(BOOL, RowRequest, forced),
	COL(BOOL, RowRequest, sanitize),
	COL(UUID, RowRequest, tag),
	COL(U32, RowRequest, n_resent),
	COL(U64, RowRequest, created_us),
	COL(U64, RowRequest, changed_us),
	COL(U64, RowRequest, timeout_us),
	COL_END
};

static const Column request_range_columns[] = {
	COL(U64, RowRequestRange, request),
	COL(U32, RowRequestRange, index),
	COL(U64, RowRequestRange, dpa),
	COL(U64, RowRequestRange, len),
	COL(U64, RowRequestRange, offer),
	COL_END
};

static const Column blob_columns[] = {
	COL(TEXT, LedgerBlob, kind),
	COL(TEXT, LedgerBlob, name),
	COL(GBYTES, LedgerBlob, data),
	COL_END
};

enum { TABLE_BLOB = ROW_N_KINDS, N_TABLES };

static const Table tables[N_TABLES] = {
	[ROW_COUNTERS] =      { "counters",      1, counters_columns,      NULL },
	[ROW_HOST] =          { "host",          1, host_columns,          NULL },
	[ROW_BACKEND] =       { "backend",       1, backend_columns,       NULL },
	[ROW_FILE] =          { "file",          1, file_columns,          NULL },
	[ROW_HOLDER] =        { "holder",        2, holder_columns,        NULL },
	[ROW_WIPE] =          { "wipe",          2, wipe_columns,          NULL },
	[ROW_DEVICE] =        { "device",        1, device_columns,        NULL },
	[ROW_OFFER] =         { "offer",         1, offer_columns,         NULL },
	[ROW_EXTENT] =        { "extent",        2, extent_columns,        NULL },
	[ROW_QUARANTINE] =    { "quarantine",    2, quarantine_columns,    NULL },
	[ROW_REQUEST] =       { "request",       1, request_columns,       NULL },
	[ROW_REQUEST_RANGE] = { "request_range", 2, request_range_columns, NULL },
	[TABLE_BLOB] =        { "blob",          2, blob_columns,          NULL },
};
/* clang-format on */

typedef struct TableStatements {
	unsigned n_columns;
	sqlite3_stmt *upsert, *delete, *after_delete, *select, *clear;
} TableStatements;

struct LedgerRows {
	sqlite3 *db;
	TableStatements statements[N_TABLES];
};

/* ---- statements ---- */

static int prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret_stmt)
{
	return sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret_stmt, NULL);
}

static int prepare_upsert(sqlite3 *db, const Table *table, sqlite3_stmt **ret_stmt)
{
	g_autoptr(GString) names = g_string_new(NULL);
	g_autoptr(GString) keys = g_string_new(NULL);
	g_autoptr(GString) values = g_string_new(NULL);
	g_autoptr(GString) updates = g_string_new(NULL);
	g_autofree char *sql = NULL;

	for (unsigned i = 0; table->columns[i].name; i++) {
		const char *name = table->columns[i].name;

		g_string_append_printf(names, "\"%s\", ", name);
		g_string_append(values, "?, ");
		if (i < table->n_keys)
			g_string_append_printf(keys, "%s\"%s\"", i ? ", " : "", name);
		else
			g_string_append_printf(updates, "\"%s\" = excluded.\"%s\", ", name, name);
	}
	sql = g_strdup_printf("INSERT INTO %s (%ssum) VALUES (%s?) ON CONFLICT (%s) DO UPDATE SET "
			      "%ssum = excluded.sum",
			      table->name, names->str, values->str, keys->str, updates->str);
	return prepare(db, sql, ret_stmt);
}

static int prepare_delete(sqlite3 *db, const Table *table, sqlite3_stmt **ret_stmt)
{
	g_autoptr(GString) sql = g_string_new(NULL);

	g_string_printf(sql, "DELETE FROM %s WHERE ", table->name);
	for (unsigned i = 0; i < table->n_keys; i++)
		g_string_append_printf(sql, "%s\"%s\" = ?", i ? " AND " : "",
				       table->columns[i].name);
	return prepare(db, sql->str, ret_stmt);
}

static int prepare_select(sqlite3 *db, const Table *table, sqlite3_stmt **ret_stmt)
{
	g_autoptr(GString) sql = g_string_new("SELECT ");

	for (unsigned i = 0; table->columns[i].name; i++)
		g_string_append_printf(sql, "\"%s\", ", table->columns[i].name);
	g_string_append_printf(sql, "sum FROM %s ORDER BY ", table->name);
	for (unsigned i = 0; i < table->n_keys; i++)
		g_string_append_printf(sql, "%s%u", i ? ", " : "", i + 1);
	return prepare(db, sql->str, ret_stmt);
}

static int prepare_clear(sqlite3 *db, const Table *table, sqlite3_stmt **ret_stmt)
{
	g_autofree char *sql = g_strdup_printf("DELETE FROM %s", table->name);

	return prepare(db, sql, ret_stmt);
}

static int prepare_table(sqlite3 *db, const Table *table, TableStatements *statements)
{
	int rc = prepare_upsert(db, table, &statements->upsert);

	while (table->columns[statements->n_columns].name)
		statements->n_columns++;
	if (rc == SQLITE_OK)
		rc = prepare_delete(db, table, &statements->delete);
	if (rc == SQLITE_OK)
		rc = prepare_select(db, table, &statements->select);
	if (rc == SQLITE_OK)
		rc = prepare_clear(db, table, &statements->clear);
	if (rc == SQLITE_OK && table->after_delete)
		rc = prepare(db, table->after_delete, &statements->after_delete);
	return rc;
}

LedgerRows *ledger_rows_new(sqlite3 *db)
{
	g_autoptr(LedgerRows) rows = g_new0(LedgerRows, 1);

	rows->db = db;
	for (unsigned i = 0; i < N_TABLES; i++) {
		if (prepare_table(db, &tables[i], &rows->statements[i]) != SQLITE_OK)
			return NULL;
	}
	return g_steal_pointer(&rows);
}

void ledger_rows_free(LedgerRows *rows)
{
	if (!rows)
		return;
	for (unsigned i = 0; i < N_TABLES; i++) {
		TableStatements *statements = &rows->statements[i];

		sqlite3_finalize(statements->upsert);
		sqlite3_finalize(statements->delete);
		sqlite3_finalize(statements->after_delete);
		sqlite3_finalize(statements->select);
		sqlite3_finalize(statements->clear);
	}
	g_free(rows);
}

/* ---- writing ---- */

static int run(sqlite3_stmt *stmt)
{
	int rc = sqlite3_step(stmt);

	/* Gives the error of the step again, if there was one. */
	sqlite3_reset(stmt);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static int upsert(LedgerRows *rows, unsigned index, const void *row)
{
	sqlite3_stmt *stmt = rows->statements[index].upsert;
	unsigned n = rows->statements[index].n_columns;
	uint32_t sum = 0;
	int rc = SQLITE_OK;

	for (unsigned i = 0; i < n && rc == SQLITE_OK; i++)
		rc = column_bind(&tables[index].columns[i], row, stmt, (int)i + 1, &sum);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(stmt, (int)n + 1, sum);
	return rc == SQLITE_OK ? run(stmt) : rc;
}

static int delete_with(sqlite3_stmt *stmt, const Table *table, const void *row)
{
	uint32_t sum = 0;
	int rc = SQLITE_OK;

	for (unsigned i = 0; i < table->n_keys && rc == SQLITE_OK; i++)
		rc = column_bind(&table->columns[i], row, stmt, (int)i + 1, &sum);
	return rc == SQLITE_OK ? run(stmt) : rc;
}

static int delete (LedgerRows *rows, unsigned index, const void *row)
{
	const TableStatements *statements = &rows->statements[index];
	int rc = delete_with(statements->delete, &tables[index], row);

	if (rc == SQLITE_OK && statements->after_delete)
		rc = delete_with(statements->after_delete, &tables[index], row);
	return rc;
}

int ledger_rows_apply(LedgerRows *rows, const RowRecord *record)
{
	int rc = SQLITE_OK;

	for (unsigned i = 0; record->replaces_all && i < ROW_N_KINDS && rc == SQLITE_OK; i++)
		rc = run(rows->statements[i].clear);
	for (guint i = 0; i < record->changes->len && rc == SQLITE_OK; i++) {
		const RowChange *change = row_record_at(record, i);

		/* All members of the union begin where the first does. */
		if (change->op == ROW_UPSERT)
			rc = upsert(rows, change->kind, &change->counters);
		else
			rc = delete (rows, change->kind, &change->counters);
	}
	return rc;
}

int ledger_rows_put_blob(LedgerRows *rows, const LedgerBlob *blob)
{
	return blob->data ? upsert(rows, TABLE_BLOB, blob) : delete (rows, TABLE_BLOB, blob);
}

/* ---- reading ---- */

static bool load_row(const Table *table, unsigned n_columns, sqlite3_stmt *stmt, void *row,
		     const char *path, GError **error)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < n_columns; i++) {
		if (!column_load(&table->columns[i], row, stmt, (int)i, &sum))
			return ledger_fail_damaged(error, path,
						   "a row of \"%s\" has an impossible %s",
						   table->name, table->columns[i].name);
	}
	if (sqlite3_column_int64(stmt, (int)n_columns) == sum)
		return true;
	return ledger_fail_damaged(error, path, "a row of \"%s\" is not as it was written",
				   table->name);
}

static bool load_table(LedgerRows *rows, RowKind kind, const char *path, RowRecord *record,
		       GError **error)
{
	sqlite3_stmt *stmt = rows->statements[kind].select;
	bool ok = true;
	int rc = SQLITE_OK;

	while (ok && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		RowChange *change = row_record_add(record, ROW_UPSERT, kind);

		ok = load_row(&tables[kind], rows->statements[kind].n_columns, stmt,
			      &change->counters, path, error);
	}
	if (ok && rc != SQLITE_DONE)
		ok = ledger_fail_sqlite(error, path, "read", rows->db);
	sqlite3_reset(stmt);
	return ok;
}

bool ledger_rows_load(LedgerRows *rows, const char *path, RowRecord *record, GError **error)
{
	for (unsigned i = 0; i < ROW_N_KINDS; i++) {
		if (!load_table(rows, i, path, record, error))
			return false;
	}
	return true;
}

bool ledger_rows_load_blobs(LedgerRows *rows, const char *path, LedgerRowsBlobFunc func,
			    void *opaque, GError **error)
{
	sqlite3_stmt *stmt = rows->statements[TABLE_BLOB].select;
	bool ok = true;
	int rc = SQLITE_OK;

	while (ok && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		LedgerBlob blob = { .kind = NULL };

		ok = load_row(&tables[TABLE_BLOB], rows->statements[TABLE_BLOB].n_columns, stmt,
			      &blob, path, error);
		if (ok)
			func(&blob, opaque);
		for (const Column *column = blob_columns; column->name; column++)
			column_clear(column, &blob);
	}
	if (ok && rc != SQLITE_DONE)
		ok = ledger_fail_sqlite(error, path, "read", rows->db);
	sqlite3_reset(stmt);
	return ok;
}
