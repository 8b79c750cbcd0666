/* SPDX-License-Identifier: BSD-3-Clause */
/* The loader: where a kernel, its initrd and what it is told are put, and files that are no kernel.
 */
#include "machine/loader.h"

#include <gio/gio.h>
#include <string.h>

#define MIB        UINT64_C(0x100000)
#define RAM_LEN    (64 * MIB)
#define LOAD_AT    (16 * MIB)
#define KERNEL_LEN (3 * MIB)
#define SETUP_LEN  (5 * 512)

typedef struct Bench {
	MachineLayout layout;
	uint8_t *low;
	uint8_t *file; /* of a kernel, KERNEL_LEN bytes */
	GByteArray *acpi;
	LoaderImage image;
} Bench;

static void put(uint8_t *at, uint64_t value, unsigned width)
{
	value = GUINT64_TO_LE(value);
	memcpy(at, &value, width);
}

static uint64_t get(const uint8_t *at, unsigned width)
{
	uint64_t value = 0;

	memcpy(&value, at, width);
	return GUINT64_FROM_LE(value);
}

/* As Linux builds them, as far as the loader looks. */
static void make_kernel(uint8_t *file)
{
	for (size_t i = 0; i < KERNEL_LEN; i++)
		file[i] = (uint8_t)(i / 251);
	memset(file, 0, SETUP_LEN);
	file[0x1f1] = SETUP_LEN / 512 - 1;
	put(file + 0x200, 0x6aeb, 2); /* a jump over the header */
	memcpy(file + 0x202, "HdrS", 4);
	put(file + 0x206, 0x020f, 2);
	put(file + 0x236, 0x7f, 2);
	put(file + 0x238, 2047, 4);
	put(file + 0x258, LOAD_AT, 8);
	put(file + 0x260, 20 * MIB, 4);
}

static void set_up(Bench *bench)
{
	const MachineTopology none = { .n_devices = 0 };

	machine_layout_compute(&none, RAM_LEN, 1, 46, &bench->layout, NULL);
	bench->low = g_malloc0(RAM_LEN);
	bench->file = g_malloc(KERNEL_LEN);
	make_kernel(bench->file);
	bench->acpi = g_byte_array_new();
	g_byte_array_append(bench->acpi, (const guint8 *)"tables", 6);
	bench->image = (LoaderImage){
		.cmdline = "console=ttyS0 quiet",
		.acpi = bench->acpi,
		.rsdp = 0x1234560,
	};
}

static void tear_down(Bench *bench)
{
	g_free(bench->low);
	g_free(bench->file);
	g_byte_array_unref(bench->acpi);
}

static bool load(Bench *bench, LoaderEntry *entry, GError **error)
{
	g_autoptr(GBytes) kernel = g_bytes_new(bench->file, KERNEL_LEN);

	bench->image.kernel = kernel;
	return loader_load(&bench->layout, bench->low, &bench->image, entry, error);
}

/* ---- what is where ---- */

static void test_places(void)
{
	g_autoptr(GBytes) initrd = g_bytes_new_take(g_strnfill(10001, 'i'), 10001);
	g_autoptr(GError) error = NULL;
	const uint8_t *params;
	LoaderEntry entry;
	Bench bench;
	uint64_t at;

	set_up(&bench);
	bench.image.initrd = initrd;
	load(&bench, &entry, &error);
	g_assert_no_error(error);
	g_assert_cmphex(entry.rip, ==, LOAD_AT + 0x200);
	params = bench.low + entry.rsi;
	g_assert_cmpint(memcmp(bench.low + LOAD_AT, bench.file + SETUP_LEN, KERNEL_LEN - SETUP_LEN),
			==, 0);
	g_assert_cmphex(get(params + 0x70, 8), ==, 0x1234560);
	g_assert_cmphex(params[0x210], ==, 0xff);
	g_assert_cmpuint(params[0x1ef], ==, 0); /* else Linux clears what is around it */
	g_assert_cmpstr((const char *)bench.low + get(params + 0x228, 4), ==,
			"console=ttyS0 quiet");
	at = get(params + 0x218, 4);
	g_assert_cmpuint(get(params + 0x21c, 4), ==, 10001);
	g_assert_cmpuint(at % 4096, ==, 0);
	g_assert_cmpuint(at + 10001, <=, bench.layout.acpi);
	g_assert_cmpuint(at, >=, LOAD_AT + 20 * MIB);
	g_assert_cmpint(memcmp(bench.low + at, g_bytes_get_data(initrd, NULL), 10001), ==, 0);
	g_assert_cmpint(memcmp(bench.low + bench.layout.acpi, "tables", 6), ==, 0);
	tear_down(&bench);
}

/* All addresses below 4 GiB are mapped to themselves; the segments are flat. */
static void test_entry(void)
{
	LoaderEntry entry;
	uint64_t table;
	Bench bench;

	set_up(&bench);
	g_assert_true(load(&bench, &entry, NULL));
	table = get(bench.low + entry.cr3, 8) & ~UINT64_C(0xfff);
	for (uint64_t gpa = 0; gpa < MACHINE_RAM_HIGH; gpa += 511 * MIB) {
		uint64_t directory = get(bench.low + table + (gpa >> 30) * 8, 8) & ~UINT64_C(0xfff);
		uint64_t page = get(bench.low + directory + (gpa >> 21 & 511) * 8, 8);

		g_assert_cmphex(page, ==, (gpa & ~(2 * MIB - 1)) | 0x83);
	}
	g_assert_cmphex(get(bench.low + entry.gdt + entry.code_selector, 8), ==,
			0x00af9b000000ffff);
	g_assert_cmphex(get(bench.low + entry.gdt + entry.data_selector, 8), ==,
			0x00cf93000000ffff);
	tear_down(&bench);
}

