/* SPDX-License-Identifier: BSD-3-Clause */
/* How the ledger's troubles are told to an operator: the path, what is wrong, the cure. */
#ifndef LEDGER_LEDGER_ERROR_H
#define LEDGER_LEDGER_ERROR_H

#include "ledger/ledger.h"

#include <sqlite3.h>

/* "ledger PATH is damaged: WHAT; ...". Always false, so that callers can return it. */
bool ledger_fail_damaged(GError **error, const char *path, const char *format, ...)
	G_GNUC_PRINTF(3, 4);
/* "cannot VERB ledger PATH: REASON; CURE", of a system call. */
bool ledger_fail_errno(GError **error, const char *path, const char *verb, int errnum);
/* Of the last call on DB, which failed while it was doing VERB. */
bool ledger_fail_sqlite(GError **error, const char *path, const char *verb, sqlite3 *db);

#endif
