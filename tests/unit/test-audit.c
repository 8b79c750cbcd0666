/* SPDX-License-Identifier: BSD-3-Clause */
/* The audit log: lines, rotation, torn ends, reading back from a point in time. */

#include "ledger-fixture.h"

#include <fcntl.h>
#include <gio/gio.h>
#include <json-glib/json-glib.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define SECOND ((int64_t)G_USEC_PER_SEC)
#define NOON   (INT64_C(1795608000) * SECOND) /* 2026-11-25T12:00:00Z */

static char *format_one(const AuditEntry *entry)
{
	GString *line = g_string_new(NULL);

	audit_format(entry, line);
	return g_string_free(line, FALSE);
}

static bool count_one(const char *line, size_t len, int64_t time_us, void *opaque)
{
	(*(unsigned *)opaque)++;
	return true;
}

static void test_lines(void)
{
	AuditEntry entry = {
		.time_us = NOON + 5,
		.what = AUDIT_ACCEPT,
		.who = { AUDIT_BY_HOST, "dev0", 4711, 1000 },
		.device = "dev0",
		.backend = "kv",
		.tag = { { 0x5b, 0xe1, 0x3f, 0xe4 } },
		.id = 12,
		.dpa = 0,
		.len = 2097152,
	};
	g_autofree char *ok = format_one(&entry), *failed = NULL;

	g_assert_cmpstr(ok, ==,
			"{\"time\":\"2026-11-25T12:00:00.000005Z\",\"what\":\"accept\","
			"\"who\":{\"actor\":\"host\",\"name\":\"dev0\",\"pid\":4711,\"uid\":1000},"
			"\"device\":\"dev0\",\"backend\":\"kv\","
			"\"tag\":\"5be13fe4-0000-0000-0000-000000000000\",\"id\":12,\"dpa\":0,"
			"\"len\":2097152,\"result\":\"ok\"}\n");
	entry = (AuditEntry){
		.time_us = NOON,
		.what = AUDIT_BACKEND_ADD,
		.who = { AUDIT_BY_CLIENT, "a\"b\\c\nd\001\377e", 1, 0 },
		.failure = "no",
	};
	failed = format_one(&entry);
	g_assert_cmpstr(failed, ==,
			"{\"time\":\"2026-11-25T12:00:00.000000Z\",\"what\":\"backend-add\","
			"\"who\":{\"actor\":\"client\","
			"\"name\":\"a\\\"b\\\\c\\u000ad\\u0001\357\277\275e\",\"pid\":1,\"uid\":0},"
			"\"result\":\"failed\",\"reason\":\"no\"}\n");
}

/* Whatever a peer calls itself, its line can be read back. */
static void test_long_text(void)
{
	char *dir = state_dir_new();
	Ledger *ledger = open_ledger(dir);
	g_autofree char *text = g_strnfill(1 << 20, '\001');
	unsigned n = 0;

	ledger_audit(ledger,
		     &(AuditEntry){
			     .who.name = text, .device = text, .backend = text, .failure = text });
	ledger_close(ledger);
	g_assert_true(audit_read(dir, 0, count_one, &n, NULL));
	g_assert_cmpuint(n, ==, 1);
	state_dir_free(dir);
}

static void test_names(void)
{
	for (unsigned i = 0; i < AUDIT_N_WHATS; i++) {
		g_assert_nonnull(audit_what_name(i));
		for (unsigned j = 0; j < i; j++)
			g_assert_cmpstr(audit_what_name(i), !=, audit_what_name(j));
	}
}

/* ---- since when ---- */

