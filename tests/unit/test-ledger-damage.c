/* SPDX-License-Identifier: BSD-3-Clause */
/* Ledgers that cannot be believed, or not be written: refused with a cure, left as they are. */

#include "ledger-fixture.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define NOBODY 65534

/* ---- a ledger as bytes ---- */

typedef struct Image {
	char *dir;
	char *path, *wal, *mark;
	char *db_data, *wal_data, *mark_data;
	gsize db_len, wal_len, mark_len;
	char *rows; /* as text */
} Image;

static void read_file(const char *path, char **ret_data, gsize *ret_len)
{
	*ret_data = NULL;
	*ret_len = 0;
	g_file_get_contents(path, ret_data, ret_len, NULL);
}

static void write_file(const char *path, const char *data, gsize len)
{
	g_autoptr(GError) error = NULL;

	g_file_set_contents_full(path, data, (gssize)len, G_FILE_SET_CONTENTS_NONE, 0600, &error);
	g_assert_no_error(error);
}

/* A ledger with some rows, in its file, and in its log too unless CLOSED. */
static Image *image_new(bool closed)
{
	Image *image = g_new0(Image, 1);
	Ledger *ledger;

	image->dir = state_dir_new();
	image->path = ledger_path(image->dir);
	image->wal = g_strconcat(image->path, "-wal", NULL);
	image->mark = g_strconcat(image->path, ".mark", NULL);
	ledger = open_ledger(image->dir);
	for (unsigned i = 1; i <= 30; i++) {
		RowRecord *record = i > 1 ? row_record_new(ROW_REASON_CHANGE) : one_of_each();

		for (unsigned j = 0; j < 10; j++)
			add_extent(record, 1, 51, (i * 10 + j + 1) * 4096);
		submit_ok(ledger, record);
		if (!closed && i == 15) {
			ledger_close(ledger);
			ledger = open_ledger(image->dir);
		}
	}
	image->rows = loaded_text(ledger);
	if (closed)
		ledger_close(ledger);
	read_file(image->path, &image->db_data, &image->db_len);
	read_file(image->wal, &image->wal_data, &image->wal_len);
	read_file(image->mark, &image->mark_data, &image->mark_len);
	if (!closed)
		ledger_close(ledger);
	g_assert_cmpuint(image->db_len, >, 10 * 4096);
	g_assert_true(closed == (image->wal_len == 0));
	return image;
}

static void image_free(Image *image)
{
	state_dir_free(image->dir);
	g_free(image->path);
	g_free(image->wal);
	g_free(image->mark);
	g_free(image->db_data);
	g_free(image->wal_data);
	g_free(image->mark_data);
	g_free(image->rows);
	g_free(image);
}

/* Back to how it was, so that the next damage can be done. */
static void restore(const Image *image)
{
	state_dir_empty(image->dir);
	write_file(image->path, image->db_data, image->db_len);
	write_file(image->mark, image->mark_data, image->mark_len);
	if (image->wal_len > 0)
		write_file(image->wal, image->wal_data, image->wal_len);
}

static void assert_whole(const Image *image)
{
	Ledger *ledger = open_ledger(image->dir);
	g_autofree char *rows = loaded_text(ledger);

	g_assert_cmpstr(rows, ==, image->rows);
	ledger_close(ledger);
}

/* Opens and loads. NULL: it has exactly the rows it should have; else why not. */
static GError *try_open(const Image *image)
{
	GError *error = NULL;
	Ledger *ledger = ledger_open(image->path, &(LedgerOptions){ .context = NULL }, &error);
	RowRecord *record = ledger ? ledger_load(ledger, &error) : NULL;

	g_assert_true(!record == !!error);
	if (record) {
		g_autofree char *rows = rows_text(record);

		if (!g_str_equal(rows, image->rows))
			g_error("loaded as whole, with other rows");
		row_record_unref(record);
	}
	ledger_close(ledger);
	return error;
}

/* Refused with this code and these words; the file is as it was. */
static void assert_refused(const Image *image, LedgerError code, ...) G_GNUC_NULL_TERMINATED;

