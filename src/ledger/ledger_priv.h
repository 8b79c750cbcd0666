/* SPDX-License-Identifier: BSD-3-Clause */
/* The ledger's own structures and the calls between its files. */
#ifndef LEDGER_LEDGER_PRIV_H
#define LEDGER_LEDGER_PRIV_H

#include "ledger/ledger.h"
#include "ledger/ledger_file.h"
#include "ledger/ledger_rows.h"

typedef struct Job Job;
typedef void (*JobFunc)(Ledger *ledger, void *opaque);

/* One thing to do for the thread: keep a record or a blob, or run a function somebody waits for. */
struct Job {
	RowRecord *record;
	LedgerBlob blob;
	JobFunc func;
	void *func_data;
	LedgerDone done;
	void *opaque;

	/* The answer */
	bool ok;
	char *why;
};

struct Ledger {
	LedgerOptions options;
	GMainContext *context;
	GThread *thread;
	bool is_new;

	GMutex lock; /* of the next four */
	GCond wake;
	GQueue queue;    /* Job */
	GString *lines;  /* of the audit, not taken yet */
	uint64_t n_lost; /* lines LINES had no room for */
	bool closing;

	/* The thread's alone once it runs */
	LedgerFile *file;
	LedgerRows *rows;
	RowRecord *loaded;      /* all rows, as checked when opened; until something is written */
	GHashTable *stored;     /* incarnations with a stored descriptor that have a row */
	uint64_t refused_epoch; /* the last one with a refused record; they only grow */
	int n_wal_pages;
	AuditWriter *audit;
	GString *pending; /* lines that are not in the file yet */
	uint64_t n_pending_lost;
	int64_t unsynced_us; /* since when there are written lines that may be lost; 0 = none */
	int64_t active_us;   /* when there was last something to do */
	bool audit_failing;
};

/* ledger_write.c: decides every one of JOBS, which have no functions among them. */
void ledger_write(Ledger *ledger, Job **jobs, size_t n);
/* Which descriptors are stored, from the rows loaded. */
void ledger_find_stored(Ledger *ledger);
void ledger_checkpoint_if_due(Ledger *ledger);

/* ledger_audit.c */
void ledger_audit_write(Ledger *ledger);
void ledger_audit_sync(Ledger *ledger);
/* When the thread has to look after the audit again, monotonic; 0 = never. */
int64_t ledger_audit_deadline_us(const Ledger *ledger);
/* With the lock held: is there something to take? */
bool ledger_audit_has_lines(const Ledger *ledger);

#endif