static void test_since(void)
{
	static const struct {
		const char *text;
		int64_t us;
	} good[] = {
		{ "2026-11-25T12:00:00Z", NOON },
		{ "2026-11-25T13:30:00+01:30", NOON },
		{ "2026-11-25T12:00:00.25Z", NOON + SECOND / 4 },
		{ "0s", NOON },
		{ "90s", NOON - 90 * SECOND },
		{ "250ms", NOON - SECOND / 4 },
		{ "10m", NOON - 600 * SECOND },
		{ "2h30m", NOON - 9000 * SECOND },
		{ "7d", NOON - 7 * 86400 * SECOND },
		{ "1w", NOON - 7 * 86400 * SECOND },
		{ "9999w", 0 },
	};
	static const char *const bad[] = {
		"",
		"now",
		"10",
		"m",
		"-5m",
		"10 m",
		"10x",
		"5m ",
		"1.5h",
		"yesterday",
		"2026-11-25",
		/* which noon? */
		"2026-11-25T12:00:00",
		"2026-13-25T12:00:00Z",
		"2026-11-25T25:00:00Z",
		"2026-11-25T12:00:00Zx",
		"99999999999999999999s",
		"9223372036854775807d",
	};

	for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
		g_autoptr(GError) error = NULL;
		int64_t us = -1;

		g_test_message("%s", good[i].text);
		g_assert_true(audit_parse_since(good[i].text, NOON, &us, &error));
		g_assert_no_error(error);
		g_assert_cmpint(us, ==, good[i].us);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		int64_t us = -1;

		g_test_message("%s", bad[i]);
		g_assert_false(audit_parse_since(bad[i], NOON, &us, &error));
		g_assert_nonnull(strstr(error->message, bad[i]));
		g_assert_nonnull(strstr(error->message, "10m"));
		g_assert_cmpint(us, ==, -1);
	}
}

/* ---- writing and reading ---- */

static AuditWriter *new_writer(const char *dir, uint64_t max_len, unsigned n_old)
{
	AuditConfig config = { .dir = dir, .max_len = max_len, .n_old = n_old };
	g_autoptr(GError) error = NULL;
	AuditWriter *writer = audit_writer_new(&config, &error);

	g_assert_no_error(error);
	return writer;
}

/* A line with this number, a second after the one before. */
static void append_numbered(AuditWriter *writer, uint64_t number)
{
	AuditEntry entry = { .time_us = NOON + (int64_t)number * SECOND, .id = number };
	g_autofree char *line = format_one(&entry);
	g_autoptr(GError) error = NULL;

	g_assert_true(audit_writer_append(writer, line, strlen(line), &error));
	g_assert_no_error(error);
}

typedef struct Found {
	GArray *ids;
	guint stop_after;
} Found;

static bool take_id(const char *line, size_t len, int64_t time_us, void *opaque)
{
	g_autoptr(JsonParser) parser = json_parser_new();
	Found *found = opaque;
	JsonObject *object;
	gint64 id;

	g_assert_cmpuint(strlen(line), ==, len);
	g_assert_true(json_parser_load_from_data(parser, line, -1, NULL));
	object = json_node_get_object(json_parser_get_root(parser));
	id = json_object_get_int_member_with_default(object, "id", 0);
	g_assert_cmpint(time_us, ==, NOON + id * SECOND);
	g_array_append_val(found->ids, id);
	return found->ids->len != found->stop_after;
}

static GArray *read_since(const char *dir, int64_t since_us, guint stop_after)
{
	Found found = { g_array_new(FALSE, FALSE, sizeof(gint64)), stop_after };
	g_autoptr(GError) error = NULL;

	g_assert_true(audit_read(dir, since_us, take_id, &found, &error));
	g_assert_no_error(error);
	return found.ids;
}

/* Ids FIRST to LAST, in order, each once. */
static void assert_ids(const char *dir, int64_t since_us, gint64 first, gint64 last)
{
	g_autoptr(GArray) ids = read_since(dir, since_us, 0);

	g_assert_cmpint(ids->len, ==, last - first + 1);
	for (guint i = 0; i < ids->len; i++)
		g_assert_cmpint(g_array_index(ids, gint64, i), ==, first + i);
}

