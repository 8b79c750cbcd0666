/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the structs of capacity/rows.h and the columns of the ledger's tables. */
#ifndef LEDGER_LEDGER_ROWS_H
#define LEDGER_LEDGER_ROWS_H

#include "capacity/rows.h"

#include <sqlite3.h>

/* The prepared statements of every table. */
typedef struct LedgerRows LedgerRows;

typedef struct LedgerBlob {
	char *kind;
	char *name;
	GBytes *data;
} LedgerBlob;

/* NULL: the tables are not as expected; sqlite3_errmsg() says how. */
LedgerRows *ledger_rows_new(sqlite3 *db);
void ledger_rows_free(LedgerRows *rows);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LedgerRows, ledger_rows_free)

/* Inside a transaction, which is the caller's to undo. SQLITE_OK or the error. */
int ledger_rows_apply(LedgerRows *rows, const RowRecord *record);
int ledger_rows_put_blob(LedgerRows *rows, const LedgerBlob *blob);

/* Appends all rows to RECORD. PATH is for the error. */
bool ledger_rows_load(LedgerRows *rows, const char *path, RowRecord *record, GError **error);
typedef void (*LedgerRowsBlobFunc)(const LedgerBlob *blob, void *opaque);
bool ledger_rows_load_blobs(LedgerRows *rows, const char *path, LedgerRowsBlobFunc func,
			    void *opaque, GError **error);

#endif
