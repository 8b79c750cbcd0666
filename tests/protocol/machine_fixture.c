/* SPDX-License-Identifier: BSD-3-Clause */
/* Firmware and driver of a machine without CPUs. */
#include "machine_fixture.h"

#include "cxl/pci.h"

#include <errno.h>
#include <string.h>

#define RAM_LEN     (64 * MIB)
#define WINDOW_LEN  (4 * GIB)
#define MSI_ADDRESS UINT64_C(0xfee00000)
#define POLL_US     200

/* ---- accesses ---- */

static uint64_t ecam(FakeMachine *machine, uint32_t bdf, uint32_t offset)
{
	return machine->layout.ecam + ((uint64_t)bdf << 12 | offset);
}

static void access_bus(FakeMachine *machine, uint64_t gpa, void *buf, uint32_t len, bool is_write)
{
	machine_bus_access(machine->bus, MACHINE_BUS_MMIO, gpa, buf, len, is_write);
}

uint32_t fake_machine_config(FakeMachine *machine, uint32_t bdf, uint32_t offset, uint32_t len)
{
	uint8_t buf[4] = { 0 };

	access_bus(machine, ecam(machine, bdf, offset), buf, len, false);
	return le32_load(buf);
}

static void set_config(FakeMachine *machine, uint32_t bdf, uint32_t offset, uint32_t len,
		       uint32_t value)
{
	uint8_t buf[4];

	le32_store(buf, value);
	access_bus(machine, ecam(machine, bdf, offset), buf, len, true);
}

void fake_machine_load(FakeMachine *machine, uint64_t gpa, void *buf, uint64_t len)
{
	vm_fake_access(machine->vm, machine->bus, gpa, buf, len, false);
}

void fake_machine_store(FakeMachine *machine, uint64_t gpa, const void *buf, uint64_t len)
{
	vm_fake_access(machine->vm, machine->bus, gpa, (void *)buf, len, true);
}

uint64_t fake_machine_word(FakeMachine *machine, uint64_t gpa)
{
	uint64_t word;

	fake_machine_load(machine, gpa, &word, sizeof(word));
	return word;
}

void fake_machine_set_word(FakeMachine *machine, uint64_t gpa, uint64_t word)
{
	fake_machine_store(machine, gpa, &word, sizeof(word));
}

bool fake_machine_is_memory(FakeMachine *machine, uint64_t gpa)
{
	VmFakeSlot slot;

	return vm_fake_find(machine->vm, gpa, &slot);
}

/* ---- firmware ---- */

/* Places the BARs of a function from *AT on. */
static void place_bars(FakeMachine *machine, uint32_t bdf, unsigned n_bars, uint64_t *at)
{
	for (unsigned i = 0; i < n_bars; i++) {
		uint32_t reg = PCI_CFG_BAR(i), low, len;
		bool is_64;

		set_config(machine, bdf, reg, 4, UINT32_MAX);
		low = fake_machine_config(machine, bdf, reg, 4);
		len = ~(low & ~PCI_BAR_FLAGS) + 1;
		if (low == 0)
			continue;
		is_64 = (low & PCI_BAR_TYPE) == PCI_BAR_MEM_64;
		*at = (*at + len - 1) & ~((uint64_t)len - 1);
		set_config(machine, bdf, reg, 4, (uint32_t)*at);
		if (is_64)
			set_config(machine, bdf, reg + 4, 4, (uint32_t)(*at >> 32));
		*at += len;
		i += is_64;
	}
	set_config(machine, bdf, PCI_CFG_COMMAND, 2, PCI_CMD_MEM | PCI_CMD_MASTER);
}

static uint64_t bar_gpa(FakeMachine *machine, uint32_t bdf, unsigned bar)
{
	uint32_t low = fake_machine_config(machine, bdf, PCI_CFG_BAR(bar), 4);
	uint64_t gpa = low & ~PCI_BAR_FLAGS;

	if ((low & PCI_BAR_TYPE) == PCI_BAR_MEM_64)
		gpa |= (uint64_t)fake_machine_config(machine, bdf, PCI_CFG_BAR(bar + 1), 4) << 32;
	return gpa;
}

static uint32_t message_data(const FakeDevice *device, unsigned vector)
{
	return 0x4000u | device->index << 8 | vector;
}

