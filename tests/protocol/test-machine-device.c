/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices of a real daemon at the ports of a machine: all of it but CPUs and KVM. */
#include "../unit/processes.h"
#include "machine_fixture.h"

#include "cxl/pci.h"

#include <signal.h>
#include <string.h>

#define REGION  (256 * MIB)
#define GRANULE UINT32_C(16384) /* the one that takes the fewest mappings */
#define WORD_A  UINT64_C(0x0123456789abcdef)
#define WORD_B  UINT64_C(0xfedcba9876543210)

static void add_device(Serve *serve, unsigned i, const char *more)
{
	serve_do(serve, "device-add", "'id': 'dev%u', 'hold': 'off', %s", i, more);
}

static uint64_t region_dpa(FakeDevice *device)
{
	return cxl_memdev_dc_region(device->memdev, 0)->dpa;
}

static uint64_t n_unmapped(FakeMachine *machine, bool of_writes)
{
	FabricStats stats;

	pci_host_stats(machine->pci, &stats);
	return of_writes ? stats.n_unmapped_writes : stats.n_unmapped_reads;
}

/* Until the pool knows of as many. */
static void wait_misses(Serve *serve, uint64_t reads, uint64_t writes)
{
	gint64 end = g_get_monotonic_time() + WAIT_US;

	for (;;) {
		g_autoptr(JsonObject) device = serve_first(serve, "query-devices", "'id': 'dev0'");
		JsonObject *host = json_object_get_object_member(device, "host");

		if ((uint64_t)json_object_get_int_member(host, "missed-reads") == reads &&
		    (uint64_t)json_object_get_int_member(host, "missed-writes") == writes)
			return;
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		g_usleep(10000);
	}
}

static guint n_decoders(Serve *serve)
{
	g_autoptr(JsonObject) device = serve_first(serve, "query-devices", "'id': 'dev0'");

	return json_array_get_length(json_object_get_array_member(device, "decoders"));
}

/* A machine with dev0: 256 MiB of RAM and a DC region, both decoded, events answered. */
static FakeMachine *start_one(Serve *serve)
{
	FakeMachine *machine;
	FakeDevice *device;

	serve_start(serve, NULL);
	add_device(serve, 0, "'ram': 268435456, 'dc-regions': [{'size': 268435456}]");
	machine = fake_machine_new(serve, 1, NULL, 0);
	device = &machine->devices[0];
	fake_machine_boot(machine);
	fake_machine_program(machine, &device->memdev, 1, 0, REGION, 0);
	fake_machine_wait_there(machine, machine->layout.windows[0].hpa);
	fake_machine_program(machine, &device->memdev, 1, region_dpa(device), REGION, 0);
	fake_device_serve(device);
	return machine;
}

/* ---- configuration space ---- */

