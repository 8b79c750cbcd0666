/* SPDX-License-Identifier: BSD-3-Clause */
/* The ledger's thread: a queue of jobs in, answers out through a main context. */
#include "ledger/ledger.h"
#include "ledger/ledger_error.h"
#include "ledger/ledger_priv.h"

#define MAX_BATCH_CHANGES 4096 /* of records merged into one transaction */

/* ---- jobs ---- */

static void job_free(void *data)
{
	Job *job = data;

	g_clear_pointer(&job->record, row_record_unref);
	g_free(job->blob.kind);
	g_free(job->blob.name);
	g_clear_pointer(&job->blob.data, g_bytes_unref);
	g_free(job->why);
	g_free(job);
}

static void enqueue(Ledger *ledger, Job *job)
{
	g_mutex_lock(&ledger->lock);
	g_assert(!ledger->closing);
	g_queue_push_tail(&ledger->queue, job);
	g_cond_signal(&ledger->wake);
	g_mutex_unlock(&ledger->lock);
}

void ledger_submit(Ledger *ledger, RowRecord *record, LedgerDone done, void *opaque)
{
	Job *job = g_new0(Job, 1);

	job->record = row_record_ref(record);
	job->done = done;
	job->opaque = opaque;
	enqueue(ledger, job);
}

void ledger_put_blob(Ledger *ledger, const char *kind, const char *name, GBytes *data,
		     LedgerDone done, void *opaque)
{
	Job *job = g_new0(Job, 1);

	job->blob.kind = g_strdup(kind);
	job->blob.name = g_strdup(name);
	job->blob.data = data ? g_bytes_ref(data) : NULL;
	job->done = done;
	job->opaque = opaque;
	enqueue(ledger, job);
}

/* A function on the ledger's thread that the caller waits for. */
typedef struct Call {
	JobFunc func;
	void *opaque;
	GMutex lock;
	GCond ended;
	bool has_ended;
} Call;

static void run_call(Ledger *ledger, void *opaque)
{
	Call *call = opaque;

	call->func(ledger, call->opaque);
	g_mutex_lock(&call->lock);
	call->has_ended = true;
	g_cond_signal(&call->ended);
	g_mutex_unlock(&call->lock);
}

static void call_and_wait(Ledger *ledger, JobFunc func, void *opaque)
{
	Call call = { .func = func, .opaque = opaque };
	Job *job = g_new0(Job, 1);

	g_mutex_init(&call.lock);
	g_cond_init(&call.ended);
	job->func = run_call;
	job->func_data = &call;
	enqueue(ledger, job);
	g_mutex_lock(&call.lock);
	while (!call.has_ended)
		g_cond_wait(&call.ended, &call.lock);
	g_mutex_unlock(&call.lock);
	g_mutex_clear(&call.lock);
	g_cond_clear(&call.ended);
}

typedef struct Errand {
	void (*func)(void *opaque);
	void *opaque;
} Errand;

static void run_errand(Ledger *ledger, void *opaque)
{
	g_autofree Errand *errand = opaque;

	errand->func(errand->opaque);
}

void ledger_run(Ledger *ledger, void (*func)(void *opaque), void *opaque)
{
	Errand *errand = g_new(Errand, 1);
	Job *job = g_new0(Job, 1);

	*errand = (Errand){ .func = func, .opaque = opaque };
	job->func = run_errand;
	job->func_data = errand;
	enqueue(ledger, job);
}

/* ---- answers ---- */

static gboolean give_answers(void *opaque)
{
	const GPtrArray *jobs = opaque;

	for (guint i = 0; i < jobs->len; i++) {
		const Job *job = jobs->pdata[i];

		job->done(job->opaque, job->ok, job->why);
	}
	return G_SOURCE_REMOVE;
}

static void free_answers(void *opaque)
{
	g_ptr_array_unref(opaque);
}

/* Takes the jobs; frees here what the context's thread need not spend time on. */
static void answer(Ledger *ledger, Job **jobs, size_t n)
{
	GPtrArray *answers = g_ptr_array_new_with_free_func(job_free);
	GSource *source;

	for (size_t i = 0; i < n; i++) {
		if (jobs[i]->done) {
			g_clear_pointer(&jobs[i]->record, row_record_unref);
			g_ptr_array_add(answers, jobs[i]);
		} else {
			job_free(jobs[i]);
		}
	}
	source = g_idle_source_new();
	g_source_set_priority(source, G_PRIORITY_DEFAULT);
	g_source_set_callback(source, give_answers, answers, free_answers);
	if (answers->len > 0)
		g_source_attach(source, ledger->context);
	g_source_unref(source);
}