static void set_msix(FakeDevice *device)
{
	FakeMachine *machine = device->machine;
	uint32_t bdf = device->bdf, cap = fake_machine_config(machine, bdf, PCI_CFG_CAP_PTR, 1);
	uint32_t table;
	uint64_t gpa;

	while (fake_machine_config(machine, bdf, cap, 1) != PCI_CAP_MSIX) {
		cap = fake_machine_config(machine, bdf, cap + 1, 1);
		g_assert_cmpuint(cap, !=, 0);
	}
	device->n_vectors = (fake_machine_config(machine, bdf, cap + PCI_MSIX_CTRL, 2) &
			     PCI_MSIX_CTRL_SIZE) +
			    1;
	table = fake_machine_config(machine, bdf, cap + PCI_MSIX_TABLE_REG, 4);
	gpa = bar_gpa(machine, bdf, table & PCI_MSIX_BIR) + (table & PCI_MSIX_OFFSET);
	set_config(machine, bdf, cap + PCI_MSIX_CTRL, 2,
		   PCI_MSIX_CTRL_ENABLE | PCI_MSIX_CTRL_MASK_ALL);
	for (unsigned i = 0; i < device->n_vectors; i++) {
		fake_machine_set_word(machine, gpa + i * PCI_MSIX_ENTRY_LEN, MSI_ADDRESS);
		fake_machine_set_word(machine, gpa + i * PCI_MSIX_ENTRY_LEN + 8,
				      message_data(device, i));
	}
	set_config(machine, bdf, cap + PCI_MSIX_CTRL, 2, PCI_MSIX_CTRL_ENABLE);
}

static FakeDevice *device_at(FakeMachine *machine, uint32_t uid, unsigned port)
{
	for (unsigned i = 0; i < machine->n_devices; i++) {
		if (machine->layout.plugs[i].uid == uid && machine->layout.plugs[i].port == port)
			return &machine->devices[i];
	}
	return NULL;
}

static void run_firmware(FakeMachine *machine)
{
	for (unsigned i = 1; i < machine->layout.n_bridges; i++) {
		const MachineBridge *bridge = &machine->layout.bridges[i];
		uint64_t at = bridge->mem32;

		for (unsigned port = 0; port < bridge->n_ports; port++) {
			uint32_t bdf = (uint32_t)bridge->bus_first << 8 | port << 3;
			uint32_t bus = bridge->bus_first + 1u + port;
			FakeDevice *device = device_at(machine, bridge->uid, port);

			set_config(machine, bdf, PCI_CFG1_PRIMARY_BUS, 4,
				   bridge->bus_first | bus << 8 | bus << 16);
			place_bars(machine, bdf, PCI_CFG1_N_BARS, &at);
			if (!device)
				continue;
			device->bdf = bus << 8;
			place_bars(machine, device->bdf, PCI_CFG0_N_BARS, &at);
			set_msix(device);
		}
		g_assert_cmpuint(at, <=, bridge->mem32 + bridge->mem32_len);
	}
}

/* ---- the driver's bus ---- */

static int bus_config_read(void *opaque, uint32_t bdf, uint32_t offset, void *buf, uint32_t len)
{
	FakeMachine *machine = opaque;

	access_bus(machine, ecam(machine, bdf, offset), buf, len, false);
	return 0;
}

static int bus_config_write(void *opaque, uint32_t bdf, uint32_t offset, const void *buf,
			    uint32_t len)
{
	FakeMachine *machine = opaque;

	access_bus(machine, ecam(machine, bdf, offset), (void *)buf, len, true);
	return 0;
}

static int bus_bar_read(void *opaque, uint32_t bdf, unsigned bar, uint64_t offset, void *buf,
			uint32_t len)
{
	fake_machine_load(opaque, bar_gpa(opaque, bdf, bar) + offset, buf, len);
	return 0;
}

static int bus_bar_write(void *opaque, uint32_t bdf, unsigned bar, uint64_t offset, const void *buf,
			 uint32_t len)
{
	fake_machine_store(opaque, bar_gpa(opaque, bdf, bar) + offset, buf, len);
	return 0;
}

static uint64_t chbcr(FakeMachine *machine, uint32_t uid)
{
	return machine_layout_bridge(&machine->layout, uid)->chbcr;
}

static int bus_chbcr_read(void *opaque, uint32_t uid, uint32_t offset, void *buf, uint32_t len)
{
	access_bus(opaque, chbcr(opaque, uid) + offset, buf, len, false);
	return 0;
}

