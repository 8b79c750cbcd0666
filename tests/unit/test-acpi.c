/* SPDX-License-Identifier: BSD-3-Clause */
/* ACPI tables: found from the RSDP, whole, say what the layout says, and please the compiler. */

#include "machine/acpi.h"
#include "machine/acpi_wire.h"

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>

#define GIB     (UINT64_C(1) << 30)
#define AT      UINT64_C(0xbfff0000)
#define AT_LEN  UINT64_C(0x10000)
#define TWO_GIB (2 * GIB)

typedef struct Tables {
	MachineLayout layout;
	GByteArray *bytes;
	const uint8_t *rsdp;
} Tables;

/* Two bridges with a window over both, then one with two ports: the first persistent. */
static void build(Tables *t, uint64_t ram_len, unsigned n_cpus)
{
	static const MachineDeviceTraits devices[] = {
		{ "a", true }, { "b", false }, { "c", false }, { "d", false }
	};
	static const MachineWindowSpec windows[] = {
		{ .granularity = 4096,
		  .n_bridges = 2,
		  .n_ports = { 1, 1 },
		  .devices = { { 0 }, { 1 } } },
		{ .n_bridges = 1, .n_ports = { 2 }, .devices = { { 2, 3 } } },
	};
	const MachineTopology topology = {
		.devices = devices, .n_devices = 4, .windows = windows, .n_windows = 2
	};
	g_autoptr(GError) error = NULL;
	uint64_t rsdp;
	bool ok;

	ok = machine_layout_compute(&topology, ram_len, n_cpus, 46, &t->layout, &error);
	g_assert_no_error(error);
	g_assert_true(ok);
	ok = acpi_tables_build(&t->layout, AT, AT_LEN, &t->bytes, &rsdp, &error);
	g_assert_no_error(error);
	g_assert_true(ok);
	g_assert_cmpuint(rsdp, >=, AT);
	g_assert_cmpuint(rsdp % 16, ==, 0);
	g_assert_cmpuint(rsdp + sizeof(AcpiRsdp), <=, AT + t->bytes->len);
	t->rsdp = t->bytes->data + (rsdp - AT);
}

static void clear(Tables *t)
{
	g_byte_array_unref(t->bytes);
}

static uint8_t sum(const uint8_t *bytes, size_t len)
{
	uint8_t total = 0;

	while (len--)
		total += *bytes++;
	return total;
}

/* The table at a guest address, checked to lie in the block and to sum to zero. */
static const AcpiHeader *table_at(const Tables *t, uint64_t gpa)
{
	const AcpiHeader *table;

	g_assert_cmpuint(gpa, >=, AT);
	g_assert_cmpuint(gpa - AT + sizeof(AcpiHeader), <=, t->bytes->len);
	table = (const AcpiHeader *)(t->bytes->data + (gpa - AT));
	g_assert_cmpuint(gpa - AT + le32_get(table->length), <=, t->bytes->len);
	g_assert_cmpuint(sum((const uint8_t *)table, le32_get(table->length)), ==, 0);
	return table;
}

static const AcpiHeader *xsdt_of(const Tables *t)
{
	return table_at(t, le64_get(((const AcpiRsdp *)t->rsdp)->xsdt));
}

static unsigned n_listed(const AcpiHeader *xsdt)
{
	return (le32_get(xsdt->length) - (unsigned)sizeof(*xsdt)) / 8;
}

static const AcpiHeader *listed(const Tables *t, unsigned i)
{
	return table_at(t, le64_load((const uint8_t *)(xsdt_of(t) + 1) + 8 * i));
}

static const void *find(const Tables *t, const char *signature)
{
	for (unsigned i = 0; i < n_listed(xsdt_of(t)); i++) {
		if (memcmp(listed(t, i)->signature, signature, 4) == 0)
			return listed(t, i);
	}
	g_error("no table %s", signature);
}

static const AcpiHeader *dsdt_of(const Tables *t)
{
	return table_at(t, le64_get(((const AcpiFadt *)find(t, "FACP"))->x_dsdt));
}

