/* SPDX-License-Identifier: BSD-3-Clause */
/* A ledger's database file: made whole or not at all, locked, checked before it is believed. */
#ifndef LEDGER_LEDGER_FILE_H
#define LEDGER_LEDGER_FILE_H

#include "ledger/ledger_mark.h"

#include <sqlite3.h>

typedef struct LedgerFile {
	char *path;
	sqlite3 *db;
	sqlite3_stmt *begin, *count, *commit, *rollback;
	LedgerMark mark;
	uint64_t n_commits;
	bool is_new;
} LedgerFile;

/*
 * Makes the ledger if there has been none; refuses what is damaged, newer, in use, or open to
 * others. An older one has the present tables when this returns, but nothing of it is written
 * before ledger_file_accept(), so that the caller can look at the rows first. Blocks.
 */
LedgerFile *ledger_file_open(const char *path, GError **error);
/* After this the file system is known to take writes. */
bool ledger_file_accept(LedgerFile *file, GError **error);
void ledger_file_close(LedgerFile *file);

/* Runs SQL without results. VERB is for the error. */
bool ledger_file_run(LedgerFile *file, const char *sql, const char *verb, GError **error);
/* One transaction at a time. Commit counts itself; if it fails all is rolled back. */
bool ledger_file_begin(LedgerFile *file, GError **error);
bool ledger_file_commit(LedgerFile *file, GError **error);
void ledger_file_rollback(LedgerFile *file);

#endif