/* ---- the thread ---- */

static size_t job_weight(const Job *job)
{
	return job->record ? job->record->changes->len + 1 : 1;
}

static GPtrArray *take_jobs(Ledger *ledger)
{
	GPtrArray *jobs = g_ptr_array_new();
	size_t weight = 0;

	while (!g_queue_is_empty(&ledger->queue) && weight < MAX_BATCH_CHANGES) {
		Job *job = g_queue_pop_head(&ledger->queue);

		weight += job_weight(job);
		g_ptr_array_add(jobs, job);
	}
	return jobs;
}

/* Returns with what is to be done, perhaps nothing: then the audit is due, or the end is near. */
static GPtrArray *wait_for_jobs(Ledger *ledger, bool *ret_closing)
{
	int64_t deadline_us = ledger_audit_deadline_us(ledger);
	GPtrArray *jobs;

	g_mutex_lock(&ledger->lock);
	while (g_queue_is_empty(&ledger->queue) && !ledger_audit_has_lines(ledger) &&
	       !ledger->closing) {
		if (!deadline_us)
			g_cond_wait(&ledger->wake, &ledger->lock);
		else if (!g_cond_wait_until(&ledger->wake, &ledger->lock, deadline_us))
			break;
	}
	jobs = take_jobs(ledger);
	*ret_closing = ledger->closing && g_queue_is_empty(&ledger->queue);
	g_mutex_unlock(&ledger->lock);
	return jobs;
}

static void run_jobs(Ledger *ledger, GPtrArray *jobs)
{
	for (guint first = 0, end; first < jobs->len; first = end) {
		Job **run = (Job **)&jobs->pdata[first];

		end = first + 1;
		if (run[0]->func) {
			run[0]->func(ledger, run[0]->func_data);
			job_free(run[0]);
			continue;
		}
		while (end < jobs->len && !((Job *)jobs->pdata[end])->func)
			end++;
		ledger_write(ledger, run, end - first);
		answer(ledger, run, end - first);
	}
}

static void *run_thread(void *opaque)
{
	Ledger *ledger = opaque;
	bool closing = false;

	while (!closing) {
		g_autoptr(GPtrArray) jobs = wait_for_jobs(ledger, &closing);
		int64_t deadline_us;

		run_jobs(ledger, jobs);
		if (jobs->len > 0)
			ledger->active_us = g_get_monotonic_time();
		ledger_audit_write(ledger);
		deadline_us = ledger_audit_deadline_us(ledger);
		if (deadline_us && g_get_monotonic_time() >= deadline_us)
			ledger_audit_sync(ledger);
		ledger_checkpoint_if_due(ledger);
	}
	return NULL;
}

/* ---- open, load, close ---- */

static int note_wal_pages(void *opaque, sqlite3 *db, const char *name, int n_pages)
{
	Ledger *ledger = opaque;

	ledger->n_wal_pages = n_pages;
	return SQLITE_OK;
}

static bool limit_len(Ledger *ledger, uint64_t max_len, GError **error)
{
	g_autofree char *sql = g_strdup_printf("PRAGMA max_page_count = %u",
					       (unsigned)(max_len / 4096));

	return !max_len || ledger_file_run(ledger->file, sql, "open", error);
}

static bool open_audit(Ledger *ledger, const char *path, GError **error)
{
	g_autofree char *dir = g_path_get_dirname(path);
	AuditConfig config = {
		.dir = dir,
		.max_len = ledger->options.audit_max_len,
		.n_old = ledger->options.audit_n_old,
	};

	ledger->audit = audit_writer_new(&config, error);
	return ledger->audit != NULL;
}

