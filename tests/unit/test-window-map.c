/* SPDX-License-Identifier: BSD-3-Clause */
/* The window of a process: an alias where one stands, all-ones at every other byte. */
#include "host/window_map.h"
#include "util/autofd.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE       UINT64_C(4096)
#define MIB        (UINT64_C(1) << 20)
#define GIB        (UINT64_C(1) << 30)
#define HPA        (UINT64_C(0x50) << 32)
#define WINDOW_LEN (64 * MIB)
#define FILE_LEN   (8 * MIB)
#define NO_ALIAS   UINT64_MAX
/* By the design's promise: never more than these for all-ones, up to 16 GiB. */
#define MAX_MAPPINGS 512

static WindowMap *window_new(uint64_t len)
{
	g_autoptr(GError) error = NULL;
	WindowMap *map = window_map_new(HPA, len, &error);

	g_assert_no_error(error);
	return map;
}

/* Every page begins and ends with its number; the bytes between are 5Ah. */
static int make_file(uint64_t len)
{
	int fd = memfd_create("window-map", MFD_CLOEXEC);
	uint8_t page[PAGE];

	g_assert_cmpint(fd, >=, 0);
	memset(page, 0x5a, sizeof(page));
	for (uint64_t at = 0; at < len; at += PAGE) {
		uint64_t number = at / PAGE;

		memcpy(page, &number, sizeof(number));
		memcpy(page + PAGE - sizeof(number), &number, sizeof(number));
		g_assert_cmpint(pwrite(fd, page, sizeof(page), (off_t)at), ==, PAGE);
	}
	return fd;
}

static uint64_t load(const WindowMap *map, uint64_t offset)
{
	return *(const volatile uint64_t *)(void *)((uint8_t *)window_map_base(map) + offset);
}

/* First and last word of each page of [FROM, TO): that of the file from OFFSET on, or all-ones. */
static void assert_pages(const WindowMap *map, uint64_t from, uint64_t to, uint64_t offset)
{
	for (uint64_t at = from; at < to; at += PAGE) {
		uint64_t want = offset == NO_ALIAS ? UINT64_MAX : (offset + at - from) / PAGE;

		if (load(map, at) != want || load(map, at + PAGE - 8) != want)
			g_error("page at %#" PRIx64 " holds %#" PRIx64 " and %#" PRIx64
				", should be %#" PRIx64,
				at, load(map, at), load(map, at + PAGE - 8), want);
	}
}

/* All of the window: an alias at [AT, AT + LEN) of the file from OFFSET on, all-ones elsewhere. */
static void assert_one_alias(const WindowMap *map, uint64_t at, uint64_t len, uint64_t offset)
{
	assert_pages(map, 0, at, NO_ALIAS);
	assert_pages(map, at, at + len, offset);
	assert_pages(map, at + len, WINDOW_LEN, NO_ALIAS);
}

/* The kernel's mappings inside the window. */
static unsigned n_mappings(const WindowMap *map, uint64_t len)
{
	uint64_t base = (uintptr_t)window_map_base(map);
	g_autofree char *text = NULL;
	g_auto(GStrv) lines = NULL;
	unsigned n = 0;

	g_assert_true(g_file_get_contents("/proc/self/maps", &text, NULL, NULL));
	lines = g_strsplit(text, "\n", -1);
	for (unsigned i = 0; lines[i]; i++) {
		uint64_t start, end;

		if (sscanf(lines[i], "%" SCNx64 "-%" SCNx64, &start, &end) == 2)
			n += start < base + len && end > base;
	}
	return n;
}

/* ---- cases ---- */

static void test_empty(void)
{
	g_autoptr(WindowMap) map = window_new(WINDOW_LEN);
	uint8_t *base = window_map_base(map);

	g_assert_cmpuint((uintptr_t)base % GIB, ==, 0);
	for (uint64_t at = 0; at < WINDOW_LEN; at += 8) {
		if (load(map, at) != UINT64_MAX)
			g_error("%#" PRIx64 " at %#" PRIx64, load(map, at), at);
	}
	/* Nobody may ever make the all-ones writable, for the whole window depends on them. */
	g_assert_cmpint(mprotect(base, PAGE, PROT_READ | PROT_WRITE), ==, -1);
	g_assert_cmpint(errno, ==, EACCES);
}