static void test_config(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(FakeMachine) machine = start_one(serve);
	FakeDevice *device = &machine->devices[0];
	uint32_t bdf = device->bdf, port = (uint32_t)machine->layout.bridges[1].bus_first << 8;
	uint32_t bar, before;

	g_assert_cmphex(fake_machine_config(machine, bdf, PCI_CFG_REVISION, 4) >> 8, ==,
			PCI_CLASS_CXL_MEMDEV);
	g_assert_cmphex(fake_machine_config(machine, port, PCI_CFG_REVISION, 4) >> 8, ==,
			PCI_CLASS_BRIDGE);
	g_assert_cmphex(fake_machine_config(machine, bdf, PCI_CFG_INT_PIN, 1), ==, 0);
	g_assert_cmphex(fake_machine_config(machine, bdf, PCI_CFG0_ROM, 4), ==, 0);
	/* Nobody there: beside the port, beside the device, on a bus of no bridge, on bus 0. */
	g_assert_cmphex(fake_machine_config(machine, port + (1 << 3), 0, 4), ==, UINT32_MAX);
	g_assert_cmphex(fake_machine_config(machine, bdf + 1, 0, 4), ==, UINT32_MAX);
	g_assert_cmphex(fake_machine_config(machine, 0xff00, 0, 4), ==, UINT32_MAX);
	g_assert_cmphex(fake_machine_config(machine, 0, 0, 2), ==, 0xffff);
	/* The mailbox payload is memory, what rings doorbells is not. */
	bar = fake_machine_config(machine, bdf, PCI_CFG_BAR(0), 4) & ~PCI_BAR_FLAGS;
	g_assert_false(fake_machine_is_memory(machine, bar));
	before = vm_fake_n_slots(machine->vm);
	g_assert_cmpuint(before, ==, 2); /* payload and RAM */
	machine_bus_access(machine->bus, MACHINE_BUS_MMIO,
			   machine->layout.ecam + ((uint64_t)bdf << 12 | PCI_CFG_COMMAND),
			   &(uint16_t){ PCI_CMD_MASTER }, 2, true);
	g_assert_cmpuint(vm_fake_n_slots(machine->vm), ==, before - 1);
	g_assert_cmphex(fake_machine_word(machine, bar), ==, UINT64_MAX);
	machine_bus_access(machine->bus, MACHINE_BUS_MMIO,
			   machine->layout.ecam + ((uint64_t)bdf << 12 | PCI_CFG_COMMAND),
			   &(uint16_t){ PCI_CMD_MASTER | PCI_CMD_MEM }, 2, true);
	g_assert_cmpuint(vm_fake_n_slots(machine->vm), ==, before);
	g_assert_cmphex(fake_machine_word(machine, bar + 0x1000) & 0xffff, ==, 1);
}

/* ---- memory ---- */

static void test_extents(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(FakeMachine) machine = start_one(serve);
	FakeDevice *device = &machine->devices[0];
	uint64_t ram = machine->layout.windows[0].hpa, dc = ram + REGION, reads, writes;
	VmFakeSlot slot;

	/* Static memory is there from the moment the decoders are. */
	g_assert_true(vm_fake_find(machine->vm, ram, &slot));
	g_assert_cmpuint(slot.len, ==, REGION);
	g_assert_cmpuint((uintptr_t)slot.hva % BLOCK, ==, 0);
	fake_machine_set_word(machine, ram + 8, WORD_A);
	g_assert_cmphex(fake_machine_word(machine, ram + 8), ==, WORD_A);

	/* Nothing is accepted yet; outside decoders; the last of the window. */
	reads = n_unmapped(machine, false);
	writes = n_unmapped(machine, true);
	g_assert_cmphex(fake_machine_word(machine, dc), ==, UINT64_MAX);
	fake_machine_set_word(machine, dc, WORD_A);
	g_assert_cmphex(fake_machine_word(machine, dc + REGION), ==, UINT64_MAX);
	g_assert_cmphex(fake_machine_word(machine, ram + machine->layout.windows[0].len - 8), ==,
			UINT64_MAX);
	g_assert_cmpuint(n_unmapped(machine, false), ==, reads + 3);
	g_assert_cmpuint(n_unmapped(machine, true), ==, writes + 1);
	wait_misses(serve, reads + 3, writes + 1);

	serve_add_backend(serve, "kv", TAG_A, 8 * MIB);
	for (unsigned i = 0; i < 5; i++) {
		fake_device_take(device, serve, "kv", TAG_A);
		g_assert_cmphex(device->hpa, ==, dc);
		g_assert_true(vm_fake_find(machine->vm, dc, &slot));
		g_assert_cmpuint(slot.gpa, ==, dc);
		g_assert_cmpuint(slot.len, ==, 8 * MIB);
		g_assert_cmpuint((uintptr_t)slot.hva % BLOCK, ==, 0);
		g_assert_cmphex(fake_machine_word(machine, dc), ==, 0); /* of nobody before */
		fake_machine_set_word(machine, dc, WORD_B);
		g_assert_cmphex(fake_machine_word(machine, dc), ==, WORD_B);
		fake_device_give(device, serve, "kv", TAG_A);
		g_assert_false(fake_machine_is_memory(machine, dc));
		g_assert_cmphex(fake_machine_word(machine, dc), ==, UINT64_MAX);
		serve_wait_backend(serve, "kv", "free");
	}
	g_assert_cmpuint(guest_memory_n_regions(machine->memory), ==, 1);
	g_assert_cmphex(fake_machine_word(machine, ram + 8), ==, WORD_A);
}

