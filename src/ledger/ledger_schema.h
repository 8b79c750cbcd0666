/* SPDX-License-Identifier: BSD-3-Clause */
/* The ledger's tables and how an older ledger gets them. */
#ifndef LEDGER_LEDGER_SCHEMA_H
#define LEDGER_LEDGER_SCHEMA_H

#include <sqlite3.h>

#define LEDGER_APPLICATION_ID 0x43444344 /* "CDCD" in a database's header, for file(1) */

/* What this softdcd reads and writes; a database says its own in user_version. */
int ledger_schema_version(void);
/*
 * Runs the steps from version FROM (0: an empty database) to the present one, inside the caller's
 * transaction. Returns SQLITE_OK or the error, of which sqlite3_errmsg() knows more.
 */
int ledger_schema_upgrade(sqlite3 *db, int from);

#endif