static int bus_chbcr_write(void *opaque, uint32_t uid, uint32_t offset, const void *buf,
			   uint32_t len)
{
	access_bus(opaque, chbcr(opaque, uid) + offset, (void *)buf, len, true);
	return 0;
}

static int bus_irq_wait(void *opaque, uint32_t bdf, unsigned timeout_ms)
{
	FakeMachine *machine = opaque;
	gint64 end = g_get_monotonic_time() + timeout_ms * G_TIME_SPAN_MILLISECOND;
	unsigned n = 0;

	for (;;) {
		for (unsigned i = 0; i < machine->n_devices; i++) {
			const FakeDevice *device = &machine->devices[i];

			for (unsigned v = 0; device->bdf == bdf && v < device->n_vectors; v++)
				n += vm_fake_take_irqs(machine->vm, MSI_ADDRESS,
						       message_data(device, v));
		}
		if (n > 0 || g_get_monotonic_time() >= end)
			return n > 0;
		g_usleep(POLL_US);
	}
}

static uint64_t bus_now_us(void *opaque)
{
	return (uint64_t)g_get_monotonic_time();
}

static void bus_sleep_us(void *opaque, uint64_t us)
{
	g_usleep(us);
}

static void bus_log(void *opaque, const char *line)
{
	g_test_message("driver: %s", line);
}

static const CxlBus bus = {
	.config_read = bus_config_read,
	.config_write = bus_config_write,
	.bar_read = bus_bar_read,
	.bar_write = bus_bar_write,
	.chbcr_read = bus_chbcr_read,
	.chbcr_write = bus_chbcr_write,
	.irq_wait = bus_irq_wait,
	.now_us = bus_now_us,
	.sleep_us = bus_sleep_us,
	.log = bus_log,
};

/* ---- life ---- */

static void on_log(void *opaque, const char *line)
{
	FakeMachine *machine = opaque;

	g_test_message("machine: %s", line);
	g_mutex_lock(&machine->lock);
	g_string_append_printf(machine->said, "%s\n", line);
	g_mutex_unlock(&machine->lock);
}

void fake_machine_wait_said(FakeMachine *machine, const char *text, unsigned n)
{
	gint64 end = g_get_monotonic_time() + WAIT_US;
	unsigned found = 0;

	while (found < n) {
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		g_usleep(POLL_US);
		found = 0;
		g_mutex_lock(&machine->lock);
		for (const char *at = machine->said->str; (at = strstr(at, text)); at++)
			found++;
		g_mutex_unlock(&machine->lock);
	}
}

static void compute_layout(FakeMachine *machine, const MachineWindowSpec *windows,
			   unsigned n_windows)
{
	MachineDeviceTraits traits[FAKE_MAX_DEVICES] = { 0 };
	MachineTopology topology = {
		.devices = traits,
		.n_devices = machine->n_devices,
		.windows = windows,
		.n_windows = n_windows,
		.default_window_len = WINDOW_LEN,
	};
	g_autoptr(GError) error = NULL;

	for (unsigned i = 0; i < machine->n_devices; i++)
		traits[i].name = "dev";
	machine_layout_compute(&topology, RAM_LEN, 1, 46, &machine->layout, &error);
	g_assert_no_error(error);
}

static void attach(FakeMachine *machine, unsigned i)
{
	const char *runtime = machine->serve->runtime;
	g_autofree char *name = g_strdup_printf("dev%u", i);
	g_autofree char *vfio = g_strdup_printf("%s/%s.vfio", runtime, name);
	g_autofree char *mem = g_strdup_printf("%s/%s.mem", runtime, name);
	MachineDevice device = { .name = name, .vfio_path = vfio, .mem_path = mem };
	g_autoptr(GError) error = NULL;

	pci_host_attach(machine->pci, i, &device, &error);
	g_assert_no_error(error);
}

static void make_pci(FakeMachine *machine)
{
	const PciHostConfig config = {
		.vm = machine->vm,
		.bus = machine->bus,
		.memory = machine->memory,
		.layout = &machine->layout,
		.session = machine->session,
		.log = on_log,
		.opaque = machine,
	};
	g_autoptr(GError) error = NULL;

	machine->pci = pci_host_new(&config, &error);
	g_assert_no_error(error);
	for (unsigned i = 0; i < machine->n_devices; i++) {
		machine->devices[i] = (FakeDevice){
			.machine = machine,
			.index = i,
		};
		attach(machine, i);
	}
}