static bool open_files(Ledger *ledger, const char *path, GError **error)
{
	ledger->file = ledger_file_open(path, error);
	if (!ledger->file)
		return false;
	ledger->is_new = ledger->file->is_new;
	ledger->rows = ledger_rows_new(ledger->file->db);
	if (!ledger->rows)
		return ledger_fail_damaged(error, path, "%s", sqlite3_errmsg(ledger->file->db));
	sqlite3_wal_hook(ledger->file->db, note_wal_pages, ledger);
	ledger->loaded = row_record_new(ROW_REASON_REPLACE);
	return ledger_rows_load(ledger->rows, path, ledger->loaded, error) &&
	       ledger_file_accept(ledger->file, error) &&
	       limit_len(ledger, ledger->options.max_len, error) && open_audit(ledger, path, error);
}

static void ledger_free(Ledger *ledger)
{
	audit_writer_free(ledger->audit);
	g_clear_pointer(&ledger->loaded, row_record_unref);
	ledger_rows_free(ledger->rows);
	ledger_file_close(ledger->file);
	g_hash_table_unref(ledger->stored);
	g_string_free(ledger->lines, TRUE);
	g_string_free(ledger->pending, TRUE);
	g_main_context_unref(ledger->context);
	g_mutex_clear(&ledger->lock);
	g_cond_clear(&ledger->wake);
	g_free(ledger);
}

Ledger *ledger_open(const char *path, const LedgerOptions *options, GError **error)
{
	Ledger *ledger = g_new0(Ledger, 1);

	ledger->options = *options;
	ledger->context = options->context ? g_main_context_ref(options->context)
					   : g_main_context_ref(g_main_context_default());
	g_mutex_init(&ledger->lock);
	g_cond_init(&ledger->wake);
	ledger->stored = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	ledger->lines = g_string_new(NULL);
	ledger->pending = g_string_new(NULL);
	if (!open_files(ledger, path, error)) {
		ledger_free(ledger);
		return NULL;
	}
	ledger_find_stored(ledger);
	ledger->thread = g_thread_new("ledger", run_thread, ledger);
	return ledger;
}

void ledger_close(Ledger *ledger)
{
	if (!ledger)
		return;
	g_mutex_lock(&ledger->lock);
	ledger->closing = true;
	g_cond_signal(&ledger->wake);
	g_mutex_unlock(&ledger->lock);
	g_thread_join(ledger->thread);
	ledger_free(ledger);
}

bool ledger_is_new(const Ledger *ledger)
{
	return ledger->is_new;
}

typedef struct Load {
	RowRecord *record;
	const char *blob_kind;
	LedgerBlobFunc blob_func;
	void *blob_opaque;
	GError *error;
	bool ok;
} Load;

static void load_rows(Ledger *ledger, void *opaque)
{
	Load *load = opaque;

	load->record = g_steal_pointer(&ledger->loaded);
	load->ok = load->record != NULL;
	if (load->ok)
		return;
	load->record = row_record_new(ROW_REASON_REPLACE);
	load->ok = ledger_rows_load(ledger->rows, ledger->file->path, load->record, &load->error);
}

RowRecord *ledger_load(Ledger *ledger, GError **error)
{
	Load load = { .record = NULL };

	call_and_wait(ledger, load_rows, &load);
	if (load.ok)
		return load.record;
	row_record_unref(load.record);
	g_propagate_error(error, load.error);
	return NULL;
}

static void take_blob(const LedgerBlob *blob, void *opaque)
{
	Load *load = opaque;

	if (g_str_equal(blob->kind, load->blob_kind))
		load->blob_func(blob->name, blob->data, load->blob_opaque);
}

static void load_blobs(Ledger *ledger, void *opaque)
{
	Load *load = opaque;

	load->ok = ledger_rows_load_blobs(ledger->rows, ledger->file->path, take_blob, load,
					  &load->error);
}

bool ledger_load_blobs(Ledger *ledger, const char *kind, LedgerBlobFunc func, void *opaque,
		       GError **error)
{
	Load load = { .blob_kind = kind, .blob_func = func, .blob_opaque = opaque };

	call_and_wait(ledger, load_blobs, &load);
	if (!load.ok)
		g_propagate_error(error, load.error);
	return load.ok;
}

static void sync_audit(Ledger *ledger, void *opaque)
{
	ledger_audit_write(ledger);
	ledger_audit_sync(ledger);
}

void ledger_sync(Ledger *ledger)
{
	call_and_wait(ledger, sync_audit, NULL);
}