/* Aliases that begin and end at, and one page beside, every boundary there is. */
static void test_boundaries(void)
{
	static const uint64_t lens[] = { PAGE, 2 * MIB - PAGE, 2 * MIB, 2 * MIB + PAGE, FILE_LEN };
	g_autoptr(WindowMap) map = window_new(WINDOW_LEN);
	AUTOFD int fd = make_file(FILE_LEN);
	uint64_t ones = window_map_ones_len(map);
	const uint64_t starts[] = {
		0,
		PAGE,
		2 * MIB,
		ones - PAGE,
		ones,
		ones + PAGE,
		2 * ones - 3 * PAGE,
		WINDOW_LEN / 2 - PAGE,
		WINDOW_LEN - FILE_LEN,
	};
	unsigned before = n_mappings(map, WINDOW_LEN);

	for (unsigned s = 0; s < G_N_ELEMENTS(starts); s++) {
		for (unsigned l = 0; l < G_N_ELEMENTS(lens); l++) {
			uint64_t offset = FILE_LEN - lens[l];

			g_assert_cmpint(
				window_map_put(map, HPA + starts[s], lens[l], fd, offset, true), ==,
				0);
			assert_one_alias(map, starts[s], lens[l], offset);
			window_map_clear(map, HPA + starts[s], lens[l]);
			assert_one_alias(map, starts[s], 0, 0);
			g_assert_cmpuint(n_mappings(map, WINDOW_LEN), ==, before);
		}
	}
	/* The very last page, and all of the window at once. */
	g_assert_cmpint(window_map_put(map, HPA + WINDOW_LEN - PAGE, PAGE, fd, 0, true), ==, 0);
	assert_one_alias(map, WINDOW_LEN - PAGE, PAGE, 0);
	window_map_clear(map, HPA, WINDOW_LEN);
	assert_pages(map, 0, WINDOW_LEN, NO_ALIAS);
	g_assert_cmpuint(n_mappings(map, WINDOW_LEN), ==, before);
}

/* Holes at the edges and in the middle; what stays goes on showing the same place of the file. */
static void test_cut(void)
{
	static const uint64_t at = 6 * MIB, len = FILE_LEN;
	static const struct {
		uint64_t from, to;
	} cuts[] = {
		{ 0, PAGE },
		{ 0, 2 * MIB },
		{ FILE_LEN - PAGE, FILE_LEN },
		{ FILE_LEN - 2 * MIB, FILE_LEN },
		{ PAGE, 2 * PAGE },
		{ 2 * MIB - PAGE, 2 * MIB + PAGE },
		{ 2 * MIB, 4 * MIB },
		{ PAGE, FILE_LEN - PAGE },
		{ 0, FILE_LEN },
	};
	g_autoptr(WindowMap) map = window_new(WINDOW_LEN);
	AUTOFD int fd = make_file(FILE_LEN);

	for (unsigned i = 0; i < G_N_ELEMENTS(cuts); i++) {
		uint64_t from = cuts[i].from, to = cuts[i].to;

		g_assert_cmpint(window_map_put(map, HPA + at, len, fd, 0, true), ==, 0);
		window_map_clear(map, HPA + at + from, to - from);
		assert_pages(map, 0, at, NO_ALIAS);
		assert_pages(map, at, at + from, 0);
		assert_pages(map, at + from, at + to, NO_ALIAS);
		assert_pages(map, at + to, at + len, to);
		assert_pages(map, at + len, WINDOW_LEN, NO_ALIAS);
		window_map_clear(map, HPA + at, len);
		assert_pages(map, 0, WINDOW_LEN, NO_ALIAS);
	}
}

/* Stores go to the file, and only through a writable alias. */
static void test_protection(void)
{
	g_autoptr(WindowMap) map = window_new(WINDOW_LEN);
	AUTOFD int fd = make_file(FILE_LEN);
	volatile uint64_t *at = (void *)((uint8_t *)window_map_base(map) + 2 * MIB);
	uint64_t word;

	g_assert_cmpint(window_map_put(map, HPA + 2 * MIB, PAGE, fd, PAGE, true), ==, 0);
	at[1] = 0x1122334455667788;
	g_assert_cmpint(pread(fd, &word, sizeof(word), PAGE + 8), ==, sizeof(word));
	g_assert_cmphex(word, ==, 0x1122334455667788);
	g_assert_cmpint(window_map_put(map, HPA + 2 * MIB, PAGE, fd, PAGE, false), ==, 0);
	g_assert_cmphex(at[1], ==, 0x1122334455667788);
	/* Write access to the page by way of the kernel, which fails instead of killing us. */
	g_assert_cmpint(pread(fd, (void *)at, 8, 0), ==, -1);
	g_assert_cmpint(errno, ==, EFAULT);
}

static void assert_put_fails(WindowMap *map, int fd, uint64_t offset, bool writable, int rc)
{
	g_assert_cmpint(window_map_put(map, HPA + 3 * MIB, 2 * MIB, fd, offset, writable), ==, rc);
	assert_pages(map, 0, WINDOW_LEN, NO_ALIAS);
}

