/* SPDX-License-Identifier: BSD-3-Clause */
/* The agent's reading of ACPI's CEDT: what it takes, what it skips, what it refuses. */
#include "agent/cedt.h"
#include "cxl/endian.h"

#include <glib.h>
#include <string.h>

#define GIB (UINT64_C(1) << 30)

/* ---- tables made here ---- */

static void put(GByteArray *table, uint64_t value, unsigned len)
{
	uint8_t bytes[8];

	le64_store(bytes, value);
	g_byte_array_append(table, bytes, len);
}

static GByteArray *table_new(void)
{
	GByteArray *table = g_byte_array_new();

	g_byte_array_append(table, (const uint8_t *)"CEDT", 4);
	for (unsigned i = 4; i < 36; i++)
		put(table, 0, 1);
	return table;
}

static void add_bridge(GByteArray *table, uint32_t uid, uint32_t version, uint64_t base,
		       uint64_t len)
{
	put(table, 0, 2);
	put(table, 32, 2);
	put(table, uid, 4);
	put(table, version, 4);
	put(table, 0, 4);
	put(table, base, 8);
	put(table, len, 8);
}

typedef struct Window {
	uint64_t base, len;
	uint8_t ways_code, arithmetic;
	uint32_t granularity_code;
	unsigned n_targets;
} Window;

static void add_window(GByteArray *table, const Window *window)
{
	put(table, 1, 2);
	put(table, 36 + 4 * window->n_targets, 2);
	put(table, 0, 4);
	put(table, window->base, 8);
	put(table, window->len, 8);
	put(table, window->ways_code, 1);
	put(table, window->arithmetic, 1);
	put(table, 0, 2);
	put(table, window->granularity_code, 4);
	put(table, 0x0006, 2);
	put(table, 0, 2);
	for (unsigned i = 0; i < window->n_targets; i++)
		put(table, 7 + i, 4);
}

/* Length and checksum of what has been added so far */
static void seal(GByteArray *table)
{
	uint8_t sum = 0;

	le32_store(table->data + 4, table->len);
	table->data[9] = 0;
	for (guint i = 0; i < table->len; i++)
		sum = (uint8_t)(sum + table->data[i]);
	table->data[9] = (uint8_t)-sum;
}

/* Parses a copy without a byte to spare behind it, so that a sanitizer sees what is read too far.
 */
static const char *parse(GByteArray *table, Cedt *ret_cedt)
{
	g_autofree uint8_t *copy = g_memdup2(table->data, table->len);

	return cedt_parse(copy, table->len, ret_cedt);
}

static const char *parse_sealed(GByteArray *table, Cedt *ret_cedt)
{
	seal(table);
	return parse(table, ret_cedt);
}

/* ---- tests ---- */

static void test_plain(void)
{
	g_autoptr(GByteArray) table = table_new();
	Cedt cedt;

	add_bridge(table, 7, 1, 0x100000000, 0x10000);
	add_bridge(table, 8, 1, 0x100010000, 0x10000);
	add_bridge(table, 9, 0, 0xfed00000, 0x2000); /* CXL 1.1 */
	add_window(table, &(Window){ 16 * GIB, 4 * GIB, .n_targets = 1 });
	add_window(table, &(Window){ 32 * GIB, 8 * GIB, 1, 0, 2, 2 });
	add_window(table, &(Window){ 64 * GIB, 8 * GIB, 1, 1, 0, 2 }); /* XOR */
	add_window(table, &(Window){ 96 * GIB, 8 * GIB, 0, 1, 99, 1 });
	put(table, 2, 2); /* an entry of a type to come */
	put(table, 8, 2);
	put(table, 0, 4);
	g_assert_cmpstr(parse_sealed(table, &cedt), ==, NULL);
	g_assert_cmpuint(cedt.n_bridges, ==, 2);
	g_assert_cmpuint(cedt.bridges[1].uid, ==, 8);
	g_assert_cmphex(cedt.bridges[1].chbcr, ==, 0x100010000);
	g_assert_cmpuint(cedt.n_windows, ==, 3);
	g_assert_cmphex(cedt.windows[0].hpa, ==, 16 * GIB);
	g_assert_cmphex(cedt.windows[0].restrictions, ==, 6);
	g_assert_cmpuint(cedt.windows[1].ways, ==, 2);
	g_assert_cmpuint(cedt.windows[1].granularity, ==, 1024);
	g_assert_cmpuint(cedt.windows[1].targets[1], ==, 8);
	g_assert_cmpuint(cedt.windows[2].ways, ==, 1);
	g_assert_cmpuint(cedt.n_skipped, ==, 3);
}

static const struct {
	const char *name, *fault;
	Window window;
} bad_windows[] = {
	{ "code-5", "number of ways", { 0, GIB, 5, 0, 0, 1 } },
	{ "code-255", "number of ways", { 0, GIB, 255, 0, 0, 1 } },
	{ "few-targets", "fewer targets", { 0, GIB, 2, 0, 0, 3 } },
	{ "no-target", "fewer targets", { 0, GIB, 0, 0, 0, 0 } },
	{ "unaligned", "256 MiB", { 4096, GIB, 0, 0, 0, 1 } },
	{ "odd", "256 MiB", { 0, GIB + 4096, 0, 0, 0, 1 } },
	{ "empty", "256 MiB", { 0, 0, 0, 0, 0, 1 } },
	{ "wraps", "256 MiB", { UINT64_MAX - (GIB / 4) + 1, GIB, 0, 0, 0, 1 } },
	{ "granularity", "granularity", { 0, GIB, 1, 0, 7, 2 } },
	{ "granularity-256", "granularity", { 0, GIB, 1, 0, 256, 2 } },
	{ "overlap", "overlap", { 16 * GIB + GIB / 4, GIB / 4, 0, 0, 0, 1 } },
};