static void assert_refused(const Image *image, LedgerError code, ...)
{
	g_autofree char *before = NULL, *after = NULL;
	g_autoptr(GError) error = NULL;
	gsize before_len, after_len;
	const char *word;
	va_list words;

	read_file(image->path, &before, &before_len);
	error = try_open(image);
	read_file(image->path, &after, &after_len);
	g_assert_nonnull(error);
	g_assert_cmpmem(before, before_len, after, after_len);
	g_test_message("%s", error->message);
	g_assert_error(error, LEDGER_ERROR, (gint)code);
	g_assert_nonnull(strstr(error->message, image->dir));
	va_start(words, code);
	while ((word = va_arg(words, const char *))) {
		if (!strstr(error->message, word))
			g_error("\"%s\" lacks \"%s\"", error->message, word);
	}
	va_end(words);
}

/* ---- files cut, overwritten, taken away ---- */

static void test_truncated(void)
{
	Image *image = image_new(true);
	const gsize lens[] = { 0,
			       1,
			       50,
			       99,
			       100,
			       4095,
			       4096,
			       4097,
			       5 * 4096,
			       image->db_len / 2,
			       image->db_len - 4096,
			       image->db_len - 1 };

	for (size_t i = 0; i < G_N_ELEMENTS(lens); i++) {
		restore(image);
		g_assert_cmpint(truncate(image->path, (off_t)lens[i]), ==, 0);
		assert_refused(image, LEDGER_ERROR_DAMAGED, NULL);
	}
	restore(image);
	g_assert_cmpint(truncate(image->path, 5 * 4096), ==, 0);
	assert_refused(image, LEDGER_ERROR_DAMAGED, "damaged", "softdcd does not start on it",
		       "move it", "restore a copy", "begin anew", "gives up", NULL);
	restore(image);
	assert_whole(image);
	image_free(image);
}

static void overwrite(const char *path, gsize offset, const void *data, gsize len)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	g_assert_cmpint(pwrite(fd, data, len, (off_t)offset), ==, len);
	close(fd);
}

static void test_bad_pages(void)
{
	static const int fills[] = { 0x00, 0xff, 0x5a };
	Image *image = image_new(true);
	char page[4096];

	for (gsize offset = 0; offset < image->db_len; offset += sizeof(page)) {
		for (size_t i = 0; i < G_N_ELEMENTS(fills); i++) {
			memset(page, fills[i], sizeof(page));
			restore(image);
			overwrite(image->path, offset, page, sizeof(page));
			assert_refused(image, LEDGER_ERROR_DAMAGED, NULL);
		}
	}
	image_free(image);
}

/* One changed byte anywhere, in file or log: refused, or it did not matter. Never other rows. */
static void test_bad_bytes(void)
{
	unsigned n_refused = 0, n_rounds = g_test_slow() ? 20000 : 300;
	Image *images[] = { image_new(true), image_new(false) };

	for (unsigned i = 0; i < n_rounds; i++) {
		const Image *image = images[i % 2];
		bool in_wal = image->wal_len > 0 && i % 4 == 1;
		const char *data = in_wal ? image->wal_data : image->db_data;
		gsize len = in_wal ? image->wal_len : image->db_len;
		gsize at = (gsize)g_test_rand_int_range(0, (gint32)len);
		char byte = (char)(data[at] ^ g_test_rand_int_range(1, 256));
		g_autoptr(GError) error = NULL;

		restore(image);
		overwrite(in_wal ? image->wal : image->path, at, &byte, 1);
		error = try_open(image);
		n_refused += !!error;
	}
	g_test_message("%u of %u refused", n_refused, n_rounds);
	g_assert_cmpuint(n_refused, >, n_rounds / 10);
	image_free(images[0]);
	image_free(images[1]);
}

