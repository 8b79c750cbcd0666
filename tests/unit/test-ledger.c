/* SPDX-License-Identifier: BSD-3-Clause */
/* The ledger: rows there and back, order, refusals, stored files, blobs, a full disk. */

#include "ledger-fixture.h"

#include <sys/mount.h>

/* ---- rows ---- */

static void test_round_trip(void)
{
	char *dir = state_dir_new();
	g_autoptr(RowRecord) record = one_of_each();
	g_autofree char *expected = rows_text(record), *again = NULL;
	Ledger *ledger = open_ledger(dir);
	g_autofree char *empty = loaded_text(ledger);
	bool kinds[ROW_N_KINDS] = { false };

	g_assert_true(ledger_is_new(ledger));
	g_assert_cmpstr(empty, ==, "");
	for (guint i = 0; i < record->changes->len; i++)
		kinds[row_record_at(record, i)->kind] = true;
	for (unsigned i = 0; i < ROW_N_KINDS; i++)
		g_assert_true(kinds[i]);
	submit_ok(ledger, row_record_ref(record));
	ledger_close(ledger);

	ledger = open_ledger(dir);
	g_assert_false(ledger_is_new(ledger));
	again = loaded_text(ledger);
	g_assert_cmpstr(again, ==, expected);
	ledger_close(ledger);
	state_dir_free(dir);
}

static RowRecord *new_change(void)
{
	return row_record_new(ROW_REASON_CHANGE);
}

/* The rows that make DEVICE_ID, and one offer of as many extents. */
static RowRecord *device_with_extents(uint64_t device_id, unsigned n)
{
	RowRecord *record = new_change();

	add_device(record, device_id);
	add_offer(record, device_id, 100 + device_id);
	for (unsigned i = 0; i < n; i++)
		add_extent(record, device_id, 100 + device_id, i * 4096);
	return record;
}

static guint count_rows(Ledger *ledger)
{
	g_autoptr(RowRecord) record = load_all(ledger);

	return record->changes->len;
}

static void test_update_and_delete(void)
{
	char *dir = state_dir_new();
	Ledger *ledger = open_ledger(dir);
	RowRecord *record = device_with_extents(1, 3);
	g_autoptr(RowRecord) loaded = NULL;

	submit_ok(ledger, record);
	record = new_change();
	row_record_add(record, ROW_UPSERT, ROW_EXTENT)->extent = (RowExtent){
		.device = 1, .dpa = 4096, .len = 8192, .offer = 101, .state = ROW_EXTENT_DRAINING
	};
	row_record_add(record, ROW_DELETE, ROW_EXTENT)->extent = (RowExtent){ .device = 1 };
	row_record_add(record, ROW_DELETE, ROW_EXTENT)->extent = (RowExtent){ .device = 9,
									      .dpa = 77 };
	submit_ok(ledger, record);
	loaded = load_all(ledger);
	g_assert_cmpuint(loaded->changes->len, ==, 4);
	g_assert_cmpuint(row_record_at(loaded, 2)->extent.dpa, ==, 4096);
	g_assert_cmpuint(row_record_at(loaded, 2)->extent.len, ==, 8192);
	g_assert_cmpuint(row_record_at(loaded, 2)->extent.state, ==, ROW_EXTENT_DRAINING);
	g_assert_cmpuint(row_record_at(loaded, 3)->extent.dpa, ==, 8192);
	ledger_close(ledger);
	state_dir_free(dir);
}

static unsigned count_kind(Ledger *ledger, RowKind kind)
{
	g_autoptr(RowRecord) record = load_all(ledger);
	unsigned n = 0;

	for (guint i = 0; i < record->changes->len; i++)
		n += row_record_at(record, i)->kind == kind;
	return n;
}