static void test_bad_window(gconstpointer data)
{
	const Window *window = data;
	const char *fault = bad_windows[0].fault;
	g_autoptr(GByteArray) table = table_new();
	Cedt cedt = { .n_windows = 77 };

	for (gsize i = 0; i < G_N_ELEMENTS(bad_windows); i++) {
		if (&bad_windows[i].window == window)
			fault = bad_windows[i].fault;
	}
	add_window(table, &(Window){ 16 * GIB, GIB, .n_targets = 1 });
	add_window(table, window);
	g_assert_nonnull(strstr(parse_sealed(table, &cedt), fault));
	g_assert_cmpuint(cedt.n_windows, ==, 77);
}

static void check_bad(GByteArray *table, const char *fault)
{
	Cedt cedt = { .n_bridges = 77 };
	const char *found = parse_sealed(table, &cedt);

	g_assert_nonnull(found);
	g_assert_nonnull(strstr(found, fault));
	g_assert_cmpuint(cedt.n_bridges, ==, 77);
	g_byte_array_unref(table);
}

static void test_bad_bridge(void)
{
	GByteArray *table = table_new();

	add_bridge(table, 7, 1, 0x100001000, 0x10000);
	check_bad(table, "64 KiB");
	table = table_new();
	add_bridge(table, 7, 1, 0x100000000, 0x8000);
	check_bad(table, "64 KiB");
	table = table_new();
	add_bridge(table, 7, 1, UINT64_MAX - 0xffff, 0x10000);
	check_bad(table, "64 KiB");
	table = table_new();
	add_bridge(table, 7, 1, 0x100000000, 0x10000);
	add_bridge(table, 7, 1, 0x100010000, 0x10000);
	check_bad(table, "same UID");
}

static void test_too_many(void)
{
	GByteArray *table = table_new();

	for (unsigned i = 0; i <= CEDT_MAX_BRIDGES; i++)
		add_bridge(table, i, 1, i * UINT64_C(0x10000), 0x10000);
	check_bad(table, "host bridges");
	table = table_new();
	for (unsigned i = 0; i <= CEDT_MAX_WINDOWS; i++)
		add_window(table, &(Window){ i * GIB, GIB, .n_targets = 1 });
	check_bad(table, "windows");
}

static void test_bad_lengths(void)
{
	GByteArray *table = table_new();

	put(table, 0, 2); /* no length at all */
	put(table, 0, 2);
	check_bad(table, "no length");
	table = table_new();
	put(table, 0, 2);
	put(table, 33, 2); /* past the end */
	for (unsigned i = 4; i < 32; i++)
		put(table, 0, 1);
	check_bad(table, "longer than the table");
	table = table_new();
	put(table, 0, 3);
	check_bad(table, "middle of an entry");
	for (unsigned type = 0; type < 2; type++) {
		table = table_new();
		put(table, type, 2);
		put(table, 4, 2);
		check_bad(table, "too short");
	}
}

static void test_bad_header(void)
{
	g_autoptr(GByteArray) table = table_new();
	Cedt cedt;

	seal(table);
	for (guint len = 0; len < table->len; len++)
		g_assert_nonnull(cedt_parse(table->data, len, &cedt));
	g_assert_null(parse(table, &cedt));
	table->data[20] ^= 1;
	g_assert_nonnull(strstr(parse(table, &cedt), "checksum"));
	table->data[20] ^= 1;
	table->data[0] = 'X';
	g_assert_nonnull(strstr(parse(table, &cedt), "begin with CEDT"));
}

/* Nothing that is changed in a sound table can make the parser read outside of it. */
static void test_random(void)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(4711);

	for (unsigned round = 0; round < 20000; round++) {
		g_autoptr(GByteArray) table = table_new();
		Cedt cedt;

		add_bridge(table, 7, 1, 0x100000000, 0x10000);
		add_window(table, &(Window){ 16 * GIB, 4 * GIB, 1, 0, 0, 2 });
		for (unsigned n = 0; n < 4; n++)
			table->data[g_rand_int_range(rand, 36, (gint)table->len)] =
				(uint8_t)g_rand_int(rand);
		g_byte_array_set_size(table,
				      (guint)g_rand_int_range(rand, 36, (gint)table->len + 1));
		if (parse_sealed(table, &cedt))
			continue;
		g_assert_cmpuint(cedt.n_bridges, <=, CEDT_MAX_BRIDGES);
		for (unsigned i = 0; i < cedt.n_windows; i++)
			g_assert_cmpuint(cedt.windows[i].ways, <=, 16);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/agent/cedt/plain", test_plain);
	for (gsize i = 0; i < G_N_ELEMENTS(bad_windows); i++) {
		g_autofree char *path = g_strconcat("/agent/cedt/window/", bad_windows[i].name,
						    NULL);

		g_test_add_data_func(path, &bad_windows[i].window, test_bad_window);
	}
	g_test_add_func("/agent/cedt/bridge", test_bad_bridge);
	g_test_add_func("/agent/cedt/too-many", test_too_many);
	g_test_add_func("/agent/cedt/lengths", test_bad_lengths);
	g_test_add_func("/agent/cedt/header", test_bad_header);
	g_test_add_func("/agent/cedt/random", test_random);
	return g_test_run();
}
