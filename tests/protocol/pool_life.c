/* SPDX-License-Identifier: BSD-3-Clause */
/* A durable pool that is stopped and started again in one process: ledger, files, session file. */
#include "pool_life.h"

#include "mem_link_raw.h"

#include <glib/gstdio.h>

/* ---- what a keeper would do, on the ledger's thread ---- */

static bool file_store(void *opaque, uint64_t incarnation, MemFile *file, GError **error)
{
	PoolLife *life = opaque;

	g_mutex_lock(&life->lock);
	g_hash_table_insert(life->files, g_memdup2(&incarnation, sizeof(incarnation)),
			    mem_file_ref(file));
	g_mutex_unlock(&life->lock);
	return true;
}

static void file_drop(void *opaque, uint64_t incarnation)
{
	PoolLife *life = opaque;

	g_mutex_lock(&life->lock);
	g_hash_table_remove(life->files, &incarnation);
	g_mutex_unlock(&life->lock);
}

static void commit_slowly(void *opaque, const char *step, unsigned reasons)
{
	PoolLife *life = opaque;
	gint64 stall_us = __atomic_load_n(&life->stall_us, __ATOMIC_RELAXED);

	if (stall_us > 0 && strcmp(step, "ledger-before-commit") == 0)
		g_usleep((gulong)stall_us);
}

/* ---- start ---- */

static PoolDevice *add_device(const RowDevice *row, void *opaque, GError **error)
{
	PoolLife *life = opaque;
	DcRegionConfig region = { .len = REGION_LEN, .block_size = BLOCK };
	g_autofree char *session = g_build_filename(life->dir, "dev0.session", NULL);
	PoolDeviceConfig config = {
		.name = "dev0",
		.serial = 7,
		.ram_len = LIFE_RAM_LEN,
		.regions = &region,
		.n_regions = 1,
		.hold_off = true,
		.session_path = session,
		.row = row,
	};

	life->device = pool_add_device(life->pool, &config, error);
	return life->device;
}

static void adopt_files(PoolLife *life, RowRecord *rows)
{
	for (guint i = 0; i < rows->changes->len; i++) {
		RowChange *change = &g_array_index(rows->changes, RowChange, i);
		MemFile *kept;
		g_autoptr(GError) error = NULL;

		if (change->kind != ROW_FILE)
			continue;
		kept = g_hash_table_lookup(life->files, &change->file.incarnation);
		g_assert_nonnull(kept);
		change->file.file = row_file_adopt(&change->file, dup(mem_file_peek_fd(kept)),
						   &error);
		g_assert_no_error(error);
	}
}

void pool_life_start(PoolLife *life)
{
	g_autofree char *path = g_build_filename(life->dir, "ledger.db", NULL);
	LedgerOptions options = {
		.ops = { .file_store = file_store, .file_drop = file_drop, .fault = commit_slowly },
		.opaque = life,
	};
	PoolConfig config = {
		.durable = true,
		.resume_timeout_ms = life->timeout_ms,
		.wipe_delay_us = life->wipe_delay_us,
	};
	g_autoptr(RowRecord) rows = NULL;
	g_autoptr(GError) error = NULL;

	life->pool = pool_new(&config);
	options.context = pool_peek_context(life->pool);
	life->ledger = ledger_open(path, &options, &error);
	g_assert_no_error(error);
	pool_set_ledger(life->pool, life->ledger);
	rows = ledger_load(life->ledger, &error);
	g_assert_no_error(error);
	adopt_files(life, rows);
	life->device = NULL;
	pool_restore(life->pool, rows, add_device, life, &error);
	g_assert_no_error(error);
	if (!life->device)
		add_device(NULL, life, &error);
	g_assert_no_error(error);
	g_assert_nonnull(life->device);
	pool_life_settle(life, NULL);
}

static void unref_file(gpointer data)
{
	mem_file_unref(data);
}

PoolLife *pool_life_new(void)
{
	PoolLife *life = g_new0(PoolLife, 1);
	g_autoptr(GError) error = NULL;

	g_mutex_init(&life->lock);
	life->files = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, unref_file);
	life->dir = g_dir_make_tmp("softdcd-life.XXXXXX", &error);
	g_assert_no_error(error);
	pool_life_start(life);
	return life;
}

/* ---- end ---- */

void pool_life_stop(PoolLife *life)
{
	pool_stop(life->pool);
	g_clear_pointer(&life->ledger, ledger_close);
	g_clear_pointer(&life->pool, pool_free);
}

void pool_life_free(PoolLife *life)
{
	g_autoptr(GDir) dir = NULL;
	const char *name;

	if (life->pool)
		pool_life_stop(life);
	dir = g_dir_open(life->dir, 0, NULL);
	while ((name = g_dir_read_name(dir))) {
		g_autofree char *path = g_build_filename(life->dir, name, NULL);

		g_unlink(path);
	}
	g_rmdir(life->dir);
	g_hash_table_unref(life->files);
	g_mutex_clear(&life->lock);
	g_free(life->dir);
	g_free(life);
}

/* ---- in between ---- */

void pool_life_settle(PoolLife *life, TestHost *host)
{
	unsigned n_served;

	do {
		n_served = 0;
		for (unsigned i = 0; i < 3; i++) {
			pool_barrier(life->pool);
			ledger_sync(life->ledger);
			pool_barrier(life->pool);
			if (host && host->link)
				n_served += link_serve(host->link);
		}
	} while (n_served > 0);
}

void pool_life_accept(PoolLife *life, TestHost *host, const DcRange *ranges, uint32_t n)
{
	gint64 give_up = g_get_monotonic_time() + WAIT_MS * (gint64)1000;
	enum cxl_rc rc;

	do {
		g_assert_cmpint(g_get_monotonic_time(), <, give_up);
		rc = host_accept(host, ranges, n);
		pool_life_settle(life, host);
	} while (rc == CXL_RC_INTERNAL_ERROR || rc == CXL_RC_RETRY_REQUIRED);
	g_assert_cmphex(rc, ==, CXL_RC_SUCCESS);
}

static int attach(PoolLife *life, bool is_link)
{
	int pair[2];

	if (is_link)
		raw_pair(pair);
	else
		g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
	if (pool_attach_host(life->pool, life->device, is_link ? -1 : pair[0],
			     is_link ? pair[0] : -1, NULL))
		return pair[1];
	close(pair[1]);
	return -1;
}

int pool_life_connect_regs(PoolLife *life)
{
	return attach(life, false);
}

int pool_life_connect_link(PoolLife *life)
{
	return attach(life, true);
}