static void test_put_fails(void)
{
	g_autoptr(WindowMap) map = window_new(WINDOW_LEN);
	AUTOFD int fd = make_file(FILE_LEN);
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
	AUTOFD int read_only = open(path, O_RDONLY | O_CLOEXEC);
	unsigned before = n_mappings(map, WINDOW_LEN);
	int sockets[2];

	g_assert_cmpint(read_only, >=, 0);
	g_assert_cmpint(pipe2(sockets, O_CLOEXEC), ==, 0);
	assert_put_fails(map, -1, 0, true, -EBADF);
	assert_put_fails(map, read_only, 0, true, -EACCES);
	assert_put_fails(map, fd, 1, true, -EINVAL);
	assert_put_fails(map, sockets[0], 0, false, -ENODEV);
	g_assert_cmpuint(n_mappings(map, WINDOW_LEN), ==, before);
	g_assert_cmpint(window_map_put(map, HPA + 3 * MIB, 2 * MIB, read_only, 0, false), ==, 0);
	assert_one_alias(map, 3 * MIB, 2 * MIB, 0);
	close(sockets[0]);
	close(sockets[1]);
}

static void test_sizes(void)
{
	static const uint64_t odd[] = {
		0,
		1,
		PAGE,
		MIB,
		2 * MIB - 1,
		3 * MIB,
		2 * MIB + PAGE,
		UINT64_MAX,
		UINT64_MAX & ~(2 * MIB - 1),
		UINT64_C(1) << 63,
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(odd); i++) {
		g_autofree char *value = g_strdup_printf("%" PRIu64 " bytes", odd[i]);
		g_autoptr(GError) error = NULL;

		g_assert_null(window_map_new(HPA, odd[i], &error));
		g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL);
		g_assert_nonnull(strstr(error->message, value));
		g_assert_nonnull(strstr(error->message, "multiple of 2 MiB, not 0, and below"));
	}
}

/* More than there can be: not the caller's mistake, and said differently. */
static void test_too_large(void)
{
	g_autoptr(GError) error = NULL;

	g_assert_null(window_map_new(HPA, UINT64_C(1) << 60, &error));
	g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_NOMEM);
	g_assert_nonnull(strstr(error->message, "no address space"));
}

static void test_n_mappings(void)
{
	static const uint64_t lens[] = { 2 * MIB, 64 * MIB, GIB, GIB + 2 * MIB, 16 * GIB };

	for (unsigned i = 0; i < G_N_ELEMENTS(lens); i++) {
		g_autoptr(WindowMap) map = window_new(lens[i]);

		g_assert_cmpuint(n_mappings(map, lens[i]), <=, MAX_MAPPINGS + 1);
		g_assert_cmphex(load(map, 0), ==, UINT64_MAX);
		g_assert_cmphex(load(map, lens[i] - 8), ==, UINT64_MAX);
		g_assert_cmpuint(window_map_ones_len(map), <=, 32 * MIB);
	}
}

/* ---- a reader meanwhile ---- */

typedef struct Reader {
	const WindowMap *map;
	uint64_t at;
	gint stop;
	uint64_t n_ones, n_file;
} Reader;

static gpointer read_on(gpointer data)
{
	Reader *reader = data;

	while (!g_atomic_int_get(&reader->stop)) {
		uint64_t word = load(reader->map, reader->at);

		if (word != UINT64_MAX && word != 7)
			g_error("a reader saw %#" PRIx64, word);
		reader->n_ones += word == UINT64_MAX;
		reader->n_file += word == 7;
	}
	return NULL;
}

/* A load meets the alias or all-ones, never nothing. */
static void test_reader(void)
{
	g_autoptr(WindowMap) map = window_new(WINDOW_LEN);
	AUTOFD int fd = make_file(FILE_LEN);
	Reader reader = { .map = map, .at = 5 * MIB + 7 * PAGE };
	GThread *thread = g_thread_new("reader", read_on, &reader);

	for (unsigned i = 0; i < 500; i++) {
		g_assert_cmpint(window_map_put(map, HPA + 5 * MIB, 4 * MIB, fd, 0, i % 2), ==, 0);
		if (i % 3 == 0)
			g_thread_yield();
		window_map_clear(map, HPA + 5 * MIB, 4 * MIB);
	}
	g_atomic_int_set(&reader.stop, 1);
	g_thread_join(thread);
	g_test_message("%" PRIu64 " times all-ones, %" PRIu64 " times the file", reader.n_ones,
		       reader.n_file);
}

#define P "/unit/host/window-map/"

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func(P "empty", test_empty);
	g_test_add_func(P "boundaries", test_boundaries);
	g_test_add_func(P "cut", test_cut);
	g_test_add_func(P "protection", test_protection);
	g_test_add_func(P "put-fails", test_put_fails);
	g_test_add_func(P "sizes", test_sizes);
	g_test_add_func(P "too-large", test_too_large);
	g_test_add_func(P "n-mappings", test_n_mappings);
	g_test_add_func(P "reader", test_reader);
	return g_test_run();
}