/* A file takes its holders and wipes along, a request its ranges. */
static void test_what_goes_along(void)
{
	char *dir = state_dir_new();
	Ledger *ledger = open_ledger(dir);
	RowRecord *record = new_change();

	submit_ok(ledger, one_of_each());
	row_record_add(record, ROW_DELETE, ROW_FILE)->file.incarnation = 41;
	row_record_add(record, ROW_DELETE, ROW_REQUEST)->request.id = 60;
	submit_ok(ledger, record);
	g_assert_cmpuint(count_kind(ledger, ROW_HOLDER), ==, 0);
	g_assert_cmpuint(count_kind(ledger, ROW_WIPE), ==, 0);
	g_assert_cmpuint(count_kind(ledger, ROW_REQUEST_RANGE), ==, 0);

	record = new_change();
	row_record_add(record, ROW_DELETE, ROW_QUARANTINE)->quarantine = (RowQuarantine){ 2, 1, 0,
											  0 };
	row_record_add(record, ROW_DELETE, ROW_EXTENT)->extent =
		(RowExtent){ .device = 2, .dpa = UINT64_MAX - 4095 };
	row_record_add(record, ROW_DELETE, ROW_DEVICE)->device.id = 2;
	/* After its device: the order within a record does not matter. */
	row_record_add(record, ROW_DELETE, ROW_OFFER)->offer.id = 50;
	submit_ok(ledger, record);
	g_assert_cmpuint(count_kind(ledger, ROW_DEVICE), ==, 1);
	ledger_close(ledger);
	state_dir_free(dir);
}

static void test_replace_all(void)
{
	char *dir = state_dir_new();
	Ledger *ledger = open_ledger(dir);
	RowRecord *record = row_record_new(ROW_REASON_REPLACE);

	submit_ok(ledger, one_of_each());
	record->replaces_all = true;
	add_device(record, 2);
	add_host(record, 8);
	submit_ok(ledger, record);
	{
		g_autofree char *text = loaded_text(ledger);

		g_assert_nonnull(strstr(text, "host serial 8 "));
		g_assert_null(strstr(text, "host serial 7 "));
	}
	g_assert_cmpuint(count_rows(ledger), ==, 2);
	ledger_close(ledger);
	state_dir_free(dir);
}

/* ---- many at once ---- */

typedef struct Order {
	unsigned n_answers;
	unsigned n_refused;
	unsigned n_commits;
	unsigned reasons;
	GThread *main;
	GMutex gate; /* held: the ledger's thread waits before its commit */
} Order;

typedef struct Numbered {
	Order *order;
	unsigned number;
	bool ok;
} Numbered;

static void answer_in_order(void *opaque, bool ok, const char *why)
{
	Numbered *numbered = opaque;

	g_assert_true(g_thread_self() == numbered->order->main);
	g_assert_cmpuint(numbered->order->n_answers++, ==, numbered->number);
	numbered->order->n_refused += !ok;
	numbered->ok = ok;
}

static void count_commits(void *opaque, const char *step, unsigned reasons)
{
	Order *order = opaque;

	g_assert_true(g_thread_self() != order->main);
	if (g_str_equal(step, "ledger-before-commit")) {
		g_mutex_lock(&order->gate);
		g_mutex_unlock(&order->gate);
	} else {
		g_assert_cmpstr(step, ==, "ledger-after-commit");
		order->n_commits++;
		order->reasons |= reasons;
	}
}

static LedgerOptions options_of(Order *order)
{
	order->main = g_thread_self();
	return (LedgerOptions){ .ops.fault = count_commits, .opaque = order };
}

static void submit_numbered(Ledger *ledger, Order *order, Numbered *numbered, unsigned number,
			    RowRecord *record)
{
	*numbered = (Numbered){ .order = order, .number = number };
	ledger_submit(ledger, record, answer_in_order, numbered);
	row_record_unref(record);
}

static void wait_for_answers(Order *order, unsigned n)
{
	while (order->n_answers < n)
		g_main_context_iteration(NULL, TRUE);
}

static RowRecord *host_record(uint64_t serial)
{
	RowRecord *record = row_record_new(ROW_REASON_DIRTY);

	add_host(record, serial);
	return record;
}

/* What queues up while a commit is under way is one commit; answers keep the order. */
static void test_batches(void)
{
	enum {
		N = 200
	};
	char *dir = state_dir_new();
	Order order = { 0 };
	LedgerOptions options = options_of(&order);
	Ledger *ledger = open_ledger_with(dir, &options);
	Numbered numbered[N];

	g_mutex_lock(&order.gate);
	for (unsigned i = 0; i < N; i++)
		submit_numbered(ledger, &order, &numbered[i], i, host_record(i + 1));
	g_assert_cmpuint(order.n_answers, ==, 0);
	g_mutex_unlock(&order.gate);
	wait_for_answers(&order, N);
	g_assert_cmpuint(order.n_refused, ==, 0);
	g_assert_cmpuint(order.n_commits, <=, 2);
	g_assert_cmpuint(order.reasons, ==, 1 << ROW_REASON_DIRTY);
	g_assert_cmpuint(count_rows(ledger), ==, N);
	ledger_close(ledger);
	state_dir_free(dir);
}

