/* SPDX-License-Identifier: BSD-3-Clause */
/* Opens, checks and makes ledger files. */
#include "ledger/ledger_file.h"
#include "ledger/ledger_error.h"
#include "ledger/ledger_schema.h"
#include "util/autofd.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#define OPEN_FLAGS (SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE)

/* Exclusive: no other process reads or writes, and no shared memory file is needed. Checkpoints
 * are run between transactions, where nobody waits for them. */
static const char session_pragmas[] = "PRAGMA locking_mode = EXCLUSIVE;"
				      "PRAGMA trusted_schema = OFF;"
				      "PRAGMA cell_size_check = ON;"
				      "PRAGMA foreign_keys = ON;"
				      "PRAGMA synchronous = FULL;"
				      "PRAGMA temp_store = MEMORY;"
				      "PRAGMA wal_autocheckpoint = 0;"
				      "PRAGMA journal_size_limit = 16777216;";

static bool complain(GError **error, LedgerError code, const char *format, ...) G_GNUC_PRINTF(3, 4);

static bool complain(GError **error, LedgerError code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (error)
		*error = g_error_new_valist(LEDGER_ERROR, (int)code, format, args);
	va_end(args);
	return false;
}

/* ---- the file system around it ---- */

static bool check_dir(const char *path, GError **error)
{
	g_autofree char *dir = g_path_get_dirname(path);
	struct stat st;

	if (stat(dir, &st) != 0)
		return ledger_fail_errno(error, path, "open", errno);
	if (!S_ISDIR(st.st_mode))
		return ledger_fail_errno(error, path, "open", ENOTDIR);
	/* Who may rename files in it may put another ledger in the place of this one. */
	if ((st.st_uid != geteuid() && st.st_uid != 0) || (st.st_mode & 022))
		return complain(error, LEDGER_ERROR_ACCESS,
				"state directory %s has owner %u and mode %04o, so others could "
				"replace the ledger in it; chown %u and chmod 0700 it",
				dir, (unsigned)st.st_uid, (unsigned)st.st_mode & 07777,
				(unsigned)geteuid());
	if (faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS) != 0)
		return ledger_fail_errno(error, path, "write", errno);
	return true;
}

/* PATH is the ledger or a file SQLite keeps beside it. */
static bool check_file(const char *path, GError **error)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		return errno == ENOENT || ledger_fail_errno(error, path, "open", errno);
	if (!S_ISREG(st.st_mode))
		return complain(error, LEDGER_ERROR_ACCESS,
				"ledger %s is a %s, not a regular file; move it away", path,
				S_ISDIR(st.st_mode)   ? "directory"
				: S_ISLNK(st.st_mode) ? "symbolic link"
						      : "special file");
	if (st.st_uid != geteuid() || (st.st_mode & 077))
		return complain(
			error, LEDGER_ERROR_ACCESS,
			"ledger %s has owner %u and mode %04o, but it must be uid %u's alone; "
			"chown %u and chmod 0600 it",
			path, (unsigned)st.st_uid, (unsigned)st.st_mode & 07777,
			(unsigned)geteuid(), (unsigned)geteuid());
	if (faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) != 0)
		return ledger_fail_errno(error, path, "write", errno);
	return true;
}

static bool check_files(const char *path, bool *ret_exists, GError **error)
{
	g_autofree char *wal = g_strconcat(path, "-wal", NULL);
	struct stat st;

	if (!check_dir(path, error) || !check_file(path, error) || !check_file(wal, error))
		return false;
	*ret_exists = lstat(path, &st) == 0;
	if (*ret_exists && st.st_size == 0)
		return ledger_fail_damaged(error, path, "it is empty");
	if (!*ret_exists && lstat(wal, &st) == 0)
		return ledger_fail_damaged(error, path, "it is missing, only its log %s is there",
					   wal);
	return true;
}

static bool sync_path(const char *path)
{
	AUTOFD int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && fsync(fd) == 0;
}

/* ---- SQLite ---- */

bool ledger_file_run(LedgerFile *file, const char *sql, const char *verb, GError **error)
{
	if (sqlite3_exec(file->db, sql, NULL, NULL, NULL) == SQLITE_OK)
		return true;
	return ledger_fail_sqlite(error, file->path, verb, file->db);
}

/* The first column of the first row; NULL text if there is none. */
static bool query(LedgerFile *file, const char *sql, int64_t *ret_number, char **ret_text,
		  GError **error)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(file->db, sql, -1, &stmt, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
		ledger_fail_sqlite(error, file->path, "read", file->db);
		sqlite3_finalize(stmt);
		return false;
	}
	if (ret_number)
		*ret_number = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
	if (ret_text)
		*ret_text = rc == SQLITE_ROW ? g_strdup((const char *)sqlite3_column_text(stmt, 0))
					     : NULL;
	sqlite3_finalize(stmt);
	return true;
}