/* SQLite itself would take a shorter log for a whole one. */
static void test_bad_log(void)
{
	Image *image = image_new(false);

	restore(image);
	assert_whole(image);
	restore(image);
	g_assert_cmpint(g_remove(image->wal), ==, 0);
	assert_refused(image, LEDGER_ERROR_DAMAGED, "commits", "acknowledged", ".mark", NULL);
	for (unsigned i = 0; i < 10; i++) {
		restore(image);
		g_assert_cmpint(truncate(image->wal, (off_t)(image->wal_len * i / 10)), ==, 0);
		assert_refused(image, LEDGER_ERROR_DAMAGED, "commits", NULL);
	}
	restore(image);
	g_assert_cmpint(g_remove(image->path), ==, 0);
	assert_refused(image, LEDGER_ERROR_DAMAGED, "missing", "-wal", NULL);
	image_free(image);
}

static void test_mark(void)
{
	Image *image = image_new(true);
	char ahead[] = "commits 00000000000000999999 pid 0000000001\n";

	/* An older copy, and the operator's word that it is meant. */
	write_file(image->mark, ahead, strlen(ahead));
	assert_refused(image, LEDGER_ERROR_DAMAGED, "999999", "were acknowledged", "remove", NULL);
	g_assert_cmpint(g_remove(image->mark), ==, 0);
	assert_whole(image);
	/* The ledger alone is gone: not a new pool. */
	g_assert_cmpint(g_remove(image->path), ==, 0);
	assert_refused(image, LEDGER_ERROR_DAMAGED, "missing", "begin anew", NULL);
	g_assert_false(g_file_test(image->path, G_FILE_TEST_EXISTS));
	restore(image);
	write_file(image->mark, "commits many\n", 13);
	assert_refused(image, LEDGER_ERROR_DAMAGED, ".mark", "altered", NULL);
	/* Moved away as told: a new one. */
	state_dir_empty(image->dir);
	ledger_close(open_ledger(image->dir));
	image_free(image);
}

/* A crash while a new one is made leaves nothing that matters. */
static void test_half_made(void)
{
	char *dir = state_dir_new();
	g_autofree char *fresh = g_build_filename(dir, "ledger.db.new", NULL);
	g_autofree char *mark = g_build_filename(dir, "ledger.db.mark", NULL);
	Ledger *ledger;

	write_file(fresh, "half", 4);
	write_file(mark, "", 0);
	ledger = open_ledger(dir);
	g_assert_true(ledger_is_new(ledger));
	g_assert_false(g_file_test(fresh, G_FILE_TEST_EXISTS));
	ledger_close(ledger);
	state_dir_free(dir);
}

/* ---- databases with other contents ---- */