static void test_read_since(void)
{
	char *dir = state_dir_new();
	AuditWriter *writer = NULL;
	g_autoptr(GArray) two = NULL;

	assert_ids(dir, 0, 1, 0);
	writer = new_writer(dir, 0, 0);
	for (uint64_t i = 1; i <= 20; i++)
		append_numbered(writer, i);
	assert_ids(dir, 0, 1, 20);
	assert_ids(dir, NOON + 7 * SECOND, 7, 20);
	assert_ids(dir, NOON + 7 * SECOND + 1, 8, 20);
	assert_ids(dir, NOON + 100 * SECOND, 1, 0);
	two = read_since(dir, NOON + 5 * SECOND, 2);
	g_assert_cmpuint(two->len, ==, 2);
	audit_writer_free(writer);
	state_dir_free(dir);
}

static void test_rotation(void)
{
	char *dir = state_dir_new();
	AuditWriter *writer = new_writer(dir, 1000, 3);
	g_autofree char *oldest = g_build_filename(dir, "audit.log.3", NULL);
	g_autofree char *older = g_build_filename(dir, "audit.log.4", NULL);
	g_autofree char *middle = g_build_filename(dir, "audit.log.2", NULL);
	g_autoptr(GArray) ids = NULL;
	gint64 first;

	for (uint64_t i = 1; i <= 200; i++) {
		append_numbered(writer, i);
		if (i == 100) {
			audit_writer_free(writer);
			writer = new_writer(dir, 1000, 3);
		}
	}
	audit_writer_free(writer);
	g_assert_true(g_file_test(oldest, G_FILE_TEST_EXISTS));
	g_assert_false(g_file_test(older, G_FILE_TEST_EXISTS));
	ids = read_since(dir, 0, 0);
	g_assert_cmpuint(ids->len, >=, 20);
	g_assert_cmpuint(ids->len, <, 60);
	first = g_array_index(ids, gint64, 0);
	assert_ids(dir, 0, first, 200);
	/* A crash between two renames leaves a number out. */
	g_assert_cmpint(g_remove(middle), ==, 0);
	g_clear_pointer(&ids, g_array_unref);
	ids = read_since(dir, 0, 0);
	g_assert_cmpint(g_array_index(ids, gint64, 0), ==, first);
	g_assert_cmpint(g_array_index(ids, gint64, ids->len - 1), ==, 200);
	state_dir_free(dir);
}

static void append_raw(const char *dir, const char *text, size_t len)
{
	g_autofree char *path = g_build_filename(dir, "audit.log", NULL);
	int fd = open(path, O_WRONLY | O_APPEND);

	g_assert_cmpint(write(fd, text, len), ==, len);
	close(fd);
}

/* Whatever a crash leaves at the end: it is passed over, and what follows is not lost in it. */
static void test_torn_line(void)
{
	static const char torn[] = "{\"time\":\"2026-11-25T12:00:03.000000Z\",\"what\":\"acc";
	char zeros[300] = { 0 };
	char *dir = state_dir_new();

	for (uint64_t i = 0; i < 20; i++) {
		AuditWriter *writer = new_writer(dir, 0, 0);

		append_numbered(writer, i + 1);
		audit_writer_free(writer);
		if (i % 2)
			append_raw(dir, torn, 2 * i);
		else
			append_raw(dir, zeros, 5 * i);
		assert_ids(dir, 0, 1, (gint64)i + 1);
	}
	state_dir_free(dir);
}

