/* SPDX-License-Identifier: BSD-3-Clause */
/* What makes the daemon's pool outlive it: ledger, keeper, and putting all back at the start. */
#include "pool/pool_daemon_priv.h"

#include "util/autofd.h"

#include <string.h>

/* ---- on the ledger's thread ---- */

typedef struct Trouble {
	PoolDaemon *daemon;
	const char *event;
	char *text;
} Trouble;

static gboolean trouble_arrived(gpointer data)
{
	Trouble *trouble = data;

	g_printerr("softdcd serve: %s\n", trouble->text);
	daemon_event_object(trouble->daemon, trouble->event, "message", trouble->text);
	g_free(trouble->text);
	g_free(trouble);
	return G_SOURCE_REMOVE;
}

static void tell_trouble(PoolDaemon *daemon, const char *event, const char *text)
{
	Trouble *trouble = g_new(Trouble, 1);

	*trouble = (Trouble){ daemon, event, g_strdup(text) };
	g_idle_add_full(G_PRIORITY_DEFAULT, trouble_arrived, trouble, NULL);
}

static void unref_file(gpointer data)
{
	mem_file_unref(data);
}

static bool store_file(void *opaque, uint64_t incarnation, MemFile *file, GError **error)
{
	PoolDaemon *daemon = opaque;
	g_autoptr(GError) local = NULL;
	KeeperItem item = {
		.incarnation = incarnation,
		.len = mem_file_len(file),
		.fd = mem_file_peek_fd(file),
		.owner = mem_file_ref(file),
		.owner_unref = unref_file,
	};
	bool ok = keeper_store(daemon->keeper, &item, 1, &local);

	if (!ok) {
		mem_file_unref(file);
		if (!g_atomic_int_get(&daemon->keeper_is_lost))
			tell_trouble(daemon, "KEEPER_LOST", local->message);
		g_propagate_error(error, g_steal_pointer(&local));
	}
	g_atomic_int_set(&daemon->keeper_is_lost, !ok);
	return ok;
}

static void drop_file(void *opaque, uint64_t incarnation)
{
	PoolDaemon *daemon = opaque;

	pool_fault_pass(daemon->fault, "after-new-file-before-drop");
	/* One that stays is dropped at the next start: the ledger does not know it. */
	keeper_drop(daemon->keeper, &incarnation, 1, NULL);
}

static void ledger_problem(void *opaque, const char *text)
{
	tell_trouble(opaque, "AUDIT_FAILED", text);
}

static void ledger_step(void *opaque, const char *step, unsigned reasons)
{
	PoolDaemon *daemon = opaque;
	bool before = strcmp(step, "ledger-before-commit") == 0;

	pool_fault_stall(daemon->fault, POOL_STALL_LEDGER);
	pool_fault_pass(daemon->fault, step);
	if (reasons & 1u << ROW_REASON_ACCEPT)
		pool_fault_pass(daemon->fault,
				before ? "after-prepare" : "after-commit-before-expose");
}

/* ---- on the pool's thread ---- */

void daemon_journal_failed(const char *why, void *opaque)
{
	PoolDaemon *daemon = opaque;
	bool is_new;

	g_mutex_lock(&daemon->lock);
	is_new = g_strcmp0(daemon->ledger_trouble, why) != 0;
	g_free(daemon->ledger_trouble);
	daemon->ledger_trouble = g_strdup(why);
	g_mutex_unlock(&daemon->lock);
	if (is_new && why)
		tell_trouble(daemon, "LEDGER_FAILED", why);
	else if (is_new)
		tell_trouble(daemon, "LEDGER_RECOVERED", "the ledger takes changes again");
}

char *daemon_ledger_trouble(PoolDaemon *daemon)
{
	char *text;

	g_mutex_lock(&daemon->lock);
	text = g_strdup(daemon->ledger_trouble);
	g_mutex_unlock(&daemon->lock);
	return text;
}

/* ---- the start ---- */

static GHashTable *index_items(GArray *items)
{
	GHashTable *by_incarnation = g_hash_table_new(g_int64_hash, g_int64_equal);

	for (guint i = 0; i < items->len; i++) {
		KeeperItem *item = &g_array_index(items, KeeperItem, i);

		g_hash_table_insert(by_incarnation, &item->incarnation, item);
	}
	return by_incarnation;
}

/* Puts the kept descriptor into the row; without one the contents are lost, which the core tells.
 */
