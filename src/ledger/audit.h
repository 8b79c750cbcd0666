/* SPDX-License-Identifier: BSD-3-Clause */
/* Audit: an append-only record of who did what to the pool's memory, when, with what result. */
#ifndef LEDGER_AUDIT_H
#define LEDGER_AUDIT_H

/*
 * Design. One JSON object per line in "audit.log" of the state directory. A full file becomes
 * "audit.log.1", that one "audit.log.2" and so on; the oldest goes. A line that a crash has torn is
 * ended with a newline at the next start and passed over by the reader. Lines carry their time
 * first and in UTC with fixed width, so they sort and compare as text.
 *
 * The members of a line, in this order; those without meaning for an action are absent:
 *   time     RFC 3339, microseconds, UTC
 *   what     see audit_what_name()
 *   who      {actor: "pool" | "host" | "client", name, pid, uid}
 *   device, backend, tag, id (offer or release request), dpa, len, count
 *   result   "ok" or "failed", then with reason
 */

#include "util/uuid.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef enum AuditWhat {
	AUDIT_OFFER,
	AUDIT_ACCEPT,
	AUDIT_DECLINE,
	AUDIT_WITHDRAW,
	AUDIT_RELEASE_REQUEST,
	AUDIT_RELEASE,
	AUDIT_FORCE_RELEASE,
	AUDIT_WIPE,
	AUDIT_FREE,
	AUDIT_QUARANTINE,
	AUDIT_RECLAIM,
	AUDIT_CONTENTS_LOST, /* of a backend, over a restart */
	AUDIT_BACKEND_ADD,
	AUDIT_BACKEND_REMOVE,
	AUDIT_DEVICE_ADD,
	AUDIT_DEVICE_REMOVE,
	AUDIT_DEVICE_RESET,
	AUDIT_HOST_CONNECT,
	AUDIT_HOST_DISCONNECT,
	AUDIT_START,
	AUDIT_STOP,
	AUDIT_LINES_LOST, /* count: lines that could not be written before this one */
	AUDIT_N_WHATS
} AuditWhat;

typedef enum AuditActor {
	AUDIT_BY_POOL,
	AUDIT_BY_HOST,   /* name: the device's */
	AUDIT_BY_CLIENT, /* of the control socket; name: its process's (/proc/PID/comm) */
	AUDIT_N_ACTORS
} AuditActor;

typedef struct AuditWho {
	AuditActor actor;
	const char *name; /* may be NULL; any bytes, made valid UTF-8 */
	pid_t pid;        /* 0 = not known, then uid means nothing */
	uid_t uid;
} AuditWho;

typedef struct AuditEntry {
	int64_t time_us; /* since 1970; 0 = now */
	AuditWhat what;
	AuditWho who;
	const char *device, *backend; /* NULL = absent, as are zeros below */
	Uuid tag;
	uint64_t id;
	uint64_t dpa, len; /* dpa: only with a device and a len */
	uint64_t count;
	const char *failure; /* NULL = done; of texts the first 4 KiB count */
} AuditEntry;

const char *audit_what_name(AuditWhat what);
/* Appends the line with its newline. */
void audit_format(const AuditEntry *entry, GString *line);

/* ---- writing: one writer per directory, the ledger's thread ---- */
typedef struct AuditConfig {
	const char *dir;
	uint64_t max_len; /* bytes of a file; 0 = 16 MiB */
	unsigned n_old;   /* files kept besides the current one; 0 = 8 */
} AuditConfig;

#define AUDIT_MAX_OLD 99

typedef struct AuditWriter AuditWriter;
/* Errors name the path and the cure. */
AuditWriter *audit_writer_new(const AuditConfig *config, GError **error);
void audit_writer_free(AuditWriter *writer); /* syncs */
/* LINES are whole lines. On failure none of them is in the file. */
bool audit_writer_append(AuditWriter *writer, const char *lines, size_t len, GError **error);
/* Returns when all appended so far is durable. */
bool audit_writer_sync(AuditWriter *writer, GError **error);

/* ---- reading: anybody who may read the directory, also while it is written ---- */
/* LINE is a JSON object without newline. Returns false to stop. */
typedef bool (*AuditLineFunc)(const char *line, size_t len, int64_t time_us, void *opaque);
/* Every line of SINCE_US (since 1970) or later, oldest file first. A directory without any audit
 * file has no lines. Errors are of the file system. */
bool audit_read(const char *dir, int64_t since_us, AuditLineFunc func, void *opaque,
		GError **error);
/* "2026-11-23T04:01:01Z", "2026-11-23T05:01:01.5+01:00", or how long ago: "90s", "10m", "2h30m",
 * "7d". The error names the text and what it may be. */
bool audit_parse_since(const char *text, int64_t now_us, int64_t *ret_since_us, GError **error);

#endif