/* Lines of others: too long, no JSON, no object, of another shape. */
static void test_foreign_lines(void)
{
	char *dir = state_dir_new();
	AuditWriter *writer = new_writer(dir, 0, 0);
	g_autoptr(GString)
		text = g_string_new("{\"time\":\"2026-11-25T12:00:01.000000Z\",\"x\":\"");

	append_numbered(writer, 1);
	for (unsigned i = 0; i < 200000; i++)
		g_string_append_c(text, 'x');
	g_string_append(text, "\"}\n\n\n{}\n[]\nhello\n{\"time\":\"2026-11-25T12:00:01.00\"}\n"
			      "{\"time\":\"2026-99-99T99:99:99.000000Z\"}\n"
			      "{\"time\":\"2026-11-25T12:00:01.000000Z\"]\n");
	append_raw(dir, text->str, text->len);
	append_numbered(writer, 2);
	assert_ids(dir, 0, 1, 2);
	audit_writer_free(writer);
	state_dir_free(dir);
}

/* ---- what it refuses ---- */

static void assert_writer_refused(const char *dir, const char *word)
{
	AuditConfig config = { .dir = dir };
	g_autoptr(GError) error = NULL;

	g_assert_null(audit_writer_new(&config, &error));
	g_assert_nonnull(error);
	if (!strstr(error->message, word) || !strstr(error->message, "audit.log"))
		g_error("\"%s\" lacks \"%s\"", error->message, word);
}

static void test_refusals(void)
{
	char *dir = state_dir_new();
	g_autofree char *path = g_build_filename(dir, "audit.log", NULL);
	g_autofree char *nowhere = g_build_filename(dir, "nowhere", NULL);

	assert_writer_refused(nowhere, "No such file");
	g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
	assert_writer_refused(dir, "directory");
	g_assert_cmpint(g_rmdir(path), ==, 0);
	g_assert_cmpint(symlink("elsewhere", path), ==, 0);
	assert_writer_refused(dir, "symbolic link");
	g_assert_cmpint(g_remove(path), ==, 0);
	g_assert_cmpint(mkfifo(path, 0600), ==, 0);
	assert_writer_refused(dir, "not a regular file");
	g_assert_cmpint(g_remove(path), ==, 0);
	g_assert_true(g_file_set_contents_full(path, "", 0, G_FILE_SET_CONTENTS_NONE, 0600, NULL));
	g_assert_cmpint(g_chmod(path, 0662), ==, 0);
	assert_writer_refused(dir, "mode 0662");
	state_dir_free(dir);
}

/* ---- through the ledger ---- */

static void test_through_ledger(void)
{
	char *dir = state_dir_new();
	LedgerOptions options = { .audit_max_len = 4096, .audit_n_old = 99 };
	Ledger *ledger = open_ledger_with(dir, &options);

	for (uint64_t i = 1; i <= 500; i++) {
		AuditEntry entry = { .time_us = NOON + (int64_t)i * SECOND, .id = i };

		ledger_audit(ledger, &entry);
		if (i % 50 == 0)
			ledger_sync(ledger);
	}
	assert_ids(dir, 0, 1, 500);
	ledger_audit(ledger, &(AuditEntry){ .time_us = NOON + 501 * SECOND, .id = 501 });
	ledger_close(ledger);
	assert_ids(dir, 0, 1, 501);
	state_dir_free(dir);
}

static void *write_many(void *opaque)
{
	AuditWriter *writer = opaque;

	for (uint64_t i = 1; i <= 20000; i++)
		append_numbered(writer, i);
	return NULL;
}

/* Files move on while they are read: no line comes twice, none is left out. */
static void test_read_while_written(void)
{
	char *dir = state_dir_new();
	AuditWriter *writer = new_writer(dir, 20000, 99);
	GThread *thread = g_thread_new("writer", write_many, writer);
	gint64 last = 0;

	while (last < 20000) {
		g_autoptr(GArray) ids = read_since(dir, 0, 0);

		for (guint i = 1; i < ids->len; i++)
			g_assert_cmpint(g_array_index(ids, gint64, i), ==,
					g_array_index(ids, gint64, i - 1) + 1);
		if (ids->len > 0) {
			g_assert_cmpint(g_array_index(ids, gint64, ids->len - 1), >=, last);
			last = g_array_index(ids, gint64, ids->len - 1);
		}
	}
	g_thread_join(thread);
	audit_writer_free(writer);
	state_dir_free(dir);
}

