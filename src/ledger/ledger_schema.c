/* SPDX-License-Identifier: BSD-3-Clause */
/* The ledger's tables. A step that has been in a release is never edited: a new one follows. */
#include "ledger/ledger_schema.h"

#include <glib.h>

/*
 * Columns are named as the members in capacity/rows.h (ledger_rows.c). Numbers of 64 bits are kept
 * as their two's complement. "sum" is the row's check sum; it is made so that a column added later,
 * with no or a zero value, leaves it right.
 */
static const char step_rows[] =
	"CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;"
	"INSERT INTO meta VALUES ('commits', '1');"

	"CREATE TABLE counters (one INTEGER PRIMARY KEY, next_id INTEGER NOT NULL,"
	" next_map INTEGER NOT NULL, last_serial INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT;"

	"CREATE TABLE host (serial INTEGER PRIMARY KEY, pid INTEGER NOT NULL,"
	" start_time INTEGER NOT NULL, uid INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT;"

	"CREATE TABLE backend (name TEXT PRIMARY KEY, type INTEGER NOT NULL,"
	" size INTEGER NOT NULL, page_size INTEGER NOT NULL, path TEXT, tag BLOB,"
	" share INTEGER NOT NULL, shareable INTEGER NOT NULL, read_only INTEGER NOT NULL,"
	" prealloc INTEGER NOT NULL, wipes INTEGER NOT NULL, incarnation INTEGER NOT NULL,"
	" device INTEGER NOT NULL, static_dpa INTEGER NOT NULL,"
	" fresh_per_session INTEGER NOT NULL, map_id INTEGER NOT NULL,"
	" host INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT, WITHOUT ROWID;"

	"CREATE TABLE file (incarnation INTEGER PRIMARY KEY, type INTEGER NOT NULL,"
	" len INTEGER NOT NULL, page_size INTEGER NOT NULL, read_only INTEGER NOT NULL,"
	" dirty INTEGER NOT NULL, backend TEXT, offer INTEGER NOT NULL,"
	" sum INTEGER NOT NULL) STRICT;"

	"CREATE TABLE holder (incarnation INTEGER NOT NULL"
	" REFERENCES file ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,"
	" serial INTEGER NOT NULL, same_uid INTEGER NOT NULL, ghost INTEGER NOT NULL,"
	" wiped INTEGER NOT NULL, gone INTEGER NOT NULL, sum INTEGER NOT NULL,"
	" PRIMARY KEY (incarnation, serial)) STRICT, WITHOUT ROWID;"

	"CREATE TABLE wipe (incarnation INTEGER NOT NULL"
	" REFERENCES file ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,"
	" offset INTEGER NOT NULL, len INTEGER NOT NULL, sum INTEGER NOT NULL,"
	" PRIMARY KEY (incarnation, offset)) STRICT, WITHOUT ROWID;"

	"CREATE TABLE device (id INTEGER PRIMARY KEY, name TEXT NOT NULL,"
	" static_len INTEGER NOT NULL, regions BLOB NOT NULL, max_extents INTEGER NOT NULL,"
	" max_offers INTEGER NOT NULL, max_chain INTEGER NOT NULL,"
	" chains_in_flight INTEGER NOT NULL, hold_off INTEGER NOT NULL, pool_config TEXT,"
	" generation INTEGER NOT NULL, host INTEGER NOT NULL, host_control_only INTEGER NOT NULL,"
	" host_same_uid INTEGER NOT NULL, host_max_maps INTEGER NOT NULL,"
	" sum INTEGER NOT NULL) STRICT;"

	"CREATE TABLE offer (id INTEGER PRIMARY KEY,"
	" device INTEGER NOT NULL REFERENCES device DEFERRABLE INITIALLY DEFERRED,"
	" region INTEGER NOT NULL, policy INTEGER NOT NULL, pending INTEGER NOT NULL, tag BLOB,"
	" backend TEXT, mem_len INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT;"

	/* No foreign key to its offer: that would want an index. Checked when opened. */
	"CREATE TABLE extent ("
	" device INTEGER NOT NULL REFERENCES device DEFERRABLE INITIALLY DEFERRED,"
	" dpa INTEGER NOT NULL, len INTEGER NOT NULL, offer INTEGER NOT NULL,"
	" region INTEGER NOT NULL, state INTEGER NOT NULL, sanitize INTEGER NOT NULL,"
	" shared_seq INTEGER NOT NULL, \"order\" INTEGER NOT NULL, mem_offset INTEGER NOT NULL,"
	" map_id INTEGER NOT NULL, host INTEGER NOT NULL, sum INTEGER NOT NULL,"
	" PRIMARY KEY (device, dpa)) STRICT, WITHOUT ROWID;"

	"CREATE TABLE quarantine ("
	" device INTEGER NOT NULL REFERENCES device DEFERRABLE INITIALLY DEFERRED,"
	" dpa INTEGER NOT NULL, len INTEGER NOT NULL, extent INTEGER NOT NULL,"
	" sum INTEGER NOT NULL, PRIMARY KEY (device, dpa)) STRICT, WITHOUT ROWID;"

	"CREATE TABLE request (id INTEGER PRIMARY KEY,"
	" device INTEGER NOT NULL REFERENCES device DEFERRABLE INITIALLY DEFERRED,"
	" region INTEGER NOT NULL, state INTEGER NOT NULL, forced INTEGER NOT NULL,"
	" sanitize INTEGER NOT NULL, tag BLOB, n_resent INTEGER NOT NULL,"
	" created_us INTEGER NOT NULL, changed_us INTEGER NOT NULL, timeout_us INTEGER NOT NULL,"
	" sum INTEGER NOT NULL) STRICT;"

	"CREATE TABLE request_range (request INTEGER NOT NULL"
	" REFERENCES request ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,"
	" \"index\" INTEGER NOT NULL, dpa INTEGER NOT NULL, len INTEGER NOT NULL,"
	" offer INTEGER NOT NULL, sum INTEGER NOT NULL,"
	" PRIMARY KEY (request, \"index\")) STRICT, WITHOUT ROWID;";

static const char step_blobs[] =
	"CREATE TABLE blob (kind TEXT NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL,"
	" sum INTEGER NOT NULL, PRIMARY KEY (kind, name)) STRICT, WITHOUT ROWID;";

/* Step I leads from version I to version I + 1. */
static const char *const steps[] = { step_rows, step_blobs };

int ledger_schema_version(void)
{
	return G_N_ELEMENTS(steps);
}

int ledger_schema_upgrade(sqlite3 *db, int from)
{
	char header[128];

	for (int i = from; i < ledger_schema_version(); i++) {
		int rc = sqlite3_exec(db, steps[i], NULL, NULL, NULL);

		if (rc != SQLITE_OK)
			return rc;
	}
	g_snprintf(header, sizeof(header), "PRAGMA application_id = %d; PRAGMA user_version = %d",
		   LEDGER_APPLICATION_ID, ledger_schema_version());
	return sqlite3_exec(db, header, NULL, NULL, NULL);
}
