/* SPDX-License-Identifier: BSD-3-Clause */
/* The machine's address map: what is where, what is refused and why; --window options. */
#include "machine/layout.h"

#include <gio/gio.h>
#include <string.h>

#define MIB UINT64_C(0x100000)
#define GIB UINT64_C(0x40000000)

static const MachineDeviceTraits devices[] = {
	{ "dev0", false }, { "dev1", true }, { "dev2", false }, { "dev3", false }
};

static MachineWindowSpec spec_of(const char *text)
{
	g_autoptr(GError) error = NULL;
	MachineWindowSpec spec;

	machine_window_spec_parse(text, devices, G_N_ELEMENTS(devices), &spec, &error);
	g_assert_no_error(error);
	return spec;
}

static void compute(const MachineTopology *topology, uint64_t ram_len, MachineLayout *ret)
{
	g_autoptr(GError) error = NULL;

	machine_layout_compute(topology, ram_len, 2, 46, ret, &error);
	g_assert_no_error(error);
}

/* ---- the map ---- */

typedef struct Range {
	uint64_t at, len;
	const char *what;
} Range;

static void add(GArray *ranges, const char *what, uint64_t at, uint64_t len)
{
	Range range = { at, len, what };

	if (len)
		g_array_append_val(ranges, range);
}

/* Nothing overlaps anything, and all is below the end. */
static void assert_disjoint(const MachineLayout *layout)
{
	g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(Range));

	add(ranges, "low RAM", 0, layout->ram_low_len);
	add(ranges, "high RAM", MACHINE_RAM_HIGH, layout->ram_high_len);
	add(ranges, "ECAM", layout->ecam, layout->ecam_len);
	add(ranges, "IOAPIC", MACHINE_IOAPIC, 4096);
	add(ranges, "LAPIC", MACHINE_LAPIC, 4096);
	add(ranges, "KVM", MACHINE_IDENTITY_MAP, MACHINE_KVM_OWN_LEN);
	for (unsigned i = 0; i < layout->n_bridges; i++) {
		const MachineBridge *bridge = &layout->bridges[i];

		add(ranges, "mem32", bridge->mem32, bridge->mem32_len);
		add(ranges, "mem64", bridge->mem64, bridge->mem64_len);
		if (bridge->is_cxl)
			add(ranges, "CHBCR", bridge->chbcr, MACHINE_CHBCR_LEN);
	}
	for (unsigned i = 0; i < layout->n_windows; i++)
		add(ranges, "window", layout->windows[i].hpa, layout->windows[i].len);
	for (guint i = 0; i < ranges->len; i++) {
		const Range *a = &g_array_index(ranges, Range, i);

		g_assert_cmpuint(a->at + a->len, <=, UINT64_C(1) << layout->phys_bits);
		for (guint j = 0; j < i; j++) {
			const Range *b = &g_array_index(ranges, Range, j);

			if (a->at < b->at + b->len && b->at < a->at + a->len)
				g_error("%s overlaps %s", a->what, b->what);
		}
	}
}

static void test_default(void)
{
	const MachineTopology topology = { .devices = devices, .n_devices = 4 };
	MachineLayout layout;

	compute(&topology, 2 * GIB, &layout);
	assert_disjoint(&layout);
	g_assert_cmpuint(layout.ram_low_len, ==, 2 * GIB);
	g_assert_cmpuint(layout.ram_high_len, ==, 0);
	g_assert_cmpuint(layout.acpi + layout.acpi_len, ==, 2 * GIB);
	g_assert_cmpuint(layout.n_bridges, ==, 5);
	g_assert_cmpuint(layout.bridges[0].uid, ==, 0);
	g_assert_false(layout.bridges[0].is_cxl);
	g_assert_cmpuint(layout.n_windows, ==, 4);
	for (unsigned i = 0; i < 4; i++) {
		const FabricWindow *window = &layout.windows[i];

		g_assert_cmpuint(layout.plugs[i].uid, ==, i + 1);
		g_assert_cmpuint(layout.plugs[i].port, ==, 0);
		g_assert_cmpuint(window->len, ==, 16 * GIB);
		g_assert_cmpuint(window->ways, ==, 1);
		g_assert_cmpuint(window->targets[0], ==, i + 1);
		g_assert_cmphex(window->restrictions, ==, i == 1 ? 0xe : 0x6);
		g_assert_true(machine_layout_bridge(&layout, i + 1)->is_cxl);
	}
	g_assert_null(machine_layout_bridge(&layout, 5));
}

