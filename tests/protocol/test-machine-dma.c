/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices of a real daemon beside a virtio device's back end, whose table of memory is small. */
#include "machine_fixture.h"
#include "vhost_trial.h"

#include "machine/vhost_user_wire.h"

#include <string.h>

#define REGION (256 * MIB)

/* The requests that tell a fake daemon of memory, as it names them. */
#define TOLD_ONE   "fake: 37: "
#define TOLD_GONE  "fake: 38: "
#define TOLD_TABLE "fake: 5: "

/* Like virtiofsd, and like passt. */
static const Trial with_slots = { FAKE_SLOTS, .lie = LIE_NONE };
static const Trial with_table = { 0, .lie = LIE_NONE };

typedef struct Bench {
	Serve *serve;
	Witness witness;
	GuestRegion ram;
	VhostBackend *backend;
	FakeMachine *machine;
} Bench;

/* N devices of a DC region each. */
static void bench_init(Bench *bench, const Trial *trial, unsigned n, bool no_dma)
{
	FakeMachineLimits limits = {
		.ops = &vhost_backend_listener_ops,
		.ram = &bench->ram,
		.no_dma = no_dma,
	};

	bench->serve = serve_new();
	serve_start(bench->serve, NULL);
	witness_init(&bench->witness);
	bench->ram = region_make(0);
	bench->ram.gpa = 0;
	bench->backend = trial_spawn_good(trial, &bench->witness);
	limits.opaque = bench->backend;
	limits.max_regions = vhost_backend_max_regions(bench->backend);
	for (unsigned i = 0; i < n; i++)
		serve_do(bench->serve, "device-add",
			 "'id': 'dev%u', 'hold': 'off', 'dc-regions': [{'size': 268435456}]", i);
	bench->machine = fake_machine_new_with(bench->serve, n, NULL, 0, &limits);
	fake_machine_boot(bench->machine);
	for (unsigned i = 0; i < n; i++) {
		FakeDevice *device = &bench->machine->devices[i];
		const CxlDcRegionInfo *region = cxl_memdev_dc_region(device->memdev, 0);

		fake_machine_program(bench->machine, &device->memdev, 1, region->dpa, REGION, 0);
		fake_device_serve(device);
	}
}

static void bench_clear(Bench *bench)
{
	g_assert_true(vhost_backend_is_alive(bench->backend));
	g_assert_cmpuint(bench->witness.n_broken, ==, 0);
	fake_machine_free(bench->machine);
	vhost_backend_free(bench->backend);
	serve_free(bench->serve);
	region_end(&bench->ram);
	witness_clear(&bench->witness);
}

/* An offer to device I of N extents that lie apart. */
static char *offer_of(unsigned i, unsigned n)
{
	GString *text = g_string_new(NULL);

	g_string_printf(text,
			"'path': 'dev%u', 'host-id': 0, 'region': 0, "
			"'selection-policy': 'prescriptive', 'extents': [",
			i);
	for (unsigned e = 0; e < n; e++)
		g_string_append_printf(text, "%s{'offset': %" G_GUINT64_FORMAT ", 'len': 2097152}",
				       e == 0 ? "" : ", ", e * 4 * MIB);
	return g_string_free(g_string_append_c(text, ']'), FALSE);
}

static void expect_accepted(Bench *bench, unsigned i, unsigned n)
{
	g_autofree char *offer = offer_of(i, n);

	serve_do(bench->serve, "cxl-add-dynamic-capacity", "%s", offer);
	fake_device_poll(&bench->machine->devices[i], &bench->machine->devices[i].n_mapped, 1);
}

/* Refused when it is offered, by the limit that the machine has told: nothing is tried. */
static void expect_refused(Bench *bench, unsigned i, unsigned n, unsigned limit)
{
	g_autofree char *offer = offer_of(i, n);
	g_autofree char *wanted =
		g_strdup_printf("would need %u where the host's limit of mappings is %u", n, limit);
	g_autofree char *error = serve_refused(bench->serve, "cxl-add-dynamic-capacity", "%s",
					       offer);

	if (!strstr(error, wanted))
		g_error("not \"%s\": %s", wanted, error);
}

static void release(Bench *bench, unsigned i, unsigned n)
{
	FakeDevice *device = &bench->machine->devices[i];
	uint64_t dpa = cxl_memdev_dc_region(device->memdev, 0)->dpa;

	for (unsigned e = 0; e < n; e++)
		g_assert_cmpint(cxl_dcd_release_range(device->dcd, dpa + e * 4 * MIB, 2 * MIB), >=,
				0);
}

/* As many extents as the table has room for beside RAM, and not one more. */
static void test_table(void)
{
	for (unsigned row = 0; row < 2; row++) {
		unsigned n = row == 0 ? FAKE_N_SLOTS - 1 : VHOST_USER_TABLE_MAX - 1;
		Bench bench;

		bench_init(&bench, row == 0 ? &with_slots : &with_table, 1, false);
		expect_refused(&bench, 0, n + 1, n);
		expect_accepted(&bench, 0, n);
		g_assert_cmpuint(guest_memory_n_regions(bench.machine->memory), ==, n);
		witness_count(&bench.witness, row == 0 ? TOLD_ONE : TOLD_TABLE, n + 1);
		release(&bench, 0, n);
		g_assert_cmpuint(guest_memory_n_regions(bench.machine->memory), ==, 0);
		witness_count(&bench.witness, row == 0 ? TOLD_GONE : TOLD_TABLE,
			      row == 0 ? n : 2 * n + 1);
		bench_clear(&bench);
	}
}

/* Devices share it, and do not get in each other's way. */
static void test_two_devices(void)
{
	const unsigned n = (VHOST_USER_TABLE_MAX - 1) / 2;
	Bench bench;

	bench_init(&bench, &with_table, 2, false);
	for (unsigned i = 0; i < 2; i++) {
		expect_refused(&bench, i, n + 1, n);
		expect_accepted(&bench, i, n);
	}
	g_assert_cmpuint(guest_memory_n_regions(bench.machine->memory), ==, 2 * n);
	witness_count(&bench.witness, TOLD_TABLE, 2 * n + 1);
	for (unsigned i = 0; i < 2; i++)
		release(&bench, i, n);
	bench_clear(&bench);
}

/* Kept out of tables, memory is not limited by them. */
static void test_no_dma(void)
{
	Bench bench;

	bench_init(&bench, &with_table, 1, true);
	expect_accepted(&bench, 0, 2 * VHOST_USER_TABLE_MAX);
	g_assert_cmpuint(guest_memory_n_regions(bench.machine->memory), ==,
			 2 * VHOST_USER_TABLE_MAX);
	release(&bench, 0, 2 * VHOST_USER_TABLE_MAX);
	witness_count(&bench.witness, TOLD_TABLE, 1);
	bench_clear(&bench);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--fake") == 0)
		return fake_main(argc, argv);
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/machine-dma/table", test_table);
	g_test_add_func("/protocol/machine-dma/two-devices", test_two_devices);
	g_test_add_func("/protocol/machine-dma/no-dma", test_no_dma);
	return g_test_run();
}