static void test_partial_release(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(FakeMachine) machine = start_one(serve);
	FakeDevice *device = &machine->devices[0];
	uint64_t dc = machine->layout.windows[0].hpa + REGION, dpa = region_dpa(device);

	serve_add_backend(serve, "kv", TAG_A, 8 * MIB);
	fake_device_take(device, serve, "kv", TAG_A);
	for (unsigned i = 0; i < 4; i++)
		fake_machine_set_word(machine, dc + i * BLOCK, WORD_A + i);
	g_assert_cmpint(cxl_dcd_release_range(device->dcd, dpa + BLOCK, BLOCK), >=, 0);
	g_assert_cmpuint(guest_memory_n_regions(machine->memory), ==, 3);
	for (unsigned i = 0; i < 4; i++) {
		g_assert_true(fake_machine_is_memory(machine, dc + i * BLOCK) == (i != 1));
		g_assert_cmphex(fake_machine_word(machine, dc + i * BLOCK), ==,
				i == 1 ? UINT64_MAX : WORD_A + i);
	}
	g_assert_cmpint(cxl_dcd_release_range(device->dcd, dpa, 8 * MIB), >=, 0);
	g_assert_cmpuint(guest_memory_n_regions(machine->memory), ==, 1);
	serve_wait_backend(serve, "kv", "free");
}

/* What cannot be mapped is refused when it is offered, with the host's limit as the reason. */
static void test_limits(void)
{
	const FakeMachineLimits limits = { .max_maps = 10 };
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(FakeMachine) machine = NULL;
	g_autofree char *error = NULL;
	FakeDevice *device;

	serve_start(serve, NULL);
	add_device(serve, 0, "'dc-regions': [{'size': 268435456}]");
	serve_add_backend(serve, "kv", TAG_A, 8 * MIB);
	/* Of 10 slots half are for other things. */
	machine = fake_machine_new_with(serve, 1, NULL, 0, &limits);
	device = &machine->devices[0];
	fake_machine_boot(machine);
	fake_machine_program(machine, &device->memdev, 1, region_dpa(device), REGION, 0);
	fake_device_serve(device);
	error = serve_refused(
		serve, "cxl-add-dynamic-capacity",
		"'path': 'dev0', 'host-id': 0, 'region': 0, 'selection-policy': 'prescriptive', "
		"'extents': [{'offset': 0, 'len': 2097152}, {'offset': 4194304, 'len': 2097152}, "
		"{'offset': 8388608, 'len': 2097152}, {'offset': 12582912, 'len': 2097152}, "
		"{'offset': 16777216, 'len': 2097152}, {'offset': 20971520, 'len': 2097152}]");
	g_test_message("%s", error);
	fake_device_take(device, serve, "kv", TAG_A);
}

/* ---- going away ---- */

#define N_RESTARTS 4

