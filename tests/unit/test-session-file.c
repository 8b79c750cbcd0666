/* SPDX-License-Identifier: BSD-3-Clause */
/* The session file: contents change as a whole, whatever a write was cut at. */
#include "pool/session_file.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

typedef struct Place {
	char *dir, *path;
} Place;

static void place_free(Place *place)
{
	g_unlink(place->path);
	g_rmdir(place->dir);
	g_free(place->dir);
	g_free(place->path);
	g_free(place);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Place, place_free)

static Place *place_new(void)
{
	Place *place = g_new0(Place, 1);

	place->dir = g_dir_make_tmp("softdcd-session.XXXXXX", NULL);
	g_assert_nonnull(place->dir);
	place->path = g_build_filename(place->dir, "dev0.session", NULL);
	return place;
}

static SessionFile *open_file(Place *place)
{
	g_autoptr(GError) error = NULL;
	SessionFile *file = session_file_open(place->path, &error);

	g_assert_no_error(error);
	return file;
}

static void assert_holds(Place *place, const char *text)
{
	g_autoptr(SessionFile) file = open_file(place);
	g_autoptr(GBytes) bytes = session_file_read(file);

	if (text)
		g_assert_cmpmem(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), text,
				strlen(text));
	else
		g_assert_null(bytes);
}

static void write_text(Place *place, const char *text)
{
	g_autoptr(SessionFile) file = open_file(place);
	GBytes *before = session_file_read(file);

	g_clear_pointer(&before, g_bytes_unref);
	g_assert_true(session_file_write(file, text, strlen(text)));
}

static void test_rewrite(void)
{
	g_autoptr(Place) place = place_new();
	g_autoptr(SessionFile) file = open_file(place);
	GStatBuf status;

	assert_holds(place, NULL);
	for (unsigned i = 0; i < 100; i++) {
		g_autofree char *text = g_strnfill(i * 37, (char)('a' + i % 26));

		g_assert_true(session_file_write(file, text, strlen(text)));
		assert_holds(place, text);
	}
	/* Each open goes on where the last one ended. */
	write_text(place, "one");
	write_text(place, "two");
	assert_holds(place, "two");
	g_assert_cmpint(g_stat(place->path, &status), ==, 0);
	g_assert_cmphex(status.st_mode & 07777, ==, 0600);
	g_assert_cmpint(status.st_size, <=, 2 * SESSION_FILE_MAX_LEN);
}

static void test_too_long(void)
{
	g_autoptr(Place) place = place_new();
	g_autoptr(SessionFile) file = open_file(place);
	g_autofree char *text = g_strnfill(SESSION_FILE_MAX_LEN, 'x');

	g_assert_true(session_file_write(file, "kept", 4));
	g_assert_false(session_file_write(file, text, SESSION_FILE_MAX_LEN - 31));
	g_assert_cmpint(errno, ==, EFBIG);
	assert_holds(place, "kept");
	text[SESSION_FILE_MAX_LEN - 32] = '\0';
	g_assert_true(session_file_write(file, text, SESSION_FILE_MAX_LEN - 32));
	assert_holds(place, text);
}

/* A write that ends anywhere leaves the one before; one whose bytes are wrong counts as cut. */
static void test_cut_write(void)
{
	static const char *const first = "the state before", *const second = "and after it";
	g_autoptr(Place) place = place_new();
	g_autofree char *after = NULL;
	gsize after_len;

	write_text(place, first);
	write_text(place, second);
	g_assert_true(g_file_get_contents(place->path, &after, &after_len, NULL));
	g_assert_cmpuint(after_len, >, SESSION_FILE_MAX_LEN);
	for (gsize len = SESSION_FILE_MAX_LEN; len <= after_len; len++) {
		g_autofree char *cut = g_memdup2(after, after_len);

		g_assert_true(g_file_set_contents_full(place->path, cut, (gssize)len,
						       G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL));
		assert_holds(place, len < after_len ? first : second);
		if (len == SESSION_FILE_MAX_LEN)
			continue;
		cut[len - 1] ^= 1;
		g_assert_true(g_file_set_contents_full(place->path, cut, (gssize)after_len,
						       G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL));
		/* Four bytes of the header are for later versions. */
		if (len - SESSION_FILE_MAX_LEN <= 28 || len - SESSION_FILE_MAX_LEN > 32)
			assert_holds(place, first);
	}
}

static void test_refused(void)
{
	g_autoptr(Place) place = place_new();
	g_autofree char *missing = g_build_filename(place->dir, "no", "where", NULL);
	g_autofree char *other = g_build_filename(place->dir, "other", NULL);
	g_autoptr(GError) error = NULL;

	g_assert_null(session_file_open(missing, &error));
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
	g_clear_error(&error);
	g_assert_null(session_file_open(place->dir, &error));
	g_assert_nonnull(error);
	g_clear_error(&error);
	/* What others may read or write is not ours to trust. */
	g_assert_true(g_file_set_contents(place->path, "", 0, NULL));
	g_chmod(place->path, 0640);
	g_assert_null(session_file_open(place->path, &error));
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED);
	g_clear_error(&error);
	g_unlink(place->path);
	g_assert_true(g_file_set_contents(other, "", 0, NULL));
	g_assert_cmpint(symlink(other, place->path), ==, 0);
	g_assert_null(session_file_open(place->path, &error));
	g_assert_nonnull(error);
	g_unlink(other);
}

static void test_remove(void)
{
	g_autoptr(Place) place = place_new();
	g_autoptr(SessionFile) file = open_file(place);

	g_assert_true(session_file_write(file, "x", 1));
	session_file_remove(file);
	g_assert_false(g_file_test(place->path, G_FILE_TEST_EXISTS));
	g_assert_false(session_file_write(file, "x", 1));
	assert_holds(place, NULL);
}

#define P "/unit/session-file/"

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func(P "rewrite", test_rewrite);
	g_test_add_func(P "too-long", test_too_long);
	g_test_add_func(P "cut-write", test_cut_write);
	g_test_add_func(P "refused", test_refused);
	g_test_add_func(P "remove", test_remove);
	return g_test_run();
}