static void run_sql(const Image *image, const char *sql)
{
	sqlite3 *db = NULL;

	g_assert_cmpint(sqlite3_open(image->path, &db), ==, SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		g_error("%s: %s", sql, sqlite3_errmsg(db));
	sqlite3_close(db);
}

static void test_other_contents(void)
{
	static const struct {
		const char *sql;
		LedgerError code;
		const char *word, *word2;
	} cases[] = {
		{ "PRAGMA user_version = 77", LEDGER_ERROR_NEWER, "version 77", "newer softdcd" },
		{ "PRAGMA user_version = 0", LEDGER_ERROR_DAMAGED, "version is 0", "damaged" },
		{ "PRAGMA application_id = 5", LEDGER_ERROR_DAMAGED, "another program", "id 5" },
		{ "DROP TABLE extent", LEDGER_ERROR_DAMAGED, "extent", "damaged" },
		{ "ALTER TABLE extent RENAME COLUMN host TO guest", LEDGER_ERROR_DAMAGED, "host",
		  "damaged" },
		{ "DELETE FROM meta", LEDGER_ERROR_DAMAGED, "how often", "damaged" },
		{ "UPDATE meta SET value = 'x'", LEDGER_ERROR_DAMAGED, "how often", "damaged" },
		{ "UPDATE meta SET value = '3'", LEDGER_ERROR_DAMAGED, "holds 3 commits",
		  "acknow" },
		{ "DELETE FROM device WHERE id = 1", LEDGER_ERROR_DAMAGED, "\"offer\"", "refers" },
		{ "DELETE FROM file WHERE incarnation = 41", LEDGER_ERROR_DAMAGED, "\"holder\"",
		  "refers" },
		{ "DELETE FROM offer WHERE id = 51", LEDGER_ERROR_DAMAGED, "\"extent\"", "refers" },
		{ "UPDATE extent SET len = 8192 WHERE dpa = 4096", LEDGER_ERROR_DAMAGED,
		  "\"extent\"", "not as it was written" },
		{ "UPDATE extent SET sum = 1 WHERE dpa = 4096", LEDGER_ERROR_DAMAGED, "\"extent\"",
		  "not as it was written" },
		{ "UPDATE extent SET state = 9 WHERE dpa = 4096", LEDGER_ERROR_DAMAGED,
		  "\"extent\"", "impossible state" },
		{ "UPDATE file SET dirty = 2", LEDGER_ERROR_DAMAGED, "\"file\"",
		  "impossible dirty" },
		{ "UPDATE device SET regions = x'00'", LEDGER_ERROR_DAMAGED, "\"device\"",
		  "impossible regions" },
		{ "UPDATE offer SET tag = x'0102'", LEDGER_ERROR_DAMAGED, "\"offer\"",
		  "impossible tag" },
		{ "UPDATE host SET uid = -1", LEDGER_ERROR_DAMAGED, "\"host\"", "impossible uid" },
		{ "UPDATE backend SET path = CAST(x'ff41' AS TEXT) WHERE name = 'plain'",
		  LEDGER_ERROR_DAMAGED, "\"backend\"", "impossible path" },
		{ "UPDATE counters SET one = 1", LEDGER_ERROR_DAMAGED, "\"counters\"",
		  "impossible one" },
	};
	Image *image = image_new(true);

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;

		g_test_message("%s", cases[i].sql);
		restore(image);
		run_sql(image, cases[i].sql);
		error = try_open(image);
		g_assert_error(error, LEDGER_ERROR, (gint)cases[i].code);
		g_test_message("%s", error->message);
		g_assert_nonnull(strstr(error->message, image->path));
		if (!strstr(error->message, cases[i].word) ||
		    !strstr(error->message, cases[i].word2))
			g_error("\"%s\" lacks \"%s\" or \"%s\"", error->message, cases[i].word,
				cases[i].word2);
	}
	image_free(image);
}

static void test_not_a_ledger(void)
{
	Image *image = image_new(true);
	g_autofree char *text = g_strnfill(20000, 'a');

	write_file(image->path, text, 20000);
	assert_refused(image, LEDGER_ERROR_DAMAGED, "not a ledger", "move the file away", NULL);
	write_file(image->path, "SQLite format 3", 16);
	assert_refused(image, LEDGER_ERROR_DAMAGED, NULL);
	g_remove(image->path);
	g_assert_cmpint(g_mkdir(image->path, 0700), ==, 0);
	assert_refused(image, LEDGER_ERROR_ACCESS, "directory", NULL);
	g_rmdir(image->path);
	g_assert_cmpint(symlink("elsewhere", image->path), ==, 0);
	assert_refused(image, LEDGER_ERROR_ACCESS, "symbolic link", NULL);
	g_remove(image->path);
	g_assert_cmpint(mkfifo(image->path, 0600), ==, 0);
	{
		g_autoptr(GError) error = NULL;
		Ledger *ledger = ledger_open(image->path, &(LedgerOptions){ .context = NULL },
					     &error);

		g_assert_null(ledger);
		g_assert_error(error, LEDGER_ERROR, LEDGER_ERROR_ACCESS);
	}
	image_free(image);
}

/* ---- older versions ---- */