static void make_memory(FakeMachine *machine, const FakeMachineLimits *limits)
{
	int rc = 0;

	if (limits->max_maps)
		vm_fake_set_max_maps(machine->vm, limits->max_maps);
	machine->memory = guest_memory_new(machine->vm, !limits->no_dma);
	if (!limits->ops)
		return;
	g_assert_cmpint(guest_memory_add_ram(machine->memory, limits->ram), ==, 0);
	machine->listener = guest_memory_listen(machine->memory, limits->ops, limits->opaque,
						limits->max_regions, &rc);
	g_assert_cmpint(rc, ==, 0);
}

FakeMachine *fake_machine_new_with(Serve *serve, unsigned n_devices,
				   const MachineWindowSpec *windows, unsigned n_windows,
				   const FakeMachineLimits *limits)
{
	FakeMachine *machine = g_new0(FakeMachine, 1);

	machine->serve = serve;
	machine->n_devices = n_devices;
	machine->said = g_string_new("");
	uuid_random(&machine->session);
	g_mutex_init(&machine->lock);
	machine->vm = vm_fake_new();
	machine->bus = machine_bus_new();
	make_memory(machine, limits);
	compute_layout(machine, windows, n_windows);
	make_pci(machine);
	return machine;
}

FakeMachine *fake_machine_new(Serve *serve, unsigned n_devices, const MachineWindowSpec *windows,
			      unsigned n_windows)
{
	const FakeMachineLimits none = { 0 };

	return fake_machine_new_with(serve, n_devices, windows, n_windows, &none);
}

void fake_machine_free(FakeMachine *machine)
{
	cxl_driver_free(machine->driver);
	pci_host_free(machine->pci);
	g_assert_cmpuint(guest_memory_n_regions(machine->memory), ==, 0);
	if (machine->listener)
		guest_memory_unlisten(machine->memory, machine->listener);
	guest_memory_free(machine->memory);
	machine_bus_free(machine->bus);
	kvm_vm_free(machine->vm);
	g_string_free(machine->said, TRUE);
	g_mutex_clear(&machine->lock);
	g_free(machine);
}

/* ---- the operating system ---- */

void fake_machine_boot(FakeMachine *machine)
{
	const MachineLayout *layout = &machine->layout;
	CxlWindow windows[MACHINE_MAX_WINDOWS] = { 0 };
	CxlHostBridge bridges[MACHINE_MAX_BRIDGES] = { 0 };
	CxlPlatform platform = { .windows = windows, .bridges = bridges };

	run_firmware(machine);
	for (unsigned i = 0; i < layout->n_windows; i++) {
		const FabricWindow *window = &layout->windows[i];
		CxlWindow *to = &windows[platform.n_windows++];

		*to = (CxlWindow){
			.hpa = window->hpa,
			.len = window->len,
			.ways = window->ways,
			.granularity = window->granularity,
			.restrictions = window->restrictions,
		};
		memcpy(to->targets, window->targets, sizeof(to->targets));
	}
	for (unsigned i = 1; i < layout->n_bridges; i++)
		bridges[platform.n_bridges++] = (CxlHostBridge){
			.uid = layout->bridges[i].uid,
			.bus_first = layout->bridges[i].bus_first,
			.bus_last = layout->bridges[i].bus_last,
		};
	cxl_driver_free(machine->driver);
	machine->driver = cxl_driver_new(&bus, machine, &platform, NULL);
	g_assert_cmpint(cxl_driver_enumerate(machine->driver), ==, machine->n_devices);
	for (unsigned i = 0; i < machine->n_devices; i++) {
		FakeDevice *device = &machine->devices[i];

		device->dcd = NULL;
		device->memdev = cxl_driver_find_bdf(machine->driver, device->bdf);
		g_assert_nonnull(device->memdev);
		g_assert_cmpstr(cxl_memdev_error(device->memdev), ==, "");
	}
}

void fake_machine_stop(FakeMachine *machine)
{
	cxl_driver_free(g_steal_pointer(&machine->driver));
	pci_host_free(g_steal_pointer(&machine->pci));
	g_assert_cmpuint(vm_fake_n_slots(machine->vm), ==, 0);
}

void fake_machine_start(FakeMachine *machine)
{
	make_pci(machine);
}