/* An extent of no device: cannot be kept. */
static RowRecord *bad_record(uint64_t epoch)
{
	RowRecord *record = row_record_new(ROW_REASON_ACCEPT);

	add_extent(record, 99, 99, 0);
	record->epoch = epoch;
	return record;
}

static RowRecord *host_of_epoch(uint64_t serial, uint64_t epoch)
{
	RowRecord *record = host_record(serial);

	record->epoch = epoch;
	return record;
}

/* One bad record among many in one transaction: it falls, later ones of its epoch fall with it,
 * earlier ones and those that stand alone do not. */
static void test_epochs(void)
{
	char *dir = state_dir_new();
	Order order = { 0 };
	LedgerOptions options = options_of(&order);
	Ledger *ledger = open_ledger_with(dir, &options);
	Numbered numbered[7];
	static const bool kept[] = { true, true, false, false, true, false, true };

	g_mutex_lock(&order.gate);
	submit_numbered(ledger, &order, &numbered[0], 0, host_record(1));
	submit_numbered(ledger, &order, &numbered[1], 1, host_of_epoch(2, 1));
	submit_numbered(ledger, &order, &numbered[2], 2, bad_record(1));
	submit_numbered(ledger, &order, &numbered[3], 3, host_of_epoch(3, 1));
	submit_numbered(ledger, &order, &numbered[4], 4, host_record(4));
	submit_numbered(ledger, &order, &numbered[5], 5, row_record_new(ROW_REASON_BARRIER));
	submit_numbered(ledger, &order, &numbered[6], 6, host_of_epoch(5, 2));
	g_mutex_unlock(&order.gate);
	wait_for_answers(&order, 5);
	ledger_sync(ledger);
	wait_for_answers(&order, 7);
	/* A barrier of no epoch is no barrier; one of the failed epoch is refused. */
	g_assert_true(numbered[5].ok);
	for (unsigned i = 0; i < G_N_ELEMENTS(kept); i++) {
		if (i != 5)
			g_assert_true(numbered[i].ok == kept[i]);
	}
	{
		RowRecord *barrier = row_record_new(ROW_REASON_BARRIER);
		g_autofree char *why = NULL;

		barrier->epoch = 1;
		why = submit(ledger, barrier);
		g_assert_nonnull(why);
		barrier = row_record_new(ROW_REASON_BARRIER);
		barrier->epoch = 2;
		submit_ok(ledger, barrier);
	}
	g_assert_cmpuint(count_rows(ledger), ==, 4);
	ledger_close(ledger);
	state_dir_free(dir);
}

/* Closing does all that is queued; the answers come when the context runs. */
static void test_close_drains(void)
{
	char *dir = state_dir_new();
	Order order = { 0 };
	LedgerOptions options = options_of(&order);
	Ledger *ledger = open_ledger_with(dir, &options);
	Numbered numbered[50];

	for (unsigned i = 0; i < G_N_ELEMENTS(numbered); i++)
		submit_numbered(ledger, &order, &numbered[i], i, host_record(i + 1));
	ledger_close(ledger);
	wait_for_answers(&order, G_N_ELEMENTS(numbered));
	g_assert_cmpuint(order.n_refused, ==, 0);
	ledger = open_ledger(dir);
	g_assert_cmpuint(count_rows(ledger), ==, G_N_ELEMENTS(numbered));
	ledger_close(ledger);
	state_dir_free(dir);
}

/* ---- stored descriptors ---- */

typedef struct Store {
	GString *log; /* what was called, with commits in between */
	uint64_t refuse;
} Store;

static bool note_store(void *opaque, uint64_t incarnation, MemFile *file, GError **error)
{
	Store *store = opaque;

	g_assert_cmpint(mem_file_peek_fd(file), >=, 0);
	if (incarnation == store->refuse) {
		g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NFILE, "the keeper is full");
		return false;
	}
	g_string_append_printf(store->log, "+%" PRIu64 " ", incarnation);
	return true;
}

static void note_drop(void *opaque, uint64_t incarnation)
{
	Store *store = opaque;

	g_string_append_printf(store->log, "-%" PRIu64 " ", incarnation);
}

static void note_step(void *opaque, const char *step, unsigned reasons)
{
	Store *store = opaque;

	g_string_append(store->log, g_str_has_prefix(step, "ledger-before") ? "[ " : "] ");
}