static void test_found(void)
{
	Tables t;
	const AcpiFadt *fadt;

	build(&t, TWO_GIB, 2);
	g_assert_cmpmem(t.rsdp, 8, "RSD PTR ", 8);
	g_assert_cmpuint(sum(t.rsdp, ACPI_RSDP_V1_LEN), ==, 0);
	g_assert_cmpuint(sum(t.rsdp, sizeof(AcpiRsdp)), ==, 0);
	g_assert_cmpmem(xsdt_of(&t)->signature, 4, "XSDT", 4);
	g_assert_cmpuint(n_listed(xsdt_of(&t)), ==, 6);
	fadt = find(&t, "FACP");
	g_assert_cmpuint(le32_get(fadt->header.length), ==, 276);
	g_assert_cmpuint(le32_get(fadt->flags) & ACPI_FADT_HW_REDUCED, !=, 0);
	g_assert_cmpuint(le64_get(fadt->reset.address), ==, MACHINE_PORT_RESET);
	g_assert_cmpuint(le32_get(fadt->dsdt), ==, le64_get(fadt->x_dsdt));
	g_assert_cmpmem(dsdt_of(&t)->signature, 4, "DSDT", 4);
	clear(&t);
}

/* The structures behind a table's LEN bytes; type and length where SRAT, MADT and CEDT have them.
 */
typedef struct Walk {
	const uint8_t *next, *end;
	bool has_long_length;
} Walk;

static Walk walk(const void *table, size_t len, bool has_long_length)
{
	const uint8_t *bytes = table;
	const AcpiHeader *header = table;

	return (Walk){ bytes + len, bytes + le32_get(header->length), has_long_length };
}

static const uint8_t *step(Walk *w)
{
	const uint8_t *here = w->next;
	size_t len;

	if (here == w->end)
		return NULL;
	len = w->has_long_length ? le16_load(here + 2) : here[1];
	g_assert_cmpuint(len, >=, 8);
	g_assert_cmpuint(len, <=, (size_t)(w->end - here));
	w->next = here + len;
	return here;
}

static void test_cpus(void)
{
	Tables t;
	Walk w;
	const uint8_t *it;
	unsigned n_cpus = 0, n_ioapics = 0;

	build(&t, TWO_GIB, MACHINE_MAX_CPUS);
	w = walk(find(&t, "APIC"), sizeof(AcpiMadt), false);
	while ((it = step(&w))) {
		if (it[0] == 0) {
			g_assert_cmpuint(it[3], ==, n_cpus);
			g_assert_cmpuint(it[4] & ACPI_ENABLED, !=, 0);
		}
		n_cpus += it[0] == 0;
		n_ioapics += it[0] == 1;
	}
	g_assert_cmpuint(n_cpus, ==, MACHINE_MAX_CPUS);
	g_assert_cmpuint(n_ioapics, ==, 1);
	clear(&t);
}

/* SRAT covers all RAM and has a generic port for each CXL bridge, in a domain of its own. */
static void check_srat(uint64_t ram_len)
{
	Tables t;
	Walk w;
	const uint8_t *it;
	uint64_t total = 0;
	unsigned n_ports = 0;

	build(&t, ram_len, 2);
	w = walk(find(&t, "SRAT"), sizeof(AcpiSrat), false);
	while ((it = step(&w))) {
		const AcpiSratMemory *memory = (const void *)it;
		const AcpiSratPort *port = (const void *)it;

		if (it[0] == 1) {
			g_assert_cmpuint(le64_get(memory->base), ==, total ? MACHINE_RAM_HIGH : 0);
			total += le64_get(memory->len);
		} else if (it[0] == 6) {
			n_ports++;
			g_assert_cmpuint(le32_get(port->uid), ==, n_ports);
			g_assert_cmpmem(port->hid, 8, "ACPI0016", 8);
			g_assert_cmpuint(le32_get(port->domain), ==, 0x100 + n_ports);
		}
	}
	g_assert_cmpuint(total, ==, ram_len);
	g_assert_cmpuint(n_ports, ==, 3);
	clear(&t);
}

static void test_srat(void)
{
	check_srat(TWO_GIB);
	check_srat(5 * GIB);
}