static void test_restart(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(FakeMachine) machine = start_one(serve);
	FakeDevice *device = &machine->devices[0];
	uint64_t ram = machine->layout.windows[0].hpa, dc = ram + REGION;
	uint64_t regs = fake_machine_config(machine, device->bdf, PCI_CFG_BAR(0), 4) &
			~PCI_BAR_FLAGS;

	serve_add_backend(serve, "kv", TAG_A, 4 * MIB);
	serve_add_backend(serve, "more", TAG_B, 2 * MIB);
	fake_device_take(device, serve, "kv", TAG_A);
	fake_machine_set_word(machine, ram, WORD_A);
	fake_machine_set_word(machine, dc, WORD_B);
	for (unsigned i = 0; i < N_RESTARTS; i++) {
		serve_kill(serve);
		fake_machine_wait_said(machine, "commands fail until", i + 1);
		/* Registers are gone, memory is not. */
		g_assert_cmphex(fake_machine_config(machine, device->bdf, 0, 4), ==, UINT32_MAX);
		g_assert_cmphex(fake_machine_word(machine, regs + 0x1000), ==, UINT64_MAX);
		g_assert_true(fake_machine_is_memory(machine, dc));
		g_assert_cmphex(fake_machine_word(machine, ram), ==, WORD_A);
		g_assert_cmphex(fake_machine_word(machine, dc), ==, WORD_B);
		serve_start(serve, NULL);
		fake_machine_wait_said(machine, "back after", i + 1);
		g_assert_cmphex(fake_machine_word(machine, dc), ==, WORD_B);
		g_assert_cmphex(fake_machine_word(machine, ram), ==, WORD_A);
		serve_wait_backend(serve, "more", "free");
		/* Nothing of the driver's was touched: interrupts and mailbox work as before. */
		fake_device_take(device, serve, "more", TAG_B);
		fake_device_give(device, serve, "more", TAG_B);
		serve_wait_backend(serve, "more", "free");
	}
	fake_device_give(device, serve, "kv", TAG_A);
	g_assert_false(fake_machine_is_memory(machine, dc));
	serve_wait_backend(serve, "kv", "free");
}

typedef struct Reader {
	FakeMachine *machine;
	uint32_t value;
} Reader;

static gpointer read_vendor(gpointer opaque)
{
	Reader *reader = opaque;

	reader->value = fake_machine_config(reader->machine, reader->machine->devices[0].bdf, 0, 2);
	return NULL;
}

/* A daemon that does not answer is waited for, longer than it would take to connect to it. */
static void test_stands_still(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(FakeMachine) machine = start_one(serve);
	FakeDevice *device = &machine->devices[0];
	uint64_t ram = machine->layout.windows[0].hpa;
	Reader reader = { .machine = machine };
	GThread *thread;

	serve_add_backend(serve, "kv", TAG_A, 4 * MIB);
	fake_machine_set_word(machine, ram, WORD_A);
	stop_process(serve->pid);
	thread = g_thread_new("reader", read_vendor, &reader);
	g_usleep(6 * G_USEC_PER_SEC);
	g_assert_cmphex(fake_machine_word(machine, ram), ==, WORD_A);
	kill(serve->pid, SIGCONT);
	g_thread_join(thread);
	g_assert_cmphex(reader.value, ==, PCI_VENDOR_CXL);
	g_assert_cmphex(fake_machine_word(machine, ram), ==, WORD_A);
	fake_device_take(device, serve, "kv", TAG_A);
	fake_device_give(device, serve, "kv", TAG_A);
	serve_wait_backend(serve, "kv", "free");
}

/* Nor can it keep a machine from ending, in the middle of an access. */
static void test_abort(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(FakeMachine) machine = start_one(serve);
	uint64_t ram = machine->layout.windows[0].hpa;
	Reader reader = { .machine = machine };
	GThread *thread;

	fake_machine_set_word(machine, ram, WORD_A);
	stop_process(serve->pid);
	thread = g_thread_new("reader", read_vendor, &reader);
	pci_host_abort(machine->pci);
	g_thread_join(thread);
	g_assert_cmphex(reader.value, ==, UINT16_MAX);
	g_assert_cmphex(fake_machine_word(machine, ram), ==, WORD_A);
	kill(serve->pid, SIGCONT);
}

/*
 * A reboot: to the devices a conventional reset. Memory and what was accepted is kept, decoders are
 * not, also when the pool, too, was started anew meanwhile.
 */