static bool adopt_file(PoolDaemon *daemon, RowFile *row, KeeperItem *item, GError **error)
{
	KeeperItem kept;

	row->file = row_file_adopt(row, fd_steal(&item->fd), error);
	if (!row->file)
		return false;
	kept = *item;
	kept.fd = mem_file_peek_fd(row->file);
	kept.owner = mem_file_ref(row->file);
	kept.owner_unref = unref_file;
	keeper_remember(daemon->keeper, &kept);
	return true;
}

/* What the ledger does not know was stored for a record that never came to be. */
static bool drop_strays(PoolDaemon *daemon, GArray *items, GError **error)
{
	g_autoptr(GArray) strays = g_array_new(FALSE, FALSE, sizeof(uint64_t));

	for (guint i = 0; i < items->len; i++) {
		const KeeperItem *item = &g_array_index(items, KeeperItem, i);

		if (item->fd >= 0)
			g_array_append_val(strays, item->incarnation);
	}
	return strays->len == 0 ||
	       keeper_drop(daemon->keeper, (uint64_t *)strays->data, strays->len, error);
}

static bool adopt_files(PoolDaemon *daemon, RowRecord *rows, GError **error)
{
	g_autoptr(GArray) items = keeper_fetch_all(daemon->keeper, error);
	g_autoptr(GHashTable) by_incarnation = items ? index_items(items) : NULL;

	if (!items)
		return false;
	for (guint i = 0; i < rows->changes->len; i++) {
		RowChange *change = &g_array_index(rows->changes, RowChange, i);
		RowFile *row = &change->file;
		KeeperItem *item;

		if (change->kind != ROW_FILE ||
		    (row->type != BACKEND_MEMFD && row->type != BACKEND_HUGETLB))
			continue;
		item = g_hash_table_lookup(by_incarnation, &row->incarnation);
		if (item && !adopt_file(daemon, row, item, error))
			return false;
	}
	return drop_strays(daemon, items, error);
}

static PoolDevice *restore_device(const RowDevice *row, void *opaque, GError **error)
{
	PoolDaemon *daemon = opaque;
	DeviceSpec *spec = pool_file_parse_device(row->name,
						  row->pool_config ? row->pool_config : "", error);
	PoolDevice *device = spec ? daemon_make_device(daemon, spec, row, error) : NULL;

	if (!device) {
		device_spec_free(spec);
		g_prefix_error(error, "device %s of the ledger: ", row->name);
		return NULL;
	}
	spec->origin = SPEC_FROM_QMP;
	daemon_put_device(daemon, spec, device);
	return device;
}

static void restore_specs(PoolDaemon *daemon, const RowRecord *rows)
{
	for (guint i = 0; i < rows->changes->len; i++) {
		const RowChange *change = row_record_at(rows, i);

		if (change->kind == ROW_BACKEND && change->backend.device == 0)
			daemon_put_backend(daemon, backend_spec_from_row(&change->backend));
	}
}

static bool open_keeper(PoolDaemon *daemon, GError **error)
{
	g_autofree char *path = g_strdup_printf("%s/keeper.sock", socket_dir_path(daemon->sockets));
	g_autofree char *program = keeper_find_program(error);

	if (!program)
		return false;
	daemon->keeper = keeper_client_new(path, program, 0);
	return keeper_client_connect(daemon->keeper, error);
}

static bool open_ledger(PoolDaemon *daemon, GError **error)
{
	g_autofree char *path = g_strdup_printf("%s/ledger.db", daemon->state_dir);
	LedgerOptions options = {
		.ops = {
			.file_store = store_file,
			.file_drop = drop_file,
			.problem = ledger_problem,
			.fault = daemon->fault ? ledger_step : NULL,
		},
		.opaque = daemon,
		.context = pool_peek_context(daemon->pool),
	};

	daemon->ledger = ledger_open(path, &options, error);
	return daemon->ledger;
}

bool daemon_restore(PoolDaemon *daemon, GError **error)
{
	g_autoptr(RowRecord) rows = NULL;

	if (!open_keeper(daemon, error) || !open_ledger(daemon, error))
		return false;
	pool_set_ledger(daemon->pool, daemon->ledger);
	rows = ledger_load(daemon->ledger, error);
	if (!rows || !adopt_files(daemon, rows, error))
		return false;
	restore_specs(daemon, rows);
	return pool_restore(daemon->pool, rows, restore_device, daemon, error);
}

/* An empty keeper has nothing to outlive us for. After ledger_close(): its thread used the client.
 */
void daemon_end_keeper(PoolDaemon *daemon)
{
	g_autoptr(GArray) items = daemon->keeper ? keeper_list(daemon->keeper, NULL) : NULL;

	if (items && items->len == 0)
		keeper_bye(daemon->keeper, NULL);
	g_clear_pointer(&daemon->keeper, keeper_client_free);
}