static void add_file(RowRecord *record, uint64_t incarnation, bool with_file)
{
	MemFileConfig config = { .name = "test", .type = BACKEND_MEMFD, .len = 4096 };

	row_record_add(record, ROW_UPSERT, ROW_FILE)->file = (RowFile){
		.incarnation = incarnation,
		.type = BACKEND_MEMFD,
		.len = 4096,
		.file = with_file ? mem_file_new(&config, NULL) : NULL,
	};
}

static void assert_log(Ledger *ledger, Store *store, const char *expected)
{
	ledger_sync(ledger);
	g_assert_cmpstr(store->log->str, ==, expected);
	g_string_truncate(store->log, 0);
}

static void test_stored_files(void)
{
	char *dir = state_dir_new();
	Store store = { .log = g_string_new(NULL), .refuse = 13 };
	LedgerOptions options = {
		.ops = { .file_store = note_store, .file_drop = note_drop, .fault = note_step },
		.opaque = &store,
	};
	Ledger *ledger = open_ledger_with(dir, &options);
	RowRecord *record = new_change();
	g_autofree char *why = NULL, *why_too = NULL;

	add_file(record, 1, true);
	add_file(record, 2, true);
	row_record_add(record, ROW_UPSERT, ROW_FILE)->file =
		(RowFile){ .incarnation = 3, .type = BACKEND_FILE, .len = 4096 };
	submit_ok(ledger, record);
	assert_log(ledger, &store, "+1 +2 [ ] ");

	/* A wipe: the new one is there before, the old one until after. */
	record = new_change();
	row_record_add(record, ROW_DELETE, ROW_FILE)->file.incarnation = 1;
	row_record_add(record, ROW_DELETE, ROW_FILE)->file.incarnation = 3;
	add_file(record, 4, true);
	add_file(record, 2, false);
	submit_ok(ledger, record);
	assert_log(ledger, &store, "+4 [ ] -1 ");

	/* Refused by the keeper, and by the ledger: what had been stored goes again. */
	record = new_change();
	add_file(record, 12, true);
	add_file(record, 13, true);
	why = submit(ledger, record);
	g_assert_cmpstr(why, ==, "the keeper is full");
	assert_log(ledger, &store, "+12 -12 -13 ");
	record = bad_record(0);
	add_file(record, 14, true);
	why_too = submit(ledger, record);
	g_assert_nonnull(strstr(why_too, "FOREIGN KEY"));
	assert_log(ledger, &store, "+14 [ -14 ");
	ledger_close(ledger);

	/* After a restart it still knows which descriptors it owes a drop. */
	ledger = open_ledger_with(dir, &options);
	record = row_record_new(ROW_REASON_REPLACE);
	record->replaces_all = true;
	add_file(record, 4, false);
	add_file(record, 5, true);
	submit_ok(ledger, record);
	assert_log(ledger, &store, "+5 [ ] -2 ");
	ledger_close(ledger);
	g_string_free(store.log, TRUE);
	state_dir_free(dir);
}

/* ---- blobs ---- */

static void append_blob(const char *name, GBytes *data, void *opaque)
{
	g_string_append_printf(opaque, "%s:%zu ", name, g_bytes_get_size(data));
}

static char *blobs_text(Ledger *ledger, const char *kind)
{
	GString *text = g_string_new(NULL);
	g_autoptr(GError) error = NULL;

	g_assert_true(ledger_load_blobs(ledger, kind, append_blob, text, &error));
	g_assert_no_error(error);
	return g_string_free(text, FALSE);
}

static void test_blobs(void)
{
	char *dir = state_dir_new();
	Ledger *ledger = open_ledger(dir);
	g_autoptr(GBytes) data = g_bytes_new_static("\0a\377", 3);
	g_autoptr(GBytes) empty = g_bytes_new_static("", 0);
	g_autofree char *text = NULL, *none = NULL;
	Answer answer = { .given = false };

	ledger_put_blob(ledger, "registers", "dev1", data, NULL, NULL);
	ledger_put_blob(ledger, "registers", "dev0", data, NULL, NULL);
	ledger_put_blob(ledger, "registers", "dev2", data, NULL, NULL);
	ledger_put_blob(ledger, "registers", "dev1", empty, NULL, NULL);
	ledger_put_blob(ledger, "other", "dev1", data, NULL, NULL);
	ledger_put_blob(ledger, "registers", "dev2", NULL, take_answer, &answer);
	wait_for(&answer);
	g_assert_true(answer.ok);
	ledger_close(ledger);
	ledger = open_ledger(dir);
	text = blobs_text(ledger, "registers");
	g_assert_cmpstr(text, ==, "dev0:3 dev1:0 ");
	none = blobs_text(ledger, "nothing");
	g_assert_cmpstr(none, ==, "");
	ledger_close(ledger);
	state_dir_free(dir);
}