CxlRegion *fake_machine_program(FakeMachine *machine, CxlMemdev *const *memdevs, unsigned n,
				uint64_t dpa, uint64_t len, uint32_t granularity)
{
	CxlRegionSpec spec = {
		.memdevs = memdevs,
		.n_memdevs = n,
		.dpa = dpa,
		.len = len,
		.granularity = granularity,
	};
	gint64 end = g_get_monotonic_time() + WAIT_US;
	CxlRegion *region = NULL;
	int rc = -EIO;

	/* A device gives its host 15 ms, which a busy machine may miss. */
	while (rc == -EIO && g_get_monotonic_time() < end)
		rc = cxl_driver_program(machine->driver, &spec, &region);
	g_assert_cmpstr(rc < 0 ? cxl_driver_error(machine->driver) : "", ==, "");
	return region;
}

void fake_machine_unprogram(FakeMachine *machine, CxlRegion *region)
{
	gint64 end = g_get_monotonic_time() + WAIT_US;
	int rc = -ETIMEDOUT;

	while (rc == -ETIMEDOUT && g_get_monotonic_time() < end)
		rc = cxl_driver_unprogram(machine->driver, region);
	g_assert_cmpstr(rc < 0 ? cxl_driver_error(machine->driver) : "", ==, "");
}

void fake_machine_wait_there(FakeMachine *machine, uint64_t gpa)
{
	gint64 end = g_get_monotonic_time() + WAIT_US;
	uint64_t word = 1;

	while (fake_machine_word(machine, gpa) != word) {
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		g_usleep(POLL_US);
		fake_machine_set_word(machine, gpa, word);
	}
	fake_machine_set_word(machine, gpa, 0);
}

static void on_mapped(void *opaque, const CxlDcGroup *group)
{
	FakeDevice *device = opaque;

	device->n_mapped++;
	device->hpa = group->extents[0].hpa;
	device->len = group->extents[0].len;
}

static void on_refused(void *opaque, const CxlDcGroup *group, int rc)
{
	((FakeDevice *)opaque)->n_refused++;
}

static CxlRelease on_release(void *opaque, const CxlDcGroup *group, const CxlDpaRange *ranges,
			     uint32_t n)
{
	((FakeDevice *)opaque)->n_released++;
	return CXL_RELEASE_GROUP;
}

static const CxlDcdOps dcd_ops = {
	.mapped = on_mapped,
	.refused = on_refused,
	.release = on_release,
};

void fake_device_serve(FakeDevice *device)
{
	int rc = cxl_dcd_start(device->memdev, &dcd_ops, device, NULL, &device->dcd);

	g_assert_cmpstr(rc < 0 ? cxl_driver_error(device->machine->driver) : "", ==, "");
}

static void poll_once(FakeDevice *device, gint64 end)
{
	int n = cxl_dcd_poll(device->dcd, 100);

	g_assert_cmpint(g_get_monotonic_time(), <, end);
	g_assert_cmpstr(n < 0 ? cxl_driver_error(device->machine->driver) : "", ==, "");
}

void fake_device_poll(FakeDevice *device, const unsigned *counter, unsigned value)
{
	gint64 end = g_get_monotonic_time() + WAIT_US;

	while (*counter < value)
		poll_once(device, end);
}

void fake_device_take(FakeDevice *device, Serve *serve, const char *name, const char *tag)
{
	unsigned n_mapped = device->n_mapped, n_refused = device->n_refused;
	gint64 end = g_get_monotonic_time() + WAIT_US;

	serve_offer(serve, tag);
	while (device->n_mapped == n_mapped) {
		poll_once(device, end);
		if (device->n_refused == n_refused)
			continue;
		n_refused = device->n_refused;
		/* It has been declined for that. */
		serve_wait_backend(serve, name, "free");
		serve_offer(serve, tag);
	}
}

static bool is_free(Serve *serve, const char *name)
{
	g_autoptr(JsonObject) backend = serve_first(serve, "query-backends", "'id': '%s'", name);

	return g_str_equal(json_object_get_string_member(backend, "state"), "free");
}

void fake_device_give(FakeDevice *device, Serve *serve, const char *name, const char *tag)
{
	unsigned n_released = device->n_released;
	gint64 end = g_get_monotonic_time() + WAIT_US;
	bool has_failed = false;

	serve_ask_back(serve, tag);
	while (device->n_released == n_released || (has_failed && !is_free(serve, name))) {
		has_failed |= cxl_dcd_poll(device->dcd, 100) < 0;
		g_assert_cmpint(g_get_monotonic_time(), <, end);
	}
}
