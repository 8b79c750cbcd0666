/* SPDX-License-Identifier: BSD-3-Clause */
/* ledger-commit-us: from submit to durable; ledger-load-64k-ms: open, check and load. */
#include "bench/bench.h"
#include "host/mem_speed.h"
#include "ledger/ledger.h"

#include <glib/gstdio.h>

#define EXTENTS 65536u
#define COMMITS 300u
#define LOADS   7u

static void add_extent(RowRecord *record, uint64_t index)
{
	row_record_add(record, ROW_UPSERT, ROW_EXTENT)->extent = (RowExtent){
		.device = 1,
		.dpa = (UINT64_C(1) << 40) + index * (2 << 20),
		.len = 2 << 20,
		.offer = 2,
		.state = ROW_EXTENT_ACCEPTED,
		.order = (uint32_t)index,
		.mem_offset = index * (2 << 20),
		.map_id = 100 + index,
		.host = 7,
	};
}

static RowRecord *pool_with_extents(void)
{
	RowRecord *record = row_record_new(ROW_REASON_CHANGE);

	row_record_add(record, ROW_UPSERT, ROW_DEVICE)->device =
		(RowDevice){ .id = 1, .name = g_strdup("dev0") };
	row_record_add(record, ROW_UPSERT, ROW_OFFER)->offer =
		(RowOffer){ .id = 2, .device = 1, .mem_len = UINT64_C(128) << 30 };
	for (unsigned i = 0; i < EXTENTS; i++)
		add_extent(record, i);
	return record;
}

static Ledger *open_ledger(const char *path)
{
	g_autoptr(GError) error = NULL;
	Ledger *ledger = ledger_open(path, &(LedgerOptions){ .context = NULL }, &error);

	if (!ledger)
		g_error("%s", error->message);
	return ledger;
}

static void take_answer(void *opaque, bool ok, const char *why)
{
	if (!ok)
		g_error("%s", why);
	*(bool *)opaque = true;
}

static void submit(Ledger *ledger, RowRecord *record)
{
	bool answered = false;

	ledger_submit(ledger, record, take_answer, &answered);
	row_record_unref(record);
	while (!answered)
		g_main_context_iteration(NULL, TRUE);
}

static void bench_commit(const char *path)
{
	Ledger *ledger = open_ledger(path);
	double us[COMMITS];

	submit(ledger, pool_with_extents());
	for (unsigned i = 0; i < COMMITS; i++) {
		RowRecord *record = row_record_new(ROW_REASON_ACCEPT);
		uint64_t start_ns;

		add_extent(record, i * 217 % EXTENTS);
		start_ns = bench_now_ns();
		submit(ledger, record);
		us[i] = (double)(bench_now_ns() - start_ns) / 1e3;
	}
	ledger_close(ledger);
	bench_info("ledger-commit-us", median(us, COMMITS), "us", BENCH_AT_MOST);
}

static void bench_load(const char *path)
{
	double ms[LOADS];

	for (unsigned i = 0; i < LOADS; i++) {
		uint64_t start_ns = bench_now_ns();
		Ledger *ledger = open_ledger(path);
		g_autoptr(RowRecord) rows = ledger_load(ledger, NULL);

		ms[i] = (double)(bench_now_ns() - start_ns) / 1e6;
		g_assert(rows->changes->len == EXTENTS + 2);
		ledger_close(ledger);
	}
	bench_info("ledger-load-64k-ms", median(ms, LOADS), "ms", BENCH_AT_MOST);
}

int main(void)
{
	g_autofree char *dir = g_dir_make_tmp("softdcd-bench-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(dir, "ledger.db", NULL);
	static const char *const files[] = { "ledger.db", "ledger.db.mark", "audit.log" };

	bench_commit(path);
	bench_load(path);
	for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
		g_autofree char *file = g_build_filename(dir, files[i], NULL);

		g_remove(file);
	}
	g_rmdir(dir);
	return 0;
}