static void test_hmat(void)
{
	Tables t;
	const uint8_t *table, *it, *end;
	unsigned n_matrices = 0;

	build(&t, TWO_GIB, 1);
	table = find(&t, "HMAT");
	end = table + le32_load(table + 4);
	for (it = table + sizeof(AcpiHmat); it < end; it += le32_load(it + 4)) {
		const AcpiHmatLocality *locality = (const void *)it;

		g_assert_cmpuint(le32_load(it + 4), >=, 8);
		if (le16_load(it) != 1)
			continue;
		n_matrices++;
		g_assert_cmpuint(le32_get(locality->n_targets), ==, 4);
		g_assert_cmpuint(le32_get(locality->length), ==, 32 + 4 + 4 * 4 + 4 * 2);
	}
	g_assert_true(it == end);
	g_assert_cmpuint(n_matrices, ==, 2);
	clear(&t);
}

static void test_cedt(void)
{
	Tables t;
	Walk w;
	const uint8_t *it;
	unsigned n_bridges = 0, n_windows = 0;

	build(&t, TWO_GIB, 2);
	w = walk(find(&t, "CEDT"), sizeof(AcpiHeader), true);
	while ((it = step(&w))) {
		const AcpiCedtBridge *bridge = (const void *)it;
		const AcpiCedtWindow *window = (const void *)it;
		const FabricWindow *want = &t.layout.windows[n_windows];

		if (it[0] == 0) {
			const MachineBridge *has = machine_layout_bridge(&t.layout,
									 le32_get(bridge->uid));

			g_assert_cmpuint(le64_get(bridge->base), ==, has->chbcr);
			g_assert_cmpuint(le64_get(bridge->len), ==, 0x10000);
			n_bridges++;
			continue;
		}
		g_assert_cmpuint(le64_get(window->base), ==, want->hpa);
		g_assert_cmpuint(le64_get(window->len), ==, want->len);
		g_assert_cmpuint(le16_get(window->length), ==, 36 + 4 * want->ways);
		g_assert_cmpuint(le16_get(window->restrictions), ==, n_windows == 0 ? 0xe : 0x6);
		g_assert_cmpuint(window->ways, ==, n_windows == 0 ? 1 : 0);
		g_assert_cmpuint(le32_get(window->granularity), ==, n_windows == 0 ? 4 : 0);
		g_assert_cmpuint(le32_load(it + 36), ==, want->targets[0]);
		n_windows++;
	}
	g_assert_cmpuint(n_bridges, ==, 3);
	g_assert_cmpuint(n_windows, ==, 2);
	clear(&t);
}

/* CFMWS' ways are encoded; the compiler of the tables does not know how. */
static void test_ways(void)
{
	static const struct {
		unsigned ways;
		uint8_t code;
	} cases[] = { { 1, 0 }, { 2, 1 }, { 4, 2 }, { 8, 3 }, { 3, 8 }, { 6, 9 }, { 12, 10 } };
	Tables t;

	build(&t, TWO_GIB, 1);
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		Walk w;
		const uint8_t *it;
		uint64_t rsdp;

		t.layout.windows[0].ways = cases[i].ways;
		t.layout.n_windows = 1;
		g_byte_array_unref(t.bytes);
		g_assert_true(acpi_tables_build(&t.layout, AT, AT_LEN, &t.bytes, &rsdp, &error));
		t.rsdp = t.bytes->data + (rsdp - AT);
		w = walk(find(&t, "CEDT"), sizeof(AcpiHeader), true);
		while ((it = step(&w)) && it[0] != 1)
			;
		g_assert_nonnull(it);
		g_assert_cmpuint(((const AcpiCedtWindow *)it)->ways, ==, cases[i].code);
	}
	clear(&t);
}

static void test_too_small(void)
{
	Tables t;
	g_autoptr(GError) error = NULL;
	GByteArray *bytes = NULL;
	uint64_t rsdp = 7;

	build(&t, TWO_GIB, 2);
	g_assert_false(acpi_tables_build(&t.layout, AT, t.bytes->len - 1, &bytes, &rsdp, &error));
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
	g_assert_nonnull(strstr(error->message, "tables take"));
	g_assert_null(bytes);
	g_assert_cmpuint(rsdp, ==, 7);
	clear(&t);
}

/* ---- iasl ---- */