typedef struct Problems {
	unsigned n;
	char *text;
} Problems;

static void note_problem(void *opaque, const char *text)
{
	Problems *problems = opaque;

	problems->n++;
	g_free(problems->text);
	problems->text = g_strdup(text);
}

static bool count_line(const char *line, size_t len, int64_t time_us, void *opaque)
{
	GString *text = opaque;

	g_string_append(text, line);
	g_string_append_c(text, '\n');
	return true;
}

/* Nothing fails because of it, the operator hears of it once, and the lines come when there is
 * room: all that were kept, and a count of those that were not. */
static void test_full_disk(void)
{
	enum {
		LINES = 4000,
		PADDING = 2000
	};
	char *dir = state_dir_new();
	Problems problems = { 0 };
	LedgerOptions options = { .ops.problem = note_problem, .opaque = &problems };
	g_autofree char *filler = g_build_filename(dir, "filler", NULL);
	g_autofree char *padding = g_strnfill(PADDING, 'x'), *zeros = g_malloc0(4 << 20);
	g_autoptr(GString) text = g_string_new(NULL);
	unsigned n_kept = 0;
	Ledger *ledger;

	if (geteuid() != 0 || mount("softdcd-test", dir, "tmpfs", 0, "size=12m,mode=0700") != 0) {
		g_test_skip("needs to be root and to mount a tmpfs");
		state_dir_free(dir);
		return;
	}
	ledger = open_ledger_with(dir, &options);
	for (unsigned i = 0; i < 3; i++) {
		FILE *stream = fopen(filler, "a");

		fwrite(zeros, 1, 4 << 20, stream);
		fclose(stream);
	}
	for (unsigned i = 1; i <= LINES; i++) {
		AuditEntry entry = { .what = AUDIT_WIPE, .id = i, .failure = padding };

		ledger_audit(ledger, &entry);
		if (i % 500 == 0)
			ledger_sync(ledger);
	}
	g_assert_cmpuint(problems.n, ==, 1);
	g_assert_nonnull(strstr(problems.text, "No space left"));
	g_assert_nonnull(strstr(problems.text, "free space"));
	g_assert_cmpint(g_remove(filler), ==, 0);
	ledger_sync(ledger);
	g_assert_true(audit_read(dir, 0, count_line, text, NULL));
	for (const char *pos = text->str; (pos = strstr(pos, "\"what\":\"wipe\"")); pos++)
		n_kept++;
	g_assert_cmpuint(n_kept, >, 1000);
	g_assert_cmpuint(n_kept, <, LINES);
	{
		g_autofree char *lost = g_strdup_printf("\"count\":%u,", LINES - n_kept);

		g_assert_nonnull(strstr(text->str, "\"what\":\"lines-lost\""));
		g_assert_nonnull(strstr(text->str, lost));
	}
	ledger_close(ledger);
	g_free(problems.text);
	g_assert_cmpint(umount2(dir, MNT_DETACH), ==, 0);
	state_dir_free(dir);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/audit/lines", test_lines);
	g_test_add_func("/unit/audit/long-text", test_long_text);
	g_test_add_func("/unit/audit/names", test_names);
	g_test_add_func("/unit/audit/since", test_since);
	g_test_add_func("/unit/audit/read-since", test_read_since);
	g_test_add_func("/unit/audit/rotation", test_rotation);
	g_test_add_func("/unit/audit/torn-line", test_torn_line);
	g_test_add_func("/unit/audit/foreign-lines", test_foreign_lines);
	g_test_add_func("/unit/audit/refusals", test_refusals);
	g_test_add_func("/unit/audit/through-ledger", test_through_ledger);
	g_test_add_func("/unit/audit/read-while-written", test_read_while_written);
	g_test_add_func("/unit/audit/full-disk", test_full_disk);
	return g_test_run();
}