/* What every released version left behind must go on loading. */
static void test_version_1(void)
{
	Image image = { .dir = state_dir_new() };
	g_autofree char *fixture = g_test_build_filename(G_TEST_DIST, "unit", "data",
							 "ledger-1.sql", NULL);
	g_autofree char *sql = NULL, *expected = NULL;
	g_autoptr(RowRecord) record = one_of_each();
	g_autoptr(GError) error = NULL;
	gsize len;

	image.path = ledger_path(image.dir);
	expected = rows_text(record);
	g_file_get_contents(fixture, &sql, &len, &error);
	g_assert_no_error(error);
	run_sql(&image, sql);
	g_assert_cmpint(g_chmod(image.path, 0600), ==, 0);
	for (unsigned i = 0; i < 2; i++) {
		Ledger *ledger = open_ledger(image.dir);
		g_autofree char *rows = loaded_text(ledger);
		Answer answer = { .given = false };
		g_autoptr(GBytes) data = g_bytes_new_static("x", 1);

		g_assert_cmpstr(rows, ==, expected);
		/* What version 1 did not have works. */
		ledger_put_blob(ledger, "kind", "name", data, take_answer, &answer);
		wait_for(&answer);
		g_assert_true(answer.ok);
		ledger_close(ledger);
	}
	state_dir_free(image.dir);
	g_free(image.path);
}

/* ---- who may open it ---- */

static void test_in_use(void)
{
	Image *image = image_new(true);
	g_autofree char *pid = g_strdup_printf("process %d;", (int)getpid());
	Ledger *ledger = open_ledger(image->dir);

	for (unsigned i = 0; i < 3; i++)
		assert_refused(image, LEDGER_ERROR_IN_USE, "in use", pid, NULL);
	ledger_close(ledger);
	assert_whole(image);
	image_free(image);
}

static void test_permissions(void)
{
	Image *image = image_new(true);
	g_autofree char *nowhere = g_build_filename(image->dir, "no", "ledger.db", NULL);
	g_autofree char *under_file = g_build_filename(image->path, "ledger.db", NULL);
	g_autoptr(GError) missing = NULL, not_dir = NULL;

	g_assert_cmpint(g_chmod(image->path, 0640), ==, 0);
	assert_refused(image, LEDGER_ERROR_ACCESS, "mode 0640", "chmod 0600", NULL);
	g_assert_cmpint(g_chmod(image->path, 0600), ==, 0);
	g_assert_cmpint(g_chmod(image->dir, 0770), ==, 0);
	assert_refused(image, LEDGER_ERROR_ACCESS, "mode 0770", "chmod 0700", NULL);
	g_assert_cmpint(g_chmod(image->dir, 0700), ==, 0);
	g_assert_cmpint(g_chmod(image->mark, 0666), ==, 0);
	assert_refused(image, LEDGER_ERROR_ACCESS, ".mark", "chmod 0600", NULL);
	g_assert_cmpint(g_chmod(image->mark, 0600), ==, 0);
	g_assert_null(ledger_open(nowhere, &(LedgerOptions){ .context = NULL }, &missing));
	g_assert_error(missing, LEDGER_ERROR, LEDGER_ERROR_ACCESS);
	g_assert_nonnull(strstr(missing->message, "create its directory"));
	g_assert_null(ledger_open(under_file, &(LedgerOptions){ .context = NULL }, &not_dir));
	g_assert_error(not_dir, LEDGER_ERROR, LEDGER_ERROR_ACCESS);
	assert_whole(image);
	image_free(image);
}

static void test_owner(void)
{
	Image *image = image_new(true);

	if (geteuid() != 0) {
		g_test_skip("needs to be root");
		image_free(image);
		return;
	}
	g_assert_cmpint(chown(image->path, NOBODY, NOBODY), ==, 0);
	assert_refused(image, LEDGER_ERROR_ACCESS, "owner 65534", "chown 0", NULL);
	g_assert_cmpint(chown(image->path, 0, 0), ==, 0);
	g_assert_cmpint(chown(image->dir, NOBODY, NOBODY), ==, 0);
	assert_refused(image, LEDGER_ERROR_ACCESS, "state directory", "owner 65534", NULL);
	image_free(image);
}

/* As a user for whom permissions count: root may do anything. */
static void become_nobody(const Image *image)
{
	if (geteuid() != 0)
		return;
	g_assert_cmpint(chown(image->dir, NOBODY, NOBODY), ==, 0);
	g_assert_cmpint(chown(image->path, NOBODY, NOBODY), ==, 0);
	g_assert_cmpint(chown(image->mark, NOBODY, NOBODY), ==, 0);
	g_assert_cmpint(seteuid(NOBODY), ==, 0);
}