static char *run_iasl(const char *dir, const char *option, const char *file)
{
	/* 2184: our UUIDs are not in its list */
	const char *argv[] = { "iasl", "-vw", "2184", option, file, NULL };
	g_autofree char *out = NULL, *err = NULL;
	g_autoptr(GError) error = NULL;

	g_spawn_sync(dir, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &err, NULL,
		     &error);
	g_assert_no_error(error);
	return g_strconcat(out, err, NULL);
}

/* The 20-byte part of a header that the compiler fills in as it likes. */
static void blank_creator(uint8_t *table)
{
	AcpiHeader *header = (AcpiHeader *)table;

	header->checksum = 0;
	memset(header->creator_id, 0, sizeof(header->creator_id));
	header->creator_revision = le32_put(0);
}

/* Taken apart and put together again, a table is the same bytes, and nobody complains. */
static void check_with_iasl(const char *dir, const AcpiHeader *table)
{
	gsize len = le32_get(table->length), again_len;
	g_autofree char *name = g_strndup(table->signature, 4);
	g_autofree char *dat = g_strconcat(name, ".dat", NULL);
	g_autofree char *dsl = g_strconcat(name, ".dsl", NULL);
	g_autofree char *aml = g_strconcat(name, ".aml", NULL);
	g_autofree char *dat_path = g_build_filename(dir, dat, NULL);
	g_autofree char *dsl_path = g_build_filename(dir, dsl, NULL);
	g_autofree char *aml_path = g_build_filename(dir, aml, NULL);
	g_autofree char *said = NULL, *listing = NULL, *said_again = NULL, *again = NULL;
	g_autofree uint8_t *mine = g_memdup2(table, len);

	g_assert_true(g_file_set_contents(dat_path, (const char *)table, (gssize)len, NULL));
	said = run_iasl(dir, "-d", dat);
	if (!g_file_test(dsl_path, G_FILE_TEST_EXISTS) || strstr(said, "rror"))
		g_error("iasl does not read %s: %s", name, said);
	g_assert_true(g_file_get_contents(dsl_path, &listing, NULL, NULL));
	if (strstr(listing, "Unknown Subtable") || strstr(listing, "Unknown ACPI table")) {
		g_test_message("this iasl is older than parts of %s", name);
		return;
	}
	said_again = run_iasl(dir, "-oa", dsl); /* as it is, not shorter */
	if (!strstr(said_again, " 0 Errors") || !strstr(said_again, " 0 Warnings") ||
	    !strstr(said_again, " 0 Remarks"))
		g_error("iasl does not like %s: %s", name, said_again);
	g_assert_true(g_file_get_contents(aml_path, &again, &again_len, NULL));
	g_assert_cmpuint(again_len, ==, len);
	blank_creator(mine);
	blank_creator((uint8_t *)again);
	g_assert_cmpmem(again, again_len, mine, len);
}

static void remove_tree(const char *dir)
{
	g_autoptr(GDir) list = g_dir_open(dir, 0, NULL);
	const char *name;

	while ((name = g_dir_read_name(list))) {
		g_autofree char *path = g_build_filename(dir, name, NULL);

		g_remove(path);
	}
	g_rmdir(dir);
}

static void test_iasl(void)
{
	g_autofree char *iasl = g_find_program_in_path("iasl");
	g_autofree char *dir = NULL;
	Tables t;

	if (!iasl) {
		g_test_skip("no iasl: apt-get install acpica-tools");
		return;
	}
	dir = g_dir_make_tmp("softdcd-acpi-XXXXXX", NULL);
	build(&t, 5 * GIB, 3);
	check_with_iasl(dir, dsdt_of(&t));
	for (unsigned i = 0; i < n_listed(xsdt_of(&t)); i++)
		check_with_iasl(dir, listed(&t, i));
	clear(&t);
	remove_tree(dir);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/acpi/found", test_found);
	g_test_add_func("/acpi/cpus", test_cpus);
	g_test_add_func("/acpi/srat", test_srat);
	g_test_add_func("/acpi/hmat", test_hmat);
	g_test_add_func("/acpi/cedt", test_cedt);
	g_test_add_func("/acpi/ways", test_ways);
	g_test_add_func("/acpi/too-small", test_too_small);
	g_test_add_func("/acpi/iasl", test_iasl);
	return g_test_run();
}