static void test_boot_again(gconstpointer pool_restarts)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(FakeMachine) machine = start_one(serve);
	FakeDevice *device = &machine->devices[0];
	uint64_t ram = machine->layout.windows[0].hpa, dc = ram + REGION;

	serve_add_backend(serve, "kv", TAG_A, 4 * MIB);
	fake_device_take(device, serve, "kv", TAG_A);
	fake_machine_set_word(machine, ram + 64, WORD_A);
	fake_machine_set_word(machine, dc, WORD_B);
	if (pool_restarts)
		serve_kill(serve);
	fake_machine_stop(machine);
	if (pool_restarts)
		serve_start(serve, NULL);
	fake_machine_start(machine);
	g_assert_cmpuint(n_decoders(serve), ==, 0);
	g_assert_cmphex(fake_machine_word(machine, ram + 64), ==, UINT64_MAX);
	g_assert_cmphex(fake_machine_word(machine, dc), ==, UINT64_MAX);
	fake_machine_boot(machine);
	fake_machine_program(machine, &device->memdev, 1, 0, REGION, 0);
	fake_machine_program(machine, &device->memdev, 1, region_dpa(device), REGION, 0);
	fake_machine_wait_there(machine, ram + 8);
	fake_machine_wait_there(machine, dc + 8);
	g_assert_cmphex(fake_machine_word(machine, ram + 64), ==, WORD_A);
	g_assert_cmphex(fake_machine_word(machine, dc), ==, WORD_B);
	fake_device_serve(device);
	g_assert_cmpuint(device->n_mapped, ==, 1); /* recovered */
	fake_device_give(device, serve, "kv", TAG_A);
	serve_wait_backend(serve, "kv", "free");
}

/* A device has one host, and who comes too late is told so. */
static void test_second_machine(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(FakeMachine) machine = start_one(serve);
	g_autofree char *vfio = g_strdup_printf("%s/dev0.vfio", serve->runtime);
	g_autofree char *mem = g_strdup_printf("%s/dev0.mem", serve->runtime);
	const MachineDevice device = { .name = "dev0", .vfio_path = vfio, .mem_path = mem };
	g_autoptr(MachineBus) bus = machine_bus_new();
	const PciHostConfig config = {
		.vm = machine->vm,
		.bus = bus,
		.memory = machine->memory,
		.layout = &machine->layout,
	};
	g_autoptr(GError) error = NULL;
	PciHost *second = pci_host_new(&config, &error);

	g_assert_no_error(error);
	g_assert_false(pci_host_attach(second, 0, &device, &error));
	g_assert_nonnull(strstr(error->message, "dev0"));
	g_assert_nonnull(strstr(error->message, "another host"));
	pci_host_free(second);
}

/* Who comes after a machine is not it, and finds nothing of it in static RAM. */
static void test_other_machine(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(FakeMachine) machine = start_one(serve);
	FakeDevice *device = &machine->devices[0];
	uint64_t ram = machine->layout.windows[0].hpa;

	fake_machine_set_word(machine, ram + 64, WORD_A);
	fake_machine_stop(machine);
	uuid_random(&machine->session);
	fake_machine_start(machine);
	fake_machine_boot(machine);
	fake_machine_program(machine, &device->memdev, 1, 0, REGION, 0);
	fake_machine_wait_there(machine, ram + 8);
	g_assert_cmphex(fake_machine_word(machine, ram + 64), ==, 0);
}

/* ---- interleaving ---- */

static uint8_t byte_of(uint64_t offset)
{
	return (uint8_t)(offset * 7 + (offset >> 8) * 13 + (offset >> 12));
}

/* Each device has the granules that are its own, as it shows when it is alone. */
static void check_shares(FakeMachine *machine, CxlRegion *region, const uint8_t *out,
			 uint32_t granularity)
{
	CxlRegionInfo info = *cxl_region_info(region);
	g_autofree uint8_t *in = g_malloc(MIB / 2);

	fake_machine_unprogram(machine, region);
	g_assert_cmphex(fake_machine_word(machine, info.hpa), ==, UINT64_MAX);
	for (unsigned pos = 0; pos < 2; pos++) {
		/* A window across bridges cannot be decoded by one alone. */
		if (machine->layout.windows[0].ways > 1)
			break;
		region = fake_machine_program(machine, &info.memdevs[pos], 1, 0, REGION, 0);
		fake_machine_load(machine, cxl_region_info(region)->hpa + REGION - MIB / 2, in,
				  MIB / 2);
		for (uint64_t i = 0; i < MIB / 2; i++) {
			uint64_t granule = i / granularity * 2 + pos;

			g_assert_cmphex(in[i], ==, out[granule * granularity + i % granularity]);
		}
		fake_machine_unprogram(machine, region);
	}
}

