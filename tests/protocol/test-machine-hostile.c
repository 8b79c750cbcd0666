/* SPDX-License-Identifier: BSD-3-Clause */
/* A guest that writes anything anywhere, from several CPUs, and one that takes and gives for long.
 */
#include "machine_fixture.h"

#include "../unit/processes.h"
#include "cxl/component.h"
#include "cxl/pci.h"

#include <string.h>

#define REGION     (256 * MIB)
#define N_CPUS     3u
#define N_ACCESSES 4000u
#define N_ROUNDS   3u
#define N_CYCLES   150u
#define HDM        0x1200u /* host bridge decoders */

static void start(Serve *serve)
{
	serve_start(serve, NULL);
	for (unsigned i = 0; i < 2; i++)
		serve_do(serve, "device-add",
			 "'id': 'dev%u', 'hold': 'off', 'ram': 268435456, "
			 "'dc-regions': [{'size': 268435456}]",
			 i);
}

/* ---- anything anywhere ---- */

typedef struct Cpu {
	FakeMachine *machine;
	GRand *rand;
} Cpu;

static uint64_t below(Cpu *cpu, uint64_t n)
{
	uint64_t value = (uint64_t)g_rand_int(cpu->rand) << 32 | g_rand_int(cpu->rand);

	return value % n;
}

static uint64_t pick_function(Cpu *cpu)
{
	const MachineLayout *layout = &cpu->machine->layout;
	const MachineBridge *bridge = &layout->bridges[below(cpu, layout->n_bridges)];
	uint64_t bus = bridge->bus_first + below(cpu, 4), devfn = below(cpu, 2) << 3;

	return layout->ecam + (bus << 20 | devfn << 12);
}

static uint64_t pick_bar(Cpu *cpu)
{
	FakeDevice *device = &cpu->machine->devices[below(cpu, cpu->machine->n_devices)];
	uint32_t low = fake_machine_config(cpu->machine, device->bdf,
					   PCI_CFG_BAR(2 * below(cpu, 2)), 4);

	return (low & ~PCI_BAR_FLAGS) + below(cpu, 0x40000);
}

static uint64_t pick_address(Cpu *cpu)
{
	const MachineLayout *layout = &cpu->machine->layout;
	const FabricWindow *window = &layout->windows[below(cpu, layout->n_windows)];
	uint64_t bridge = 1 + below(cpu, layout->n_bridges - 1);

	switch (below(cpu, 8)) {
	case 0: /* header and first capabilities: BARs, command, bus numbers, MSI-X */
		return pick_function(cpu) + below(cpu, 0xa0);
	case 1:
		return pick_function(cpu) + below(cpu, PCI_CONFIG_LEN);
	case 2:
		return layout->ecam + below(cpu, layout->ecam_len);
	case 3:
		return layout->bridges[bridge].chbcr + HDM + below(cpu, 0x100);
	case 4:
		return layout->bridges[bridge].chbcr + below(cpu, MACHINE_CHBCR_LEN);
	case 5:
		return window->hpa + below(cpu, window->len);
	case 6:
		return MACHINE_MEM32 + below(cpu, MACHINE_MEM32_LEN);
	default:
		return pick_bar(cpu);
	}
}

static uint64_t pick_value(Cpu *cpu)
{
	const MachineLayout *layout = &cpu->machine->layout;

	switch (below(cpu, 6)) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return UINT64_C(1) << below(cpu, 64);
	case 3: /* where memory and BARs could be */
		return layout->windows[0].hpa + below(cpu, 64) * REGION;
	case 4:
		return MACHINE_MEM32 + below(cpu, 0x200) * MIB;
	default:
		return below(cpu, UINT64_MAX);
	}
}

static gpointer run_cpu(gpointer opaque)
{
	Cpu *cpu = opaque;

	for (unsigned i = 0; i < N_ACCESSES; i++) {
		uint64_t address = pick_address(cpu), value = pick_value(cpu);
		uint64_t len = UINT64_C(1) << below(cpu, 4);

		if (below(cpu, 8))
			address &= ~(len - 1);
		vm_fake_access(cpu->machine->vm, cpu->machine->bus, address, &value, len,
			       below(cpu, 3) > 0);
	}
	return NULL;
}

static void run_cpus(FakeMachine *machine)
{
	GThread *threads[N_CPUS];
	Cpu cpus[N_CPUS];

	for (unsigned i = 0; i < N_CPUS; i++) {
		cpus[i] = (Cpu){ machine, g_rand_new_with_seed((guint32)g_test_rand_int()) };
		threads[i] = g_thread_new("cpu", run_cpu, &cpus[i]);
	}
	for (unsigned i = 0; i < N_CPUS; i++) {
		g_thread_join(threads[i]);
		g_rand_free(cpus[i].rand);
	}
}

/* Booted again it is a machine like any other; nothing of a guest's doing reaches beyond. */
static void test_anything(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(FakeMachine) machine = NULL;

	start(serve);
	machine = fake_machine_new(serve, 2, NULL, 0);
	for (unsigned round = 0; round < N_ROUNDS; round++) {
		FakeDevice *device = &machine->devices[round % 2];
		CxlRegion *region;
		uint64_t hpa;

		fake_machine_boot(machine);
		region = fake_machine_program(machine, &device->memdev, 1, 0, REGION, 0);
		hpa = cxl_region_info(region)->hpa;
		fake_machine_set_word(machine, hpa + 16, round);
		run_cpus(machine);
		fake_machine_stop(machine);
		fake_machine_start(machine);
		json_node_unref(serve_call(serve, "query-devices", NULL));
	}
	fake_machine_boot(machine);
	for (unsigned i = 0; i < 2; i++) {
		FakeDevice *device = &machine->devices[i];

		fake_machine_program(machine, &device->memdev, 1, 0, REGION, 0);
		fake_device_serve(device);
	}
}

/* ---- for long ---- */

static void cycle(Serve *serve, FakeDevice *device, unsigned i)
{
	fake_device_take(device, serve, "kv", TAG_A);
	g_assert_cmphex(fake_machine_word(device->machine, device->hpa), ==, 0);
	fake_machine_set_word(device->machine, device->hpa, i + 1);
	fake_device_give(device, serve, "kv", TAG_A);
	serve_wait_backend(serve, "kv", "free");
}

/* No slot, descriptor or mapping is left behind, and never anything of the last tenant's. */
static void test_cycles(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(FakeMachine) machine = NULL;
	unsigned n_fds = 0, n_mappings = 0, n_slots = 0;
	FakeDevice *device;

	start(serve);
	serve_add_backend(serve, "kv", TAG_A, 4 * MIB);
	machine = fake_machine_new(serve, 2, NULL, 0);
	device = &machine->devices[0];
	fake_machine_boot(machine);
	fake_machine_program(machine, &device->memdev, 1,
			     cxl_memdev_dc_region(device->memdev, 0)->dpa, REGION, 0);
	fake_device_serve(device);
	for (unsigned i = 0; i < N_CYCLES; i++) {
		cycle(serve, device, i);
		if (i > 4)
			continue;
		n_fds = count_fds();
		n_mappings = count_mappings();
		n_slots = vm_fake_n_slots(machine->vm);
	}
	g_assert_cmpuint(count_fds(), ==, n_fds);
	g_assert_cmpuint(vm_fake_n_slots(machine->vm), ==, n_slots);
	/* The allocator may have taken some. */
	g_assert_cmpuint(count_mappings(), <, n_mappings + N_CYCLES / 2);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/machine-hostile/anything", test_anything);
	g_test_add_func("/protocol/machine-hostile/cycles", test_cycles);
	return g_test_run();
}