/* The memory map: all RAM but the tables, nothing of windows. */
static void test_e820(void)
{
	uint64_t ram = 0, n, last_end = 0;
	const uint8_t *params;
	LoaderEntry entry;
	Bench bench;

	set_up(&bench);
	g_assert_true(load(&bench, &entry, NULL));
	params = bench.low + entry.rsi;
	n = params[0x1e8];
	for (uint64_t i = 0; i < n; i++) {
		const uint8_t *row = params + 0x2d0 + i * 20;
		uint64_t at = get(row, 8), len = get(row + 8, 8), type = get(row + 16, 4);

		g_assert_cmpuint(at, >=, last_end);
		last_end = at + len;
		if (type == 1)
			ram += len;
		g_assert_false(at < MACHINE_MEM32 + MACHINE_MEM32_LEN && last_end > MACHINE_MEM32);
		g_assert_false(last_end > MACHINE_MEM64);
	}
	/* All but the hole below 1 MiB and the tables. */
	g_assert_cmpuint(ram, ==, RAM_LEN - bench.layout.acpi_len - (0x100000 - 0x9fc00));
	tear_down(&bench);
}

/* ---- refusals ---- */

/* A byte of the header and what the loader says to it. */
static void test_damaged(void)
{
	static const struct {
		unsigned offset, width;
		uint64_t value;
	} cases[] = {
		{ 0x202, 1, 'X' },
		{ 0x206, 2, 0x0200 },
		{ 0x236, 2, 0 },
		{ 0x258, 8, 0 },
		{ 0x258, 8, 4096 },
		{ 0x258, 8, UINT64_MAX - 4095 },
		{ 0x258, 8, LOAD_AT + 1 },
		{ 0x258, 8, 60 * MIB },
		{ 0x260, 4, UINT32_MAX },
		{ 0x258, 8, RAM_LEN },
		{ 0x258, 8, UINT64_C(1) << 40 },
		{ 0x201, 1, 0xff },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		LoaderEntry entry;
		Bench bench;

		set_up(&bench);
		put(bench.file + cases[i].offset, cases[i].value, cases[i].width);
		if (load(&bench, &entry, &error))
			g_error("case %u is loaded", i);
		g_assert_nonnull(error);
		tear_down(&bench);
	}
}

static void test_no_kernel(void)
{
	static const gsize lengths[] = { 0, 1, 0x201, 4095, 0x1000 };

	for (unsigned i = 0; i < G_N_ELEMENTS(lengths); i++) {
		g_autoptr(GBytes) kernel = g_bytes_new_take(g_malloc0(lengths[i]), lengths[i]);
		g_autoptr(GError) error = NULL;
		LoaderEntry entry;
		Bench bench;

		set_up(&bench);
		bench.image.kernel = kernel;
		g_assert_false(loader_load(&bench.layout, bench.low, &bench.image, &entry, &error));
		g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
		tear_down(&bench);
	}
}

/* The real-mode part alone is longer than the file. */
static void test_short_kernel(void)
{
	g_autoptr(GError) error = NULL;
	LoaderEntry entry;
	Bench bench;

	set_up(&bench);
	bench.file[0x1f1] = 255;
	{
		g_autoptr(GBytes) kernel = g_bytes_new(bench.file, 8192);

		bench.image.kernel = kernel;
		g_assert_false(loader_load(&bench.layout, bench.low, &bench.image, &entry, &error));
	}
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
	tear_down(&bench);
}

static void test_too_large(void)
{
	g_autoptr(GBytes) initrd = g_bytes_new_take(g_malloc0(30 * MIB), 30 * MIB);
	g_autofree char *words = g_strnfill(2048, 'w');
	g_autoptr(GError) error = NULL;
	LoaderEntry entry;
	Bench bench;

	set_up(&bench);
	bench.image.initrd = initrd;
	g_assert_false(load(&bench, &entry, &error));
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
	g_clear_error(&error);
	bench.image.initrd = NULL;
	bench.image.cmdline = words;
	g_assert_false(load(&bench, &entry, &error));
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
	g_clear_error(&error);
	bench.image.cmdline = "";
	g_byte_array_set_size(bench.acpi, (guint)bench.layout.acpi_len + 1);
	g_assert_false(load(&bench, &entry, &error));
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
	tear_down(&bench);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/machine/loader/places", test_places);
	g_test_add_func("/machine/loader/entry", test_entry);
	g_test_add_func("/machine/loader/e820", test_e820);
	g_test_add_func("/machine/loader/damaged", test_damaged);
	g_test_add_func("/machine/loader/no-kernel", test_no_kernel);
	g_test_add_func("/machine/loader/short-kernel", test_short_kernel);
	g_test_add_func("/machine/loader/too-large", test_too_large);
	return g_test_run();
}