static void wait_memory(FakeMachine *machine, uint64_t hpa)
{
	gint64 end = g_get_monotonic_time() + WAIT_US;

	while (!fake_machine_is_memory(machine, hpa)) {
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		g_usleep(1000);
	}
}

/*
 * Granules that are whole pages become memory, if the system lets a process have as many mappings;
 * what was written the slow way is in it.
 */
static void check_direct(FakeMachine *machine, uint64_t hpa, const uint8_t *out,
			 uint32_t granularity)
{
	g_autofree uint8_t *in = g_malloc(MIB);
	uint64_t value;

	if (granularity < 4096) {
		g_assert_false(fake_machine_is_memory(machine, hpa));
		return;
	}
	if (2 * REGION / granularity > guest_memory_set_aside(machine->memory)) {
		fake_machine_wait_said(machine, "are slow", 1);
		g_assert_false(fake_machine_is_memory(machine, hpa));
		return;
	}
	wait_memory(machine, hpa);
	g_assert_true(fake_machine_is_memory(machine, hpa + 2 * REGION - 1));
	fake_machine_load(machine, hpa + 2 * REGION - MIB, in, MIB);
	g_assert_cmpmem(in, MIB, out, MIB);
	fake_machine_set_word(machine, hpa + granularity, WORD_A);
	machine_bus_access(machine->bus, MACHINE_BUS_MMIO, hpa + granularity, &value, 8, false);
	g_assert_cmphex(value, ==, WORD_A);
}

static FakeMachine *start_two(Serve *serve, const MachineWindowSpec *spec)
{
	FakeMachine *machine;

	serve_start(serve, NULL);
	for (unsigned i = 0; i < 2; i++)
		add_device(serve, i, "'ram': 268435456");
	machine = fake_machine_new(serve, 2, spec, 1);
	fake_machine_boot(machine);
	return machine;
}

static CxlRegion *interleave(FakeMachine *machine, uint32_t granularity)
{
	CxlMemdev *memdevs[] = { machine->devices[0].memdev, machine->devices[1].memdev };
	CxlRegion *region = fake_machine_program(machine, memdevs, 2, 0, REGION, granularity);

	for (unsigned i = 0; i < 2; i++)
		fake_machine_wait_there(machine, cxl_region_info(region)->hpa + i * granularity);
	return region;
}

/* Odd lengths over many granules, every byte of which must be where it belongs. */
static void check_interleaved(const MachineWindowSpec *spec, uint32_t granularity)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(FakeMachine) machine = start_two(serve, spec);
	g_autofree uint8_t *out = g_malloc(MIB), *in = g_malloc(MIB);
	CxlRegion *region = interleave(machine, granularity);
	uint64_t hpa = cxl_region_info(region)->hpa, n_missed;

	g_assert_cmpuint(cxl_region_info(region)->granularity, ==, granularity);
	g_assert_cmpuint(cxl_region_info(region)->ways, ==, 2);
	n_missed = n_unmapped(machine, false) + n_unmapped(machine, true);
	for (uint64_t i = 0; i < MIB; i++)
		out[i] = byte_of(i);
	for (uint64_t at = 0, len = 1; at < MIB; at += len, len = MIN(len * 3 + 1, MIB - at))
		fake_machine_store(machine, hpa + 2 * REGION - MIB + at, out + at, len);
	for (uint64_t at = 0, len = 5; at < MIB; at += len, len = MIN(len * 2 + 1, MIB - at))
		fake_machine_load(machine, hpa + 2 * REGION - MIB + at, in + at, len);
	g_assert_cmpmem(in, MIB, out, MIB);
	check_direct(machine, hpa, out, granularity);
	g_assert_cmpuint(n_unmapped(machine, false) + n_unmapped(machine, true), ==, n_missed);
	check_shares(machine, region, out, granularity);
}