static bool open_db(LedgerFile *file, const char *path, GError **error)
{
	if (sqlite3_open_v2(path, &file->db, OPEN_FLAGS, NULL) != SQLITE_OK)
		return ledger_fail_sqlite(error, path, "open", file->db);
	sqlite3_db_config(file->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(file->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	return ledger_file_run(file, session_pragmas, "open", error);
}

static bool use_wal(LedgerFile *file, GError **error)
{
	g_autofree char *mode = NULL;

	if (!query(file, "PRAGMA journal_mode = WAL", NULL, &mode, error))
		return false;
	if (g_strcmp0(mode, "wal") == 0)
		return true;
	return complain(
		error, LEDGER_ERROR_FAILED,
		"ledger %s: its file system does not take a write-ahead log; choose another "
		"state directory",
		file->path);
}

/* Before anything is changed: is it ours, and can we read it? */
static bool check_version(LedgerFile *file, int *ret_version, GError **error)
{
	int64_t id, version;

	if (!query(file, "PRAGMA application_id", &id, NULL, error) ||
	    !query(file, "PRAGMA user_version", &version, NULL, error))
		return false;
	if (id != LEDGER_APPLICATION_ID)
		return complain(
			error, LEDGER_ERROR_DAMAGED,
			"ledger %s is a database of another program (application id %" PRId64
			", a ledger's is %d); name another state directory, or move the file "
			"away",
			file->path, id, LEDGER_APPLICATION_ID);
	if (version > ledger_schema_version())
		return complain(
			error, LEDGER_ERROR_NEWER,
			"ledger %s has version %" PRId64 ", written by a newer softdcd; this "
			"one (" SOFTDCD_VERSION ") knows versions up to %d: install the newer "
			"one again",
			file->path, version, ledger_schema_version());
	if (version < 1)
		return ledger_fail_damaged(error, file->path, "its version is %" PRId64, version);
	*ret_version = (int)version;
	return true;
}

static bool check_contents(LedgerFile *file, GError **error)
{
	g_autofree char *text = NULL, *table = NULL;

	if (!query(file, "PRAGMA quick_check(1)", NULL, &text, error))
		return false;
	if (g_strcmp0(text, "ok") != 0)
		return ledger_fail_damaged(error, file->path, "%s",
					   text ? g_strdelimit(text, "\n", ' ') : "check failed");
	if (!query(file, "PRAGMA foreign_key_check", NULL, &table, error))
		return false;
	if (!table && !query(file,
			     "SELECT 'extent' FROM extent"
			     " WHERE offer NOT IN (SELECT id FROM offer) LIMIT 1",
			     NULL, &table, error))
		return false;
	if (table)
		return ledger_fail_damaged(error, file->path,
					   "a row of \"%s\" refers to one that is not there",
					   table);
	return true;
}

static bool check_mark(LedgerFile *file, GError **error)
{
	g_autofree char *text = NULL;

	if (!query(file, "SELECT value FROM meta WHERE key = 'commits'", NULL, &text, error))
		return false;
	if (!text || !g_ascii_string_to_unsigned(text, 10, 1, INT64_MAX, &file->n_commits, NULL))
		return ledger_fail_damaged(error, file->path,
					   "how often it was written should be a number, not "
					   "\"%s\"",
					   text ? text : "");
	if (file->n_commits >= file->mark.n_commits)
		return true;
	return ledger_fail_damaged(
		error, file->path,
		"it holds %" PRIu64 " commits, but %" PRIu64
		" were acknowledged (to go on with an older copy on purpose, remove "
		"%s.mark)",
		file->n_commits, file->mark.n_commits, file->path);
}

static bool prepare(LedgerFile *file, const char *sql, sqlite3_stmt **ret_stmt, GError **error)
{
	if (sqlite3_prepare_v3(file->db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret_stmt, NULL) ==
	    SQLITE_OK)
		return true;
	return ledger_fail_sqlite(error, file->path, "read", file->db);
}

static bool prepare_all(LedgerFile *file, GError **error)
{
	return prepare(file, "BEGIN IMMEDIATE", &file->begin, error) &&
	       prepare(file, "UPDATE meta SET value = value + 1 WHERE key = 'commits'",
		       &file->count, error) &&
	       prepare(file, "COMMIT", &file->commit, error) &&
	       prepare(file, "ROLLBACK", &file->rollback, error);
}

static bool step(LedgerFile *file, sqlite3_stmt *stmt, GError **error)
{
	bool ok = sqlite3_step(stmt) == SQLITE_DONE ||
		  ledger_fail_sqlite(error, file->path, "write", file->db);

	sqlite3_reset(stmt);
	return ok;
}

bool ledger_file_begin(LedgerFile *file, GError **error)
{
	return step(file, file->begin, error);
}

void ledger_file_rollback(LedgerFile *file)
{
	int rc = sqlite3_errcode(file->db) & 0xff;

	/* SQLite ends the transaction itself after some errors. */
	if (!sqlite3_get_autocommit(file->db))
		step(file, file->rollback, NULL);
	/* A commit that failed in its sync may still stand in the log and would come back after a
	 * crash; an emptied log cannot. It also gives space back. */
	if (rc == SQLITE_IOERR || rc == SQLITE_FULL)
		sqlite3_wal_checkpoint_v2(file->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
}

bool ledger_file_commit(LedgerFile *file, GError **error)
{
	if (!step(file, file->count, error) || !step(file, file->commit, error)) {
		ledger_file_rollback(file);
		return false;
	}
	ledger_mark_set(&file->mark, ++file->n_commits);
	return true;
}

/* Also of an up to date ledger: then it is only the first write. */
static bool upgrade(LedgerFile *file, int from, GError **error)
{
	if (!ledger_file_begin(file, error))
		return false;
	if (ledger_schema_upgrade(file->db, from) == SQLITE_OK)
		return true;
	return ledger_fail_sqlite(error, file->path, "upgrade", file->db);
}

static bool open_existing(LedgerFile *file, GError **error)
{
	int version = 0;

	if (!open_db(file, file->path, error))
		return false;
	/* What turns out to be damaged is left as it is. */
	sqlite3_db_config(file->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	return check_version(file, &version, error) && use_wal(file, error) &&
	       check_contents(file, error) && check_mark(file, error) && prepare_all(file, error) &&
	       upgrade(file, version, error);
}

bool ledger_file_accept(LedgerFile *file, GError **error)
{
	if (!ledger_file_commit(file, error))
		return false;
	sqlite3_db_config(file->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	return true;
}

/* ---- a new one: made under another name, so that a crash leaves all of it or nothing ---- */

static void remove_fresh(const char *fresh)
{
	static const char *const suffixes[] = { "", "-journal", "-wal" };

	for (size_t i = 0; i < G_N_ELEMENTS(suffixes); i++) {
		g_autofree char *path = g_strconcat(fresh, suffixes[i], NULL);

		unlink(path);
	}
}

static bool fill_fresh(LedgerFile *file, const char *fresh, GError **error)
{
	AUTOFD int fd = open(fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return ledger_fail_errno(error, file->path, "create", errno);
	if (!open_db(file, fresh, error) || !ledger_file_run(file, "BEGIN", "create", error))
		return false;
	if (ledger_schema_upgrade(file->db, 0) != SQLITE_OK)
		return ledger_fail_sqlite(error, file->path, "create", file->db);
	if (!ledger_file_run(file, "COMMIT", "create", error) || !use_wal(file, error))
		return false;
	if (sqlite3_close(file->db) != SQLITE_OK)
		return ledger_fail_sqlite(error, file->path, "create", file->db);
	file->db = NULL;
	return true;
}

static bool create(LedgerFile *file, GError **error)
{
	g_autofree char *fresh = g_strconcat(file->path, ".new", NULL);
	g_autofree char *dir = g_path_get_dirname(file->path);

	if (file->mark.n_commits > 0)
		return ledger_fail_damaged(error, file->path,
					   "it is missing, and its mark says that it held %" PRIu64
					   " commits",
					   file->mark.n_commits);
	remove_fresh(fresh);
	if (!ledger_mark_reset(&file->mark, file->path, error))
		return false;
	if (!fill_fresh(file, fresh, error)) {
		sqlite3_close_v2(file->db);
		file->db = NULL;
		remove_fresh(fresh);
		return false;
	}
	if (!sync_path(fresh) || rename(fresh, file->path) != 0 || !sync_path(dir))
		return ledger_fail_errno(error, file->path, "create", errno);
	file->is_new = true;
	return true;
}

LedgerFile *ledger_file_open(const char *path, GError **error)
{
	LedgerFile *file = g_new0(LedgerFile, 1);
	bool exists;

	file->path = g_strdup(path);
	file->mark.fd = -EBADF;
	if (check_files(path, &exists, error) && ledger_mark_open(path, &file->mark, error) &&
	    (exists || create(file, error)) && open_existing(file, error))
		return file;
	ledger_file_close(file);
	return NULL;
}

void ledger_file_close(LedgerFile *file)
{
	if (!file)
		return;
	sqlite3_finalize(file->begin);
	sqlite3_finalize(file->count);
	sqlite3_finalize(file->commit);
	sqlite3_finalize(file->rollback);
	sqlite3_close_v2(file->db);
	ledger_mark_close(&file->mark);
	g_free(file->path);
	g_free(file);
}
