/* SPDX-License-Identifier: BSD-3-Clause */
/* The ledger's thread as the audit's writer: what is submitted, what is kept while it fails. */
#include "ledger/ledger_priv.h"

#include <string.h>

#define MAX_KEPT_LEN (4u << 20) /* bytes of lines waiting for a disk that takes them */
#define SYNC_US      (800 * G_TIME_SPAN_MILLISECOND) /* at the latest */
#define QUIET_US     (50 * G_TIME_SPAN_MILLISECOND)  /* sooner when nobody waits for a commit */
#define RETRY_US     (1 * G_TIME_SPAN_SECOND)

void ledger_audit(Ledger *ledger, const AuditEntry *entry)
{
	g_autoptr(GString) line = g_string_sized_new(256);

	audit_format(entry, line);
	g_mutex_lock(&ledger->lock);
	if (ledger->lines->len + line->len <= MAX_KEPT_LEN)
		g_string_append_len(ledger->lines, line->str, (gssize)line->len);
	else
		ledger->n_lost++;
	g_cond_signal(&ledger->wake);
	g_mutex_unlock(&ledger->lock);
}

bool ledger_audit_has_lines(const Ledger *ledger)
{
	return ledger->lines->len > 0 || ledger->n_lost > 0;
}

static uint64_t count_lines(const GString *lines)
{
	uint64_t n = 0;

	for (const char *pos = lines->str; (pos = strchr(pos, '\n')); pos++)
		n++;
	return n;
}

/* Moves what has been submitted to what is to be written; what has no room there is counted. */
static void take_lines(Ledger *ledger)
{
	g_autoptr(GString) taken = g_string_new(NULL);
	GString *emptied;

	g_mutex_lock(&ledger->lock);
	emptied = ledger->lines;
	ledger->lines = g_steal_pointer(&taken);
	ledger->n_pending_lost += ledger->n_lost;
	ledger->n_lost = 0;
	g_mutex_unlock(&ledger->lock);
	taken = emptied;
	if (ledger->pending->len + taken->len <= MAX_KEPT_LEN)
		g_string_append_len(ledger->pending, taken->str, (gssize)taken->len);
	else
		ledger->n_pending_lost += count_lines(taken);
}

static void write_loss(Ledger *ledger)
{
	g_autoptr(GString) line = g_string_new(NULL);
	AuditEntry entry = {
		.what = AUDIT_LINES_LOST,
		.who.actor = AUDIT_BY_POOL,
		.count = ledger->n_pending_lost,
		.failure = "the audit log could not be written",
	};

	audit_format(&entry, line);
	if (audit_writer_append(ledger->audit, line->str, line->len, NULL))
		ledger->n_pending_lost = 0;
}

/* The operator hears of it once, not with each retry. */
static void tell_failure(Ledger *ledger, const GError *error)
{
	if (!ledger->audit_failing && ledger->options.ops.problem)
		ledger->options.ops.problem(ledger->options.opaque, error->message);
	ledger->audit_failing = true;
}

void ledger_audit_write(Ledger *ledger)
{
	g_autoptr(GError) error = NULL;

	take_lines(ledger);
	if (ledger->pending->len == 0 && ledger->n_pending_lost == 0)
		return;
	ledger->active_us = g_get_monotonic_time();
	if (!ledger->unsynced_us)
		ledger->unsynced_us = ledger->active_us;
	if (!audit_writer_append(ledger->audit, ledger->pending->str, ledger->pending->len,
				 &error)) {
		tell_failure(ledger, error);
		return;
	}
	g_string_truncate(ledger->pending, 0);
	if (ledger->n_pending_lost > 0)
		write_loss(ledger);
	ledger->audit_failing = ledger->n_pending_lost > 0;
}

void ledger_audit_sync(Ledger *ledger)
{
	g_autoptr(GError) error = NULL;

	if (!audit_writer_sync(ledger->audit, &error))
		tell_failure(ledger, error);
	ledger->unsynced_us = ledger->audit_failing ? g_get_monotonic_time() : 0;
}

int64_t ledger_audit_deadline_us(const Ledger *ledger)
{
	if (!ledger->unsynced_us)
		return 0;
	if (ledger->audit_failing)
		return ledger->unsynced_us + RETRY_US;
	return MIN(ledger->unsynced_us + SYNC_US, ledger->active_us + QUIET_US);
}
