/* SPDX-License-Identifier: BSD-3-Clause */
/* Ledger: the rows that must survive the daemon, in SQLite, on a thread of their own. */
#ifndef LEDGER_LEDGER_H
#define LEDGER_LEDGER_H

/*
 * Design. The ledger's thread owns the database. What is submitted is queued and never waits; the
 * thread puts all that has queued up into one transaction, commits it durably (write-ahead log,
 * synced), and answers in order through a main context. If the transaction fails, its records are
 * tried one by one, so that one bad record takes no good one with it; a record that fails is
 * refused with every later one of its epoch (capacity/rows.h). A full disk is no end: later records
 * of a new epoch are tried again.
 *
 * A ledger that cannot be believed is never opened and never replaced: damaged, cut short, from a
 * newer version, another program's, open to others, in use. The error says which, and the cure.
 */

#include "capacity/rows.h"
#include "ledger/audit.h"

#define LEDGER_ERROR (ledger_error_quark())
GQuark ledger_error_quark(void);
typedef enum LedgerError {
	LEDGER_ERROR_DAMAGED, /* or no ledger at all */
	LEDGER_ERROR_NEWER,   /* written by a later softdcd */
	LEDGER_ERROR_IN_USE,
	LEDGER_ERROR_ACCESS, /* read-only, wrong owner or mode, no directory */
	LEDGER_ERROR_FULL,   /* no space */
	LEDGER_ERROR_FAILED, /* the system refused otherwise */
} LedgerError;

typedef struct Ledger Ledger;

/* All are called on the ledger's thread, may block, and may be NULL. */
typedef struct LedgerOps {
	/*
	 * Puts the descriptor where it survives the daemon; true when it is there. Called before
	 * the record that carries FILE is committed, for each time it does. What a refused record
	 * had stored is dropped again: a later record carries it anew.
	 */
	bool (*file_store)(void *opaque, uint64_t incarnation, MemFile *file, GError **error);
	/* After the commit that deleted the row of a memfd or hugetlb file. */
	void (*file_drop)(void *opaque, uint64_t incarnation);
	/* Something an operator should hear of that refuses nothing: the audit cannot be written.
	 */
	void (*problem)(void *opaque, const char *text);
	/*
	 * For tests that stall or kill here. STEP is "ledger-before-commit" or
	 * "ledger-after-commit"; REASONS has the bit 1 << RowReason of each record in the commit.
	 */
	void (*fault)(void *opaque, const char *step, unsigned reasons);
} LedgerOps;

typedef struct LedgerOptions {
	LedgerOps ops;
	void *opaque;
	GMainContext *context;  /* where answers are given; NULL = the default one */
	uint64_t audit_max_len; /* bytes of an audit file; 0 = 16 MiB */
	unsigned audit_n_old;   /* 0 = 8 */
	uint64_t max_len;       /* tests: bytes the database may grow to; 0 = no limit */
} LedgerOptions;

/* Blocks; makes the ledger if there has never been one. Its directory must exist, belong to this
 * user and be writable by nobody else; the audit log is written there too. */
Ledger *ledger_open(const char *path, const LedgerOptions *options, GError **error);
/* Does all that is queued, then ends the thread. Every answer has been handed to the context when
 * this returns, and comes when that runs. */
void ledger_close(Ledger *ledger);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Ledger, ledger_close)
/* There was none before it was opened. */
bool ledger_is_new(const Ledger *ledger);

/* All rows, as upserts in the order of their kinds and keys; FILE rows without their files.
 * Blocks. Caller owns the record. Right after opening it is the one that was checked then. */
RowRecord *ledger_load(Ledger *ledger, GError **error);

/* WHY is NULL or what to tell the operator, valid during the call. */
typedef void (*LedgerDone)(void *opaque, bool ok, const char *why);

/*
 * Any thread; never blocks. Takes a reference of RECORD. DONE, which may be NULL, is called once,
 * in the order of submission, never from inside. Records of epoch 0 stand alone: their failure
 * refuses no other.
 */
void ledger_submit(Ledger *ledger, RowRecord *record, LedgerDone done, void *opaque);

/* Bytes the ledger knows nothing about, by kind and name; DATA NULL deletes. As ledger_submit(),
 * in one order with it; stands alone. */
void ledger_put_blob(Ledger *ledger, const char *kind, const char *name, GBytes *data,
		     LedgerDone done, void *opaque);
typedef void (*LedgerBlobFunc)(const char *name, GBytes *data, void *opaque);
/* Every blob of this kind, by name. Blocks. */
bool ledger_load_blobs(Ledger *ledger, const char *kind, LedgerBlobFunc func, void *opaque,
		       GError **error);

/* Any thread; never blocks. Written soon, durable within a second. While the disk is full, lines
 * are kept up to 4 MiB and then counted. */
void ledger_audit(Ledger *ledger, const AuditEntry *entry);

/* Any thread; never blocks. Calls FUNC on the ledger's thread, after what was submitted before. */
void ledger_run(Ledger *ledger, void (*func)(void *opaque), void *opaque);

/* Blocks until all that was submitted before is durable or refused, audit included. */
void ledger_sync(Ledger *ledger);

#endif
