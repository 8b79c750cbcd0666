/* SPDX-License-Identifier: BSD-3-Clause */
/* Words for what can be wrong with a ledger. */
#include "ledger/ledger_error.h"

#include <errno.h>
#include <gio/gio.h>

G_DEFINE_QUARK(softdcd - ledger - error - quark, ledger_error)

bool ledger_fail_damaged(GError **error, const char *path, const char *format, ...)
{
	g_autofree char *what = NULL;
	va_list args;

	va_start(args, format);
	what = g_strdup_vprintf(format, args);
	va_end(args);
	g_set_error(error, LEDGER_ERROR, LEDGER_ERROR_DAMAGED,
		    "ledger %s is damaged: %s; softdcd does not start on it: move it, %s-wal and "
		    "%s.mark away, then restore a copy of all three, or start without to begin "
		    "anew, which gives up all record of which host holds which memory",
		    path, what, path, path);
	return false;
}

static LedgerError code_of_errno(int errnum, const char **ret_cure)
{
	switch (errnum) {
	case ENOSPC:
	case EDQUOT:
		*ret_cure = "; free space on its file system";
		return LEDGER_ERROR_FULL;
	case EROFS:
		*ret_cure = "; it is on a read-only file system: remount it writable or choose "
			    "another state directory";
		return LEDGER_ERROR_ACCESS;
	case EACCES:
	case EPERM:
		*ret_cure = "; it and its directory must be writable by softdcd";
		return LEDGER_ERROR_ACCESS;
	case ENOENT:
	case ENOTDIR:
		*ret_cure = "; create its directory, or choose another state directory";
		return LEDGER_ERROR_ACCESS;
	default:
		*ret_cure = "";
		return LEDGER_ERROR_FAILED;
	}
}

bool ledger_fail_errno(GError **error, const char *path, const char *verb, int errnum)
{
	const char *cure;
	LedgerError code = code_of_errno(errnum, &cure);

	g_set_error(error, LEDGER_ERROR, code, "cannot %s ledger %s: %s%s", verb, path,
		    g_strerror(errnum), cure);
	return false;
}

bool ledger_fail_sqlite(GError **error, const char *path, const char *verb, sqlite3 *db)
{
	int rc = sqlite3_extended_errcode(db), errnum = sqlite3_system_errno(db);
	g_autofree char *text = g_strdup(sqlite3_errmsg(db));

	switch (rc & 0xff) {
	case SQLITE_CORRUPT:
	case SQLITE_ERROR: /* our statements are right: then its tables are not */
		return ledger_fail_damaged(error, path, "%s", text);
	case SQLITE_NOTADB:
		g_set_error(error, LEDGER_ERROR, LEDGER_ERROR_DAMAGED,
			    "ledger %s is not a ledger: %s; name another state directory, or move "
			    "the file away",
			    path, text);
		return false;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		g_set_error(error, LEDGER_ERROR, LEDGER_ERROR_IN_USE,
			    "ledger %s is in use by another program; end that first", path);
		return false;
	case SQLITE_FULL:
		return ledger_fail_errno(error, path, verb, ENOSPC);
	case SQLITE_READONLY:
		return ledger_fail_errno(error, path, verb, EACCES);
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		if (errnum)
			return ledger_fail_errno(error, path, verb, errnum);
		break;
	default:
		break;
	}
	g_set_error(error, LEDGER_ERROR, LEDGER_ERROR_FAILED, "cannot %s ledger %s: %s (SQLite %d)",
		    verb, path, text, rc);
	return false;
}