static void test_read_only(void)
{
	Image *image = image_new(true);

	state_dir_empty(image->dir);
	restore(image);
	become_nobody(image);
	g_assert_cmpint(g_chmod(image->path, 0400), ==, 0);
	assert_refused(image, LEDGER_ERROR_ACCESS, "cannot write", "writable", NULL);
	g_assert_cmpint(g_chmod(image->path, 0600), ==, 0);
	g_assert_cmpint(g_chmod(image->dir, 0500), ==, 0);
	assert_refused(image, LEDGER_ERROR_ACCESS, "cannot write", "writable", NULL);
	g_assert_cmpint(g_chmod(image->dir, 0700), ==, 0);
	assert_whole(image);
	if (getuid() == 0)
		g_assert_cmpint(seteuid(0), ==, 0);
	image_free(image);
}

static bool mount_small(const char *dir)
{
	if (geteuid() == 0 && mount("softdcd-test", dir, "tmpfs", 0, "size=256k,mode=0700") == 0)
		return true;
	g_test_skip("needs to be root and to mount a tmpfs");
	return false;
}

static void fill_disk(const char *dir)
{
	g_autofree char *path = g_build_filename(dir, "filler", NULL);
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	char page[4096] = { 0 };

	while (write(fd, page, sizeof(page)) > 0)
		continue;
	close(fd);
}

static void test_read_only_file_system(void)
{
	Image *image = image_new(true);

	if (mount_small(image->dir)) {
		restore(image);
		g_assert_cmpint(mount(NULL, image->dir, NULL, MS_REMOUNT | MS_RDONLY, NULL), ==, 0);
		assert_refused(image, LEDGER_ERROR_ACCESS, "ead-only file system", "remount", NULL);
		g_assert_cmpint(mount(NULL, image->dir, NULL, MS_REMOUNT, NULL), ==, 0);
		assert_whole(image);
		g_assert_cmpint(umount2(image->dir, MNT_DETACH), ==, 0);
	}
	image_free(image);
}

/* No room to make one, and none to open one. */
static void test_full_disk(void)
{
	Image *image = image_new(true);
	g_autofree char *filler = g_build_filename(image->dir, "filler", NULL);

	if (mount_small(image->dir)) {
		fill_disk(image->dir);
		assert_refused(image, LEDGER_ERROR_FULL, "No space left", "free space", NULL);
		g_assert_false(g_file_test(image->path, G_FILE_TEST_EXISTS));
		restore(image);
		fill_disk(image->dir);
		assert_refused(image, LEDGER_ERROR_FULL, "No space left", "free space", NULL);
		g_assert_cmpint(g_remove(filler), ==, 0);
		assert_whole(image);
		g_assert_cmpint(umount2(image->dir, MNT_DETACH), ==, 0);
	}
	image_free(image);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/ledger-damage/truncated", test_truncated);
	g_test_add_func("/unit/ledger-damage/bad-pages", test_bad_pages);
	g_test_add_func("/unit/ledger-damage/bad-bytes", test_bad_bytes);
	g_test_add_func("/unit/ledger-damage/bad-log", test_bad_log);
	g_test_add_func("/unit/ledger-damage/mark", test_mark);
	g_test_add_func("/unit/ledger-damage/half-made", test_half_made);
	g_test_add_func("/unit/ledger-damage/other-contents", test_other_contents);
	g_test_add_func("/unit/ledger-damage/not-a-ledger", test_not_a_ledger);
	g_test_add_func("/unit/ledger-damage/version-1", test_version_1);
	g_test_add_func("/unit/ledger-damage/in-use", test_in_use);
	g_test_add_func("/unit/ledger-damage/permissions", test_permissions);
	g_test_add_func("/unit/ledger-damage/owner", test_owner);
	g_test_add_func("/unit/ledger-damage/read-only", test_read_only);
	g_test_add_func("/unit/ledger-damage/read-only-file-system", test_read_only_file_system);
	g_test_add_func("/unit/ledger-damage/full-disk", test_full_disk);
	return g_test_run();
}