static void test_high_ram(void)
{
	const MachineTopology topology = { .n_devices = 0 };
	MachineLayout layout;

	compute(&topology, 8 * GIB, &layout);
	assert_disjoint(&layout);
	g_assert_cmpuint(layout.ram_low_len, ==, 3 * GIB);
	g_assert_cmpuint(layout.ram_high_len, ==, 5 * GIB);
	g_assert_cmpuint(layout.n_windows, ==, 0);
}

/* Ports under one bridge, and bridges under one window. */
static void test_interleave(void)
{
	const MachineWindowSpec specs[] = { spec_of("dev3,dev0=1G"), spec_of("dev1/dev2@4096=2G") };
	const MachineTopology topology = {
		.devices = devices,
		.n_devices = 4,
		.windows = specs,
		.n_windows = 2,
	};
	MachineLayout layout;

	compute(&topology, GIB, &layout);
	assert_disjoint(&layout);
	g_assert_cmpuint(layout.n_bridges, ==, 4);
	g_assert_cmpuint(layout.n_windows, ==, 2);
	g_assert_cmpuint(layout.bridges[1].n_ports, ==, 2);
	g_assert_cmpuint(layout.plugs[3].port, ==, 0);
	g_assert_cmpuint(layout.plugs[0].port, ==, 1);
	g_assert_cmpuint(layout.plugs[0].uid, ==, layout.plugs[3].uid);
	g_assert_cmpuint(layout.windows[0].ways, ==, 1);
	g_assert_cmpuint(layout.windows[0].len, ==, GIB);
	g_assert_cmpuint(layout.windows[1].ways, ==, 2);
	g_assert_cmpuint(layout.windows[1].granularity, ==, 4096);
	g_assert_cmpuint(layout.windows[1].targets[0], ==, layout.plugs[1].uid);
	g_assert_cmpuint(layout.windows[1].targets[1], ==, layout.plugs[2].uid);
	g_assert_cmphex(layout.windows[1].restrictions, ==, 0xe);
	g_assert_cmphex(layout.windows[0].restrictions, ==, 0x6);
}

/* As many bridges as there can be. */
static void test_full(void)
{
	MachineDeviceTraits many[MACHINE_MAX_BRIDGES];
	MachineTopology topology = {
		.devices = many,
		.n_devices = MACHINE_MAX_BRIDGES - 1,
		.default_window_len = 256 * MIB,
	};
	g_autoptr(GError) error = NULL;
	MachineLayout layout;

	for (unsigned i = 0; i < G_N_ELEMENTS(many); i++)
		many[i] = (MachineDeviceTraits){ .name = "dev" };
	compute(&topology, GIB, &layout);
	assert_disjoint(&layout);
	g_assert_cmpuint(layout.bridges[MACHINE_MAX_BRIDGES - 1].bus_last, ==, 255);
	topology.n_devices++;
	g_assert_false(machine_layout_compute(&topology, GIB, 1, 46, &layout, &error));
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
}

/* ---- refusals ---- */

