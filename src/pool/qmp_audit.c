/* SPDX-License-Identifier: BSD-3-Clause */
/* QMP x-query-audit: the audit log in pages, read on a thread since files may be slow. */
#include "pool/pool_daemon_priv.h"

#include <inttypes.h>
#include <stdio.h>

#define DEFAULT_LIMIT 1000
#define MAX_LIMIT     4096

/* clang-format off */
static const QmpArg audit_args[] = {
	{ "since",  QMP_U64,    .optional = true },
	{ "cursor", QMP_STRING, .optional = true },
	{ "limit",  QMP_U32,    .optional = true },
	{ NULL, 0, 0, NULL, NULL },
};
/* clang-format on */

/* A cursor is the time of the last line shown and how many lines of just that time were. */
typedef struct AuditRead {
	PoolDaemon *daemon;
	QmpCall *call;
	char *dir;
	int64_t since_us;
	uint64_t n_skip, limit;
	int64_t last_us;
	uint64_t n_of_last, n_shown;
	bool more;
	QmpText text;
	GError *error;
} AuditRead;

static bool show_line(const char *line, size_t len, int64_t time_us, void *opaque)
{
	AuditRead *audit = opaque;

	if (time_us != audit->last_us)
		audit->n_of_last = 0;
	audit->last_us = time_us;
	audit->n_of_last++;
	if (time_us == audit->since_us && audit->n_of_last <= audit->n_skip)
		return true;
	if (audit->n_shown == audit->limit) {
		audit->more = true;
		audit->n_of_last--;
		return false;
	}
	audit->n_shown++;
	/* A line is one JSON object. */
	if (audit->n_shown > 1)
		g_string_append_c(audit->text.out, ',');
	g_string_append_len(audit->text.out, line, (gssize)len);
	return true;
}

static void read_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	AuditRead *audit = data;

	audit_read(audit->dir, audit->since_us, show_line, audit, &audit->error);
	g_task_return_boolean(task, TRUE);
}

static void was_read(GObject *source, GAsyncResult *result, gpointer data)
{
	AuditRead *audit = data;
	char cursor[48];

	audit->daemon->n_tasks--;
	if (audit->error) {
		qmp_call_fail(audit->call, audit->error);
		g_string_free(audit->text.out, TRUE);
	} else {
		snprintf(cursor, sizeof(cursor), "%" PRId64 ":%" PRIu64, audit->last_us,
			 audit->n_of_last);
		g_string_append_c(audit->text.out, ']');
		audit->text.comma = true;
		qmp_text_bool(&audit->text, "more", audit->more);
		qmp_text_string(&audit->text, "cursor", cursor);
		qmp_text_end(&audit->text, '}');
		qmp_call_return_text(audit->call, audit->text.out);
	}
	g_free(audit->dir);
	g_free(audit);
}

static bool read_start(JsonObject *args, AuditRead *audit, GError **error)
{
	const char *cursor = qmp_args_string(args, "cursor", NULL);
	uint64_t since = qmp_args_u64(args, "since", 0);
	int n_read = 0;

	audit->limit = qmp_args_u64(args, "limit", DEFAULT_LIMIT);
	if (audit->limit == 0 || audit->limit > MAX_LIMIT) {
		g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC,
			    "Parameter 'limit' expects a number from 1 to %d", MAX_LIMIT);
		return false;
	}
	audit->since_us = (int64_t)MIN(since, (uint64_t)INT64_MAX);
	if (!cursor)
		return true;
	if (sscanf(cursor, "%" SCNd64 ":%" SCNu64 "%n", &audit->since_us, &audit->n_skip,
		   &n_read) == 2 &&
	    cursor[n_read] == '\0')
		return true;
	g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC,
		    "Parameter 'cursor' expects the one of an earlier answer, not '%s'", cursor);
	return false;
}

static void run_query_audit(QmpCall *call, JsonObject *args, void *opaque)
{
	PoolDaemon *daemon = opaque;
	g_autoptr(GTask) task = NULL;
	GError *error = NULL;
	AuditRead *audit;
	AuditRead start = { .daemon = daemon, .call = call };

	if (!daemon->ledger) {
		qmp_call_error(call, QMP_ERROR_GENERIC,
			       "pool %s is ephemeral and keeps no audit log", daemon->name);
		return;
	}
	if (!read_start(args, &start, &error)) {
		qmp_call_fail(call, error);
		return;
	}
	audit = g_memdup2(&start, sizeof(start));
	audit->dir = g_strdup(daemon->state_dir);
	audit->last_us = audit->since_us;
	audit->text.out = g_string_new("{\"records\": [");
	daemon->n_tasks++;
	task = g_task_new(NULL, NULL, was_read, audit);
	g_task_set_task_data(task, audit, NULL);
	g_task_run_in_thread(task, read_thread);
}

const QmpCommand qmp_audit_commands[] = {
	{ "x-query-audit", audit_args, run_query_audit },
	{ NULL, NULL, NULL },
};
