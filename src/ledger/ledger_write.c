/* SPDX-License-Identifier: BSD-3-Clause */
/* One transaction for all that has queued up; descriptors stored before it, dropped after it. */
#include "ledger/ledger_priv.h"

#include "ledger/ledger_error.h"

#define CHECKPOINT_PAGES 1000

static const char refused_before[] = "an earlier change could not be kept";

/* ---- which descriptors are stored ---- */

static uint64_t *incarnation_new(uint64_t incarnation)
{
	return g_memdup2(&incarnation, sizeof(incarnation));
}

static bool is_stored_type(BackendType type)
{
	return type == BACKEND_MEMFD || type == BACKEND_HUGETLB;
}

void ledger_find_stored(Ledger *ledger)
{
	for (guint i = 0; i < ledger->loaded->changes->len; i++) {
		const RowChange *change = row_record_at(ledger->loaded, i);

		if (change->kind == ROW_FILE && is_stored_type(change->file.type))
			g_hash_table_add(ledger->stored, incarnation_new(change->file.incarnation));
	}
}

static void drop(Ledger *ledger, uint64_t incarnation)
{
	if (ledger->options.ops.file_drop)
		ledger->options.ops.file_drop(ledger->options.opaque, incarnation);
}

static bool store_files(Ledger *ledger, const RowRecord *record, GError **error)
{
	const LedgerOps *ops = &ledger->options.ops;

	for (guint i = 0; ops->file_store && i < record->changes->len; i++) {
		const RowChange *change = row_record_at(record, i);

		if (change->op == ROW_UPSERT && change->kind == ROW_FILE && change->file.file &&
		    !ops->file_store(ledger->options.opaque, change->file.incarnation,
				     change->file.file, error))
			return false;
	}
	return true;
}

/* Of a refused record. */
static void note_orphans(const RowRecord *record, GArray *orphans)
{
	for (guint i = 0; i < record->changes->len; i++) {
		const RowChange *change = row_record_at(record, i);

		if (change->op == ROW_UPSERT && change->kind == ROW_FILE && change->file.file)
			g_array_append_val(orphans, change->file.incarnation);
	}
}

static void drop_orphans(Ledger *ledger, const GArray *orphans)
{
	for (guint i = 0; i < orphans->len; i++) {
		uint64_t incarnation = g_array_index(orphans, uint64_t, i);

		if (!g_hash_table_contains(ledger->stored, &incarnation))
			drop(ledger, incarnation);
	}
}

static void forget_stored(Ledger *ledger, uint64_t incarnation)
{
	if (g_hash_table_remove(ledger->stored, &incarnation))
		drop(ledger, incarnation);
}

/* A record with every row there is: what it does not name has no row any more. */
static void replace_stored(Ledger *ledger, const RowRecord *record)
{
	g_autoptr(GHashTable) named = g_hash_table_new(g_int64_hash, g_int64_equal);
	GHashTableIter iter;
	void *key;

	for (guint i = 0; i < record->changes->len; i++) {
		const RowChange *change = row_record_at(record, i);

		if (change->op == ROW_UPSERT && change->kind == ROW_FILE)
			g_hash_table_add(named, (void *)&change->file.incarnation);
	}
	g_hash_table_iter_init(&iter, ledger->stored);
	while (g_hash_table_iter_next(&iter, &key, NULL)) {
		uint64_t incarnation = *(const uint64_t *)key;

		if (!g_hash_table_contains(named, key)) {
			g_hash_table_iter_remove(&iter);
			drop(ledger, incarnation);
		}
	}
}

/* RECORD is durable. */
static void update_stored(Ledger *ledger, const RowRecord *record)
{
	if (record->replaces_all)
		replace_stored(ledger, record);
	for (guint i = 0; i < record->changes->len; i++) {
		const RowChange *change = row_record_at(record, i);

		if (change->kind != ROW_FILE)
			continue;
		if (change->op == ROW_DELETE)
			forget_stored(ledger, change->file.incarnation);
		else if (change->file.file)
			g_hash_table_add(ledger->stored, incarnation_new(change->file.incarnation));
	}
}

/* ---- refusals ---- */

static bool is_refused(const Ledger *ledger, const Job *job)
{
	return job->record && job->record->epoch && job->record->epoch <= ledger->refused_epoch;
}

