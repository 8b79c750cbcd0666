/* SPDX-License-Identifier: BSD-3-Clause */
/* AML byte by byte: lengths of all sizes, integers, names, resources. */

#include "machine/aml.h"

#include <string.h>

static void check(Aml *aml, const void *want, gsize want_len)
{
	g_autoptr(GByteArray) have = aml_finish(aml);

	g_assert_cmpmem(have->data, have->len, want, want_len);
}

#define CHECK(aml, ...)                                        \
	do {                                                   \
		static const uint8_t want[] = { __VA_ARGS__ }; \
		check(aml, want, sizeof(want));                \
	} while (0)

static void test_integers(void)
{
	Aml *aml = aml_new();

	aml_int(aml, 0);
	aml_int(aml, 1);
	aml_int(aml, 2);
	aml_int(aml, 0xff);
	aml_int(aml, 0x100);
	aml_int(aml, 0xffff);
	aml_int(aml, 0x10000);
	aml_int(aml, 0xffffffff);
	aml_int(aml, 0x100000000);
	CHECK(aml, 0x00, 0x01, 0x0a, 2, 0x0a, 0xff, 0x0b, 0, 1, 0x0b, 0xff, 0xff, 0x0c, 0, 0, 1, 0,
	      0x0c, 0xff, 0xff, 0xff, 0xff, 0x0e, 0, 0, 0, 0, 1, 0, 0, 0);
}

static void test_paths(void)
{
	Aml *aml = aml_new();

	aml_path(aml, "CDW1");
	aml_path(aml, "\\_SB_");
	aml_path(aml, "_SB_.HB01");
	aml_path(aml, "\\_SB_.HB01.RP00");
	CHECK(aml, 'C', 'D', 'W', '1', '\\', '_', 'S', 'B', '_', 0x2e, '_', 'S', 'B', '_', 'H', 'B',
	      '0', '1', '\\', 0x2f, 3, '_', 'S', 'B', '_', 'H', 'B', '0', '1', 'R', 'P', '0', '0');
}

static void test_ids(void)
{
	Aml *aml = aml_new();

	aml_eisa_id(aml, "PNP0A08");
	aml_uuid(aml, "33DB4D5B-1FF7-401C-9657-7441C03DD766");
	CHECK(aml, 0x0c, 0x41, 0xd0, 0x0a, 0x08, 0x11, 0x13, 0x0a, 0x10, 0x5b, 0x4d, 0xdb, 0x33,
	      0xf7, 0x1f, 0x1c, 0x40, 0x96, 0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66);
}

/* What LEN bytes in a scope are preceded by: the length with itself and a name of four. */
static void check_length(unsigned len, const uint8_t *want, unsigned want_len)
{
	g_autoptr(GByteArray) bytes = NULL;
	Aml *aml = aml_new();

	aml_scope(aml, "TEST");
	for (unsigned i = 0; i < len; i++)
		aml_int(aml, 0);
	aml_end(aml);
	bytes = aml_finish(aml);
	g_assert_cmpuint(bytes->len, ==, 1 + want_len + 4 + len);
	g_assert_cmpmem(bytes->data + 1, want_len, want, want_len);
	g_assert_cmpmem(bytes->data + 1 + want_len, 4, "TEST", 4);
}

static void test_lengths(void)
{
	/* 63 is the last that one byte holds, then 12, 20 and 28 bits */
	check_length(58, (const uint8_t[]){ 0x3f }, 1);
	check_length(59, (const uint8_t[]){ 0x41, 0x04 }, 2);
	check_length(0xfff - 6, (const uint8_t[]){ 0x4f, 0xff }, 2);
	check_length(0xfff - 5, (const uint8_t[]){ 0x81, 0x00, 0x01 }, 3);
	check_length(0xfffff - 7, (const uint8_t[]){ 0x8f, 0xff, 0xff }, 3);
	check_length(0xfffff - 6, (const uint8_t[]){ 0xc1, 0x00, 0x00, 0x01 }, 4);
}

static void test_nesting(void)
{
	Aml *aml = aml_new();

	aml_device(aml, "DEV0");
	aml_method(aml, "_STA", 2, true);
	aml_if(aml);
	aml_arg(aml, 1);
	aml_op(aml, AML_RETURN);
	aml_int(aml, 15);
	aml_end(aml);
	aml_else(aml);
	aml_end(aml);
	aml_end(aml);
	aml_name(aml, "_CID");
	aml_package(aml, 1);
	aml_string(aml, "A");
	aml_end(aml);
	aml_end(aml);
	CHECK(aml, 0x5b, 0x82, 31, 'D', 'E', 'V', '0', 0x14, 14, '_', 'S', 'T', 'A', 0x0a, 0xa0, 5,
	      0x69, 0xa4, 0x0a, 15, 0xa1, 1, 0x08, '_', 'C', 'I', 'D', 0x12, 5, 1, 0x0d, 'A', 0);
}

static void test_resources(void)
{
	Aml *aml = aml_new();

	aml_resources(aml);
	aml_res_io(aml, 0x3f8, 8);
	aml_res_irq(aml, 4);
	aml_end(aml);
	CHECK(aml, 0x11, 22, 0x0a, 19, 0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8, 0x89, 6, 0, 3, 1, 4, 0, 0,
	      0, 0x79, 0);

	aml = aml_new();
	aml_resources(aml);
	aml_res_buses(aml, 0, 0xff);
	aml_end(aml);
	CHECK(aml, 0x11, 21, 0x0a, 18, 0x88, 13, 0, 2, 0x0c, 0, 0, 0, 0, 0, 0xff, 0, 0, 0, 0, 1,
	      0x79, 0);

	aml = aml_new();
	aml_resources(aml);
	aml_res_window32(aml, 0xc0000000, 0x20000000);
	aml_end(aml);
	CHECK(aml, 0x11, 31, 0x0a, 28, 0x87, 23, 0, 0, 0x0c, 1, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff,
	      0xff, 0xff, 0xdf, 0, 0, 0, 0, 0, 0, 0, 0x20, 0x79, 0);

	aml = aml_new();
	aml_resources(aml);
	aml_res_window64(aml, 0x4000000000, 0x800000000);
	aml_end(aml);
	CHECK(aml, 0x11, 51, 0x0a, 48, 0x8a, 43, 0, 0, 0x0c, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	      0x40, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x47, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	      0, 8, 0, 0, 0, 0x79, 0);
}

/* More than 255 bytes: the buffer's size takes a word. */
static void test_many_resources(void)
{
	g_autoptr(GByteArray) bytes = NULL;
	Aml *aml = aml_new();
	guint len = 16 * 46 + 2;

	aml_resources(aml);
	for (unsigned i = 0; i < 16; i++)
		aml_res_memory(aml, 0xf0000000 + i * 0x10000, 0x10000);
	aml_end(aml);
	bytes = aml_finish(aml);
	g_assert_cmpuint(bytes->len, ==, 1 + 2 + 3 + len);
	g_assert_cmpuint(bytes->data[3], ==, 0x0b);
	g_assert_cmpuint(bytes->data[4] | bytes->data[5] << 8, ==, len);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/aml/integers", test_integers);
	g_test_add_func("/aml/paths", test_paths);
	g_test_add_func("/aml/ids", test_ids);
	g_test_add_func("/aml/lengths", test_lengths);
	g_test_add_func("/aml/nesting", test_nesting);
	g_test_add_func("/aml/resources", test_resources);
	g_test_add_func("/aml/many-resources", test_many_resources);
	return g_test_run();
}