static void test_interleave_ports(void)
{
	MachineWindowSpec spec = { .n_bridges = 1, .n_ports = { 2 }, .devices = { { 0, 1 } } };

	check_interleaved(&spec, 256);
	check_interleaved(&spec, 4096);
	check_interleaved(&spec, 16384);
}

static void test_interleave_bridges(void)
{
	MachineWindowSpec spec = { .n_bridges = 2,
				   .n_ports = { 1, 1 },
				   .devices = { { 1 }, { 0 } } };

	check_interleaved(&spec, 256);
	spec.granularity = 4096;
	check_interleaved(&spec, 4096);
}

/* It outlives the pool and ends with the region; a machine that ends takes all of it away. */
static void test_interleave_ends(void)
{
	const MachineWindowSpec spec = { .n_bridges = 1,
					 .n_ports = { 2 },
					 .devices = { { 1, 0 } } };
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(FakeMachine) machine = start_two(serve, &spec);
	CxlRegion *region;
	uint64_t hpa;

	if (2 * REGION / GRANULE > guest_memory_set_aside(machine->memory)) {
		g_test_skip("vm.max_map_count is below the kernel's default");
		return;
	}
	region = interleave(machine, GRANULE);
	hpa = cxl_region_info(region)->hpa;
	wait_memory(machine, hpa);
	fake_machine_set_word(machine, hpa, WORD_A);
	fake_machine_set_word(machine, hpa + GRANULE, WORD_B);
	serve_kill(serve);
	fake_machine_wait_said(machine, "commands fail until", 2);
	g_assert_true(fake_machine_is_memory(machine, hpa));
	serve_start(serve, NULL);
	fake_machine_wait_said(machine, "back after", 2);
	g_assert_true(fake_machine_is_memory(machine, hpa));
	g_assert_cmphex(fake_machine_word(machine, hpa), ==, WORD_A);
	g_assert_cmphex(fake_machine_word(machine, hpa + GRANULE), ==, WORD_B);
	fake_machine_unprogram(machine, region);
	g_assert_false(fake_machine_is_memory(machine, hpa));
	g_assert_cmphex(fake_machine_word(machine, hpa), ==, UINT64_MAX);
	g_assert_cmphex(fake_machine_word(machine, hpa + GRANULE), ==, UINT64_MAX);
	region = interleave(machine, GRANULE);
	wait_memory(machine, hpa);
	fake_machine_set_word(machine, hpa + 8 * GRANULE, WORD_A);
	g_assert_cmphex(fake_machine_word(machine, hpa + 8 * GRANULE), ==, WORD_A);
	fake_machine_stop(machine);
	fake_machine_start(machine);
	g_assert_false(fake_machine_is_memory(machine, hpa));
	g_assert_cmphex(fake_machine_word(machine, hpa + 8 * GRANULE), ==, UINT64_MAX);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/machine-device/config", test_config);
	g_test_add_func("/protocol/machine-device/extents", test_extents);
	g_test_add_func("/protocol/machine-device/partial-release", test_partial_release);
	g_test_add_func("/protocol/machine-device/limits", test_limits);
	g_test_add_func("/protocol/machine-device/restart", test_restart);
	g_test_add_func("/protocol/machine-device/stands-still", test_stands_still);
	g_test_add_func("/protocol/machine-device/abort", test_abort);
	g_test_add_data_func("/protocol/machine-device/boot-again", NULL, test_boot_again);
	g_test_add_data_func("/protocol/machine-device/boot-again-with-pool", "", test_boot_again);
	g_test_add_func("/protocol/machine-device/second-machine", test_second_machine);
	g_test_add_func("/protocol/machine-device/other-machine", test_other_machine);
	g_test_add_func("/protocol/machine-device/interleave-ports", test_interleave_ports);
	g_test_add_func("/protocol/machine-device/interleave-bridges", test_interleave_bridges);
	g_test_add_func("/protocol/machine-device/interleave-ends", test_interleave_ends);
	return g_test_run();
}
