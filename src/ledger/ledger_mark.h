/* SPDX-License-Identifier: BSD-3-Clause */
/* The mark: how many commits a ledger has seen, kept beside it, and the lock on it. */
#ifndef LEDGER_LEDGER_MARK_H
#define LEDGER_LEDGER_MARK_H

/*
 * Why. SQLite takes a write-ahead log that was cut short or removed for one that ends early, and
 * goes on with what it finds: acknowledged grants would be forgotten without a word. So each commit
 * counts itself in the ledger and then, outside, in "LEDGER.mark"; a ledger that has seen fewer
 * commits than its mark has lost some. The mark is written after the commit and never synced: it
 * may lag after a power failure, it cannot run ahead.
 *
 * The same file is locked for as long as the ledger is open. (SQLite's own locks vanish when any
 * descriptor of the database is closed in the process, flock's do not.)
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct LedgerMark {
	int fd;
	uint64_t n_commits; /* as found; 0 = there was none */
} LedgerMark;

/* Locks; refused if another process, which is named, holds the ledger at PATH. */
bool ledger_mark_open(const char *path, LedgerMark *ret_mark, GError **error);
/* Durably back to none: a new ledger begins. */
bool ledger_mark_reset(LedgerMark *mark, const char *path, GError **error);
/* Failing to do so only weakens the check. */
void ledger_mark_set(LedgerMark *mark, uint64_t n_commits);
void ledger_mark_close(LedgerMark *mark);

#endif