/* ---- a full disk, at a commit ---- */

static char *fill(Ledger *ledger, uint64_t *ret_last)
{
	char *why = NULL;

	for (uint64_t i = 1; !why; i++) {
		RowRecord *record = device_with_extents(i, 200);

		g_assert_cmpuint(i, <, 10000);
		record->epoch = i;
		why = submit(ledger, record);
		*ret_last = i - !!why;
	}
	return why;
}

static void assert_words(const char *text, ...) G_GNUC_NULL_TERMINATED;

static void assert_words(const char *text, ...)
{
	const char *word;
	va_list words;

	va_start(words, text);
	while ((word = va_arg(words, const char *))) {
		if (!strstr(text, word))
			g_error("\"%s\" lacks \"%s\"", text, word);
	}
	va_end(words);
}

static void test_full_database(void)
{
	char *dir = state_dir_new();
	LedgerOptions options = { .max_len = 1 << 20 };
	Ledger *ledger = open_ledger_with(dir, &options);
	g_autofree char *path = ledger_path(dir), *why = NULL, *before = NULL, *after = NULL;
	RowRecord *record = new_change();
	uint64_t last = 0;

	why = fill(ledger, &last);
	assert_words(why, path, "No space left", "free space", NULL);
	g_assert_cmpuint(count_kind(ledger, ROW_DEVICE), ==, last);
	g_assert_cmpuint(count_kind(ledger, ROW_EXTENT), ==, last * 200);

	/* Room again: the next one is kept. */
	for (unsigned i = 0; i < 200; i++)
		row_record_add(record, ROW_DELETE, ROW_EXTENT)->extent =
			(RowExtent){ .device = 1, .dpa = i * 4096 };
	submit_ok(ledger, record);
	submit_ok(ledger, host_record(1));
	before = loaded_text(ledger);
	ledger_close(ledger);
	ledger = open_ledger(dir);
	after = loaded_text(ledger);
	g_assert_cmpstr(before, ==, after);
	ledger_close(ledger);
	state_dir_free(dir);
}

/* A small file system of our own; false: cannot be had here. */
static bool mount_small(const char *dir)
{
	if (geteuid() == 0 && mount("softdcd-test", dir, "tmpfs", 0, "size=1m,mode=0700") == 0)
		return true;
	g_test_skip("needs to be root and to mount a tmpfs");
	return false;
}

static void test_full_file_system(void)
{
	char *dir = state_dir_new();
	g_autofree char *filler = g_build_filename(dir, "filler", NULL), *why = NULL;
	g_autofree char *zeros = g_malloc0(128 << 10);
	uint64_t last = 0;
	Ledger *ledger;

	if (!mount_small(dir)) {
		state_dir_free(dir);
		return;
	}
	g_assert_true(g_file_set_contents(filler, zeros, 128 << 10, NULL));
	ledger = open_ledger(dir);
	why = fill(ledger, &last);
	assert_words(why, dir, "No space left", "free space", NULL);
	g_assert_cmpuint(count_kind(ledger, ROW_EXTENT), ==, last * 200);
	g_remove(filler);
	submit_ok(ledger, host_record(1));
	ledger_close(ledger);
	ledger = open_ledger(dir);
	g_assert_cmpuint(count_kind(ledger, ROW_EXTENT), ==, last * 200);
	g_assert_cmpuint(count_kind(ledger, ROW_HOST), ==, 1);
	ledger_close(ledger);
	g_assert_cmpint(umount2(dir, MNT_DETACH), ==, 0);
	state_dir_free(dir);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/ledger/round-trip", test_round_trip);
	g_test_add_func("/unit/ledger/update-and-delete", test_update_and_delete);
	g_test_add_func("/unit/ledger/what-goes-along", test_what_goes_along);
	g_test_add_func("/unit/ledger/replace-all", test_replace_all);
	g_test_add_func("/unit/ledger/batches", test_batches);
	g_test_add_func("/unit/ledger/epochs", test_epochs);
	g_test_add_func("/unit/ledger/close-drains", test_close_drains);
	g_test_add_func("/unit/ledger/stored-files", test_stored_files);
	g_test_add_func("/unit/ledger/blobs", test_blobs);
	g_test_add_func("/unit/ledger/full-database", test_full_database);
	g_test_add_func("/unit/ledger/full-file-system", test_full_file_system);
	return g_test_run();
}