static void refuse(Ledger *ledger, Job *job, const char *why, GArray *orphans)
{
	job->ok = false;
	job->why = g_strdup(why);
	if (!job->record)
		return;
	note_orphans(job->record, orphans);
	ledger->refused_epoch = MAX(ledger->refused_epoch, job->record->epoch);
}

/* ---- transactions ---- */

static void at_step(Ledger *ledger, const char *step, Job *const *jobs, size_t n)
{
	unsigned reasons = 0;

	if (!ledger->options.ops.fault)
		return;
	for (size_t i = 0; i < n; i++)
		reasons |= jobs[i]->record ? 1u << jobs[i]->record->reason : 0;
	ledger->options.ops.fault(ledger->options.opaque, step, reasons);
}

static bool changes_nothing(const Job *job)
{
	return job->record && job->record->changes->len == 0 && !job->record->replaces_all;
}

static bool is_empty(Job *const *jobs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!changes_nothing(jobs[i]))
			return false;
	}
	return true;
}

static bool apply(Ledger *ledger, Job *const *jobs, size_t n, GError **error)
{
	for (size_t i = 0; i < n; i++) {
		int rc = jobs[i]->record ? ledger_rows_apply(ledger->rows, jobs[i]->record)
					 : ledger_rows_put_blob(ledger->rows, &jobs[i]->blob);

		if (rc != SQLITE_OK)
			return ledger_fail_sqlite(error, ledger->file->path, "write",
						  ledger->file->db);
	}
	return true;
}

/* All of JOBS or none of them. */
static bool commit(Ledger *ledger, Job *const *jobs, size_t n, GError **error)
{
	if (!is_empty(jobs, n)) {
		if (!ledger_file_begin(ledger->file, error))
			return false;
		if (!apply(ledger, jobs, n, error)) {
			ledger_file_rollback(ledger->file);
			return false;
		}
		at_step(ledger, "ledger-before-commit", jobs, n);
		if (!ledger_file_commit(ledger->file, error))
			return false;
		at_step(ledger, "ledger-after-commit", jobs, n);
	}
	for (size_t i = 0; i < n; i++) {
		jobs[i]->ok = true;
		if (jobs[i]->record)
			update_stored(ledger, jobs[i]->record);
	}
	return true;
}

static void commit_each(Ledger *ledger, Job *const *jobs, size_t n, GArray *orphans)
{
	for (size_t i = 0; i < n; i++) {
		g_autoptr(GError) error = NULL;

		if (is_refused(ledger, jobs[i]))
			refuse(ledger, jobs[i], refused_before, orphans);
		else if (!commit(ledger, &jobs[i], 1, &error))
			refuse(ledger, jobs[i], error->message, orphans);
	}
}

void ledger_write(Ledger *ledger, Job **jobs, size_t n)
{
	g_autofree Job **batch = g_new(Job *, n);
	g_autoptr(GArray) orphans = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	g_autoptr(GError) error = NULL;
	size_t n_batch = 0;

	g_clear_pointer(&ledger->loaded, row_record_unref);
	for (size_t i = 0; i < n; i++) {
		g_autoptr(GError) store_error = NULL;

		if (is_refused(ledger, jobs[i]))
			refuse(ledger, jobs[i], refused_before, orphans);
		else if (jobs[i]->record && !store_files(ledger, jobs[i]->record, &store_error))
			refuse(ledger, jobs[i],
			       store_error ? store_error->message : "a file could not be stored",
			       orphans);
		else
			batch[n_batch++] = jobs[i];
	}
	if (n_batch > 0 && !commit(ledger, batch, n_batch, &error)) {
		if (n_batch == 1)
			refuse(ledger, batch[0], error->message, orphans);
		else
			commit_each(ledger, batch, n_batch, orphans);
	}
	drop_orphans(ledger, orphans);
}

void ledger_checkpoint_if_due(Ledger *ledger)
{
	if (ledger->n_wal_pages < CHECKPOINT_PAGES)
		return;
	ledger->n_wal_pages = 0;
	/* If it fails, the log just grows until the next time. */
	sqlite3_wal_checkpoint_v2(ledger->file->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}