static void test_refused(void)
{
	const MachineWindowSpec odd = spec_of("dev0/dev1=256M"), twice = spec_of("dev0,dev0"),
				five = { .n_bridges = 5 }, coarse = spec_of("dev0/dev1@32K"),
				huge = spec_of("dev0=65536G"), again = spec_of("dev0");
	const MachineWindowSpec both[] = { again, again };
	const struct {
		uint64_t ram_len;
		unsigned n_cpus, phys_bits;
		const MachineWindowSpec *windows;
		unsigned n_windows;
		const char *names; /* what the error must name */
	} cases[] = {
		{ GIB + 4096, 1, 46, NULL, 0, "2 MiB" }, { 32 * MIB, 1, 46, NULL, 0, "64 MiB" },
		{ 300 * GIB, 1, 46, NULL, 0, "fit" },    { GIB, 0, 46, NULL, 0, "255" },
		{ GIB, 256, 46, NULL, 0, "255" },        { GIB, 1, 36, NULL, 0, "36" },
		{ GIB, 1, 46, &odd, 1, "536870912" },    { GIB, 1, 46, &twice, 1, "dev0" },
		{ GIB, 1, 46, both, 2, "dev0" },         { GIB, 1, 46, &five, 1, "5 host bridges" },
		{ GIB, 1, 46, &coarse, 1, "32768" },     { GIB, 1, 46, &huge, 1, "0x400000000000" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		const MachineTopology topology = {
			.devices = devices,
			.n_devices = 2,
			.windows = cases[i].windows,
			.n_windows = cases[i].n_windows,
		};
		MachineLayout layout = { .n_cpus = 77 };
		g_autoptr(GError) error = NULL;

		g_assert_false(machine_layout_compute(&topology, cases[i].ram_len, cases[i].n_cpus,
						      cases[i].phys_bits, &layout, &error));
		g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
		if (!strstr(error->message, cases[i].names))
			g_error("case %u: \"%s\" does not say %s", i, error->message,
				cases[i].names);
		g_assert_cmpuint(layout.n_cpus, ==, 77);
	}
}

/* A CPU of 40 bits that answers nothing in the last 12 GiB. */
static void test_hypertransport(void)
{
	const MachineTopology topology = {
		.devices = devices,
		.n_devices = 1,
		.default_window_len = UINT64_C(0xfd00000000) - MACHINE_WINDOWS,
	};
	MachineTopology larger = topology;
	g_autoptr(GError) error = NULL;
	MachineLayout layout;

	g_assert_true(machine_layout_compute(&topology, GIB, 1, 40, &layout, NULL));
	larger.default_window_len += 256 * MIB;
	g_assert_false(machine_layout_compute(&larger, GIB, 1, 40, &layout, &error));
	g_assert_true(machine_layout_compute(&larger, GIB, 1, 41, &layout, NULL));
}

/* ---- options ---- */

static void test_spec(void)
{
	MachineWindowSpec spec = spec_of("dev0,dev2/dev1@4K=8G");

	g_assert_cmpuint(spec.len, ==, 8 * GIB);
	g_assert_cmpuint(spec.granularity, ==, 4096);
	g_assert_cmpuint(spec.n_bridges, ==, 2);
	g_assert_cmpuint(spec.n_ports[0], ==, 2);
	g_assert_cmpuint(spec.n_ports[1], ==, 1);
	g_assert_cmpuint(spec.devices[0][1], ==, 2);
	g_assert_cmpuint(spec.devices[1][0], ==, 1);
	spec = spec_of("dev3");
	g_assert_cmpuint(spec.len, ==, 0);
	g_assert_cmpuint(spec.granularity, ==, 0);
}

static void test_bad_spec(void)
{
	static const char *const texts[] = {
		"",
		"dev9",
		"dev0,",
		"/dev0",
		"dev0//dev1",
		"dev0=",
		"dev0=0",
		"dev0@0",
		"dev0=x",
		"dev0@=1G",
		"dev0@1T",
		"dev0 ",
		"=1G",
		"dev0@64@64",
		"dev0,dev0,dev0,dev0,dev0,dev0,dev0,dev0,dev0",
		"dev0/dev0/dev0/dev0/dev0/dev0/dev0/dev0/dev0/dev0/dev0/dev0/dev0/dev0/dev0/dev0",
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
		g_autoptr(GError) error = NULL;
		MachineWindowSpec spec = { .len = 5 };

		if (machine_window_spec_parse(texts[i], devices, G_N_ELEMENTS(devices), &spec,
					      &error))
			g_error("\"%s\" is taken", texts[i]);
		g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
		g_assert_cmpuint(spec.len, ==, 5);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/machine/layout/default", test_default);
	g_test_add_func("/machine/layout/high-ram", test_high_ram);
	g_test_add_func("/machine/layout/interleave", test_interleave);
	g_test_add_func("/machine/layout/full", test_full);
	g_test_add_func("/machine/layout/refused", test_refused);
	g_test_add_func("/machine/layout/hypertransport", test_hypertransport);
	g_test_add_func("/machine/layout/spec", test_spec);
	g_test_add_func("/machine/layout/bad-spec", test_bad_spec);
	return g_test_run();
}
