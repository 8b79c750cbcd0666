/* SPDX-License-Identifier: BSD-3-Clause */
/* The agent over a sysfs of our own: finding, judging, and the driver's bus. */
#include "agent/memory.h"
#include "agent/sys_bus.h"
#include "cxl/component.h"
#include "cxl/pci.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define GIB   (UINT64_C(1) << 30)
#define CHBCR 0x10000u

/* ---- the machine ---- */

typedef struct Machine {
	char *root;
	Platform *platform;
} Machine;

G_GNUC_PRINTF(3, 4)
static void write_file(const Machine *machine, const char *text, const char *format, ...)
{
	g_autofree char *name = NULL;
	g_autofree char *path = NULL;
	g_autofree char *dir = NULL;
	va_list args;

	va_start(args, format);
	name = g_strdup_vprintf(format, args);
	va_end(args);
	path = g_strconcat(machine->root, name, NULL);
	dir = g_path_get_dirname(path);
	g_assert_cmpint(g_mkdir_with_parents(dir, 0700), ==, 0);
	g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void set_len(const Machine *machine, const char *name, off_t len)
{
	g_autofree char *path = g_strconcat(machine->root, name, NULL);

	g_assert_cmpint(truncate(path, len), ==, 0);
}

static void write_link(const Machine *machine, const char *target, const char *name)
{
	g_autofree char *path = g_strconcat(machine->root, name, NULL);
	g_autofree char *dir = g_path_get_dirname(path);

	g_assert_cmpint(g_mkdir_with_parents(dir, 0700), ==, 0);
	g_assert_cmpint(symlink(target, path), ==, 0);
}

static void add_root(const Machine *machine, unsigned bus, const char *hid, const char *uid)
{
	write_file(machine, hid, "/sys/devices/pci0000:%02x/firmware_node/hid", bus);
	if (uid)
		write_file(machine, uid, "/sys/devices/pci0000:%02x/firmware_node/uid", bus);
}

/* DIR is below /sys/devices, its last part the device's address. */
static void add_device(const Machine *machine, const char *dir, const char *class)
{
	const char *name = strrchr(dir, '/') + 1;
	g_autofree char *target = g_strconcat("../../../devices/", dir, NULL);
	g_autofree char *link = g_strconcat("/sys/bus/pci/devices/", name, NULL);
	g_autofree char *config = g_strdup_printf("/sys/devices/%s/config", dir);

	write_file(machine, class, "/sys/devices/%s/class", dir);
	write_file(machine, "", "/sys/devices/%s/config", dir);
	set_len(machine, config, PCI_CONFIG_LEN);
	write_link(machine, target, link);
}

static void write_cedt(const Machine *machine)
{
	uint8_t table[36 + 2 * 32 + 2 * 40] = "CEDT";
	uint8_t *at = table + 36;
	g_autofree char *path = g_strconcat(machine->root, "/sys/firmware/acpi/tables/CEDT", NULL);
	uint8_t sum = 0;

	le32_store(table + 4, sizeof(table));
	for (unsigned i = 0; i < 2; i++, at += 32) {
		le16_store(at + 2, 32);
		le32_store(at + 4, 12 + 16 * i);
		le32_store(at + 8, 1);
		le64_store(at + 16, CHBCR * (1 + i));
		le64_store(at + 24, 0x10000);
	}
	for (unsigned i = 0; i < 2; i++, at += 40) {
		at[0] = 1;
		le16_store(at + 2, 40);
		le64_store(at + 8, (16 + 16 * i) * GIB);
		le64_store(at + 16, 4 * GIB);
		le32_store(at + 36, 12); /* both lead to the first */
	}
	for (size_t i = 0; i < sizeof(table); i++)
		sum = (uint8_t)(sum + table[i]);
	table[9] = (uint8_t)-sum;
	write_file(machine, "", "/sys/firmware/acpi/tables/CEDT");
	g_assert_true(g_file_set_contents(path, (const char *)table, sizeof(table), NULL));
}

#define FIRST  "pci0000:0c/0000:0c:00.0/0000:0d:00.0"
#define SECOND "pci0000:1c/0000:1c:00.0/0000:1d:00.0"

static Machine *machine_new(void)
{
	Machine *machine = g_new0(Machine, 1);

	machine->root = g_dir_make_tmp("agent-XXXXXX", NULL);
	machine->platform = g_new0(Platform, 1);
	write_cedt(machine);
	add_root(machine, 0x00, "PNP0A08\n", "0\n");
	add_root(machine, 0x0c, "ACPI0016\n", "12\n");
	add_root(machine, 0x1c, "ACPI0016\n", "28\n");
	add_root(machine, 0x2c, "ACPI0016\n", "99\n"); /* not in the CEDT */
	add_device(machine, "pci0000:00/0000:00:01.0", "0x020000\n");
	add_device(machine, "pci0000:0c/0000:0c:00.0", "0x060400\n");
	add_device(machine, FIRST, "0x050210\n");
	add_device(machine, "pci0000:1c/0000:1c:00.0", "0x060400\n");
	add_device(machine, SECOND, "0x050210\n");
	write_file(machine, "", "/dev/mem");
	set_len(machine, "/dev/mem", 1 << 20);
	return machine;
}

static void machine_free(Machine *machine)
{
	g_autofree char *command = g_strdup_printf("rm -rf '%s'", machine->root);

	g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
	g_free(machine->root);
	g_free(machine->platform);
	g_free(machine);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Machine, machine_free)

static void bind_driver(const Machine *machine, const char *device, const char *driver)
{
	g_autofree char *target = g_strconcat("../../../../bus/pci/drivers/", driver, NULL);
	g_autofree char *link = g_strdup_printf("/sys/devices/%s/driver", device);

	write_file(machine, "", "/sys/bus/pci/drivers/%s/unbind", driver);
	write_link(machine, target, link);
}

static const Platform *read_platform(Machine *machine)
{
	AgentError error = { "" };

	g_assert_true(platform_read(machine->platform, machine->root, &error));
	g_assert_cmpstr(error.text, ==, "");
	return machine->platform;
}

static const PlatformDevice *find(const Platform *platform, const char *name)
{
	AgentError error = { "" };
	const PlatformDevice *device = platform_find(platform, name, &error);

	g_assert_nonnull(device);
	return device;
}

static void check_refused(const Platform *platform, const char *name, const char *why)
{
	AgentError error = { "" };

	g_assert_false(platform_may_take(platform, find(platform, name), &error));
	g_assert_nonnull(strstr(error.text, why));
}

/* ---- finding and judging ---- */

static void test_find(void)
{
	g_autoptr(Machine) machine = machine_new();
	const Platform *platform = read_platform(machine);
	CxlWindow windows[CEDT_MAX_WINDOWS];
	AgentError error = { "" };
	const PlatformDevice *device;

	g_assert_cmpuint(platform->n_bridges, ==, 2);
	g_assert_cmpuint(platform->bridges[0].uid, ==, 12);
	g_assert_cmpuint(platform->bridges[0].bus_last, ==, 0x1b);
	g_assert_cmpuint(platform->bridges[1].bus_last, ==, 0x2b);
	g_assert_cmphex(platform->bridges[1].chbcr, ==, 2 * CHBCR);
	g_assert_cmpuint(platform->n_devices, ==, 2);
	device = find(platform, "0d:00.0");
	g_assert_true(device == find(platform, "0000:0D:00.0"));
	g_assert_cmpuint(device->n_path, ==, 2);
	g_assert_cmphex(device->path[0], ==, 0x0c00);
	g_assert_cmphex(device->path[1], ==, 0x0d00);
	g_assert_cmpuint(platform_windows(platform, &platform->bridges[0], windows), ==, 2);
	g_assert_true(platform_may_take(platform, device, &error));
	g_assert_cmpuint(platform_windows(platform, &platform->bridges[1], windows), ==, 0);
	check_refused(platform, "1d:00.0", "no memory window leads to host bridge 28");
	g_assert_null(platform_find(platform, "0e:00.0", &error));
	g_assert_nonnull(strstr(error.text, "no CXL memory device 0e:00.0"));
}

static void test_bound(void)
{
	g_autoptr(Machine) machine = machine_new();

	bind_driver(machine, FIRST, "cxl_pci");
	check_refused(read_platform(machine), "0d:00.0", "driver cxl_pci has it");
}

static void test_neighbour(void)
{
	g_autoptr(Machine) machine = machine_new();

	add_device(machine, "pci0000:0c/0000:0c:01.0/0000:0e:00.0", "0x050210\n");
	bind_driver(machine, "pci0000:0c/0000:0c:01.0/0000:0e:00.0", "cxl_pci");
	check_refused(read_platform(machine), "0d:00.0", "same host bridge, for 0000:0e:00.0");
}

static void test_elsewhere(void)
{
	g_autoptr(Machine) machine = machine_new();

	add_device(machine, "pci0000:00/0000:00:02.0", "0x050210\n");
	check_refused(read_platform(machine), "00:02.0", "not below a CXL host bridge");
}

static void test_no_cedt(void)
{
	g_autoptr(Machine) machine = machine_new();
	g_autofree char *path = g_strconcat(machine->root, "/sys/firmware/acpi/tables/CEDT", NULL);
	AgentError error = { "" };

	g_assert_true(g_file_set_contents(path, "CEDT", 4, NULL));
	g_assert_false(platform_read(machine->platform, machine->root, &error));
	g_assert_nonnull(strstr(error.text, "ACPI table CEDT: "));
	g_assert_cmpint(g_unlink(path), ==, 0);
	error.text[0] = '\0';
	g_assert_false(platform_read(machine->platform, machine->root, &error));
	g_assert_nonnull(strstr(error.text, "no ACPI table CEDT"));
}

/* What is odd in sysfs is passed over. */
static void test_odd(void)
{
	g_autoptr(Machine) machine = machine_new();

	add_root(machine, 0x3c, "ACPI0016\n", NULL);
	add_root(machine, 0x4c, "ACPI0016\n", "twelve\n");
	add_root(machine, 0x5c, "ACPI0016\n", "4294967308\n"); /* 12, and more than 32 bits */
	add_device(machine, "pci0000:0c/0000:0c:02.0/nonsense/0000:0f:00.0", "0x050210\n");
	write_link(machine, "/nowhere", "/sys/bus/pci/devices/0000:0f:01.0");
	write_file(machine, "0x050210\n", "/sys/bus/pci/devices/nonsense/class");
	write_file(machine, "0x050210\n", "/sys/bus/pci/devices/0000:0f:02.0/class");
	read_platform(machine);
	g_assert_cmpuint(machine->platform->n_bridges, ==, 2);
	g_assert_cmpuint(machine->platform->n_devices, ==, 2);
}

static void test_addresses(void)
{
	static const char *const bad[] = {
		"",        "0d:00",         "0d:00.8",      "0d:20.0",     "0d:00.0 ",
		"0d-00.0", "0000:0d:00.00", "000g:0d:00.0", "0000:0d:00:0"
	};
	uint32_t domain;
	uint32_t bdf;
	char text[BDF_TEXT_LEN];

	for (gsize i = 0; i < G_N_ELEMENTS(bad); i++)
		g_assert_false(parse_bdf(bad[i], true, &domain, &bdf));
	g_assert_false(parse_bdf("0d:00.0", false, &domain, &bdf));
	g_assert_true(parse_bdf("00aB:fE:1f.7", false, &domain, &bdf));
	format_bdf(domain, bdf, text);
	g_assert_cmpstr(text, ==, "00ab:fe:1f.7");
}

static void test_numbers(void)
{
	static const char *const bad[] = { "",   "0x",   "-1", " 1",  "1 ",
					   "+1", "0x-1", "1x", "0xg", "18446744073709551616" };
	uint64_t value;

	for (gsize i = 0; i < G_N_ELEMENTS(bad); i++)
		g_assert_false(parse_number(bad[i], &value));
	g_assert_true(parse_number("18446744073709551615", &value) && value == UINT64_MAX);
	g_assert_true(parse_number("0xFf", &value) && value == 255);
}

/* ---- /proc/iomem and the list of memory types ---- */

static void test_owner(void)
{
	g_autoptr(Machine) machine = machine_new();
	char owner[64] = "";

	g_assert_false(platform_busy_owner(machine->root, 0x1000, 0x1000, owner));
	write_file(machine,
		   "00000000-00000fff : Reserved\n"
		   "10000000-1fffffff : PCI Bus 0000:0c\n"
		   "  10010000-1001ffff : port2\n"
		   "garbage\n"
		   "400000000-7ffffffff : CXL Window 0\n",
		   "/proc/iomem");
	g_assert_true(platform_busy_owner(machine->root, 0x10010000, 0x10000, owner));
	g_assert_cmpstr(owner, ==, "port2");
	g_assert_true(platform_busy_owner(machine->root, 0x7fffff000, 0x1000, owner));
	g_assert_cmpstr(owner, ==, "CXL Window 0");
	g_assert_false(platform_busy_owner(machine->root, 0x20000000, 0x1000, owner));
}

static void test_caching(void)
{
	g_autoptr(Machine) machine = machine_new();

	g_assert_cmpstr(memory_caching(machine->root, GIB, 4096), ==, "unknown");
	write_file(machine,
		   "PAT memtype list:\n"
		   "PAT: [mem 0x0000000000001000-0x0000000000002000] uncached-minus\n"
		   "PAT: [mem 0x0000000040000000-0x0000000040001000] write-back\n"
		   "PAT: [mem 0x0000000050000000-0x0000000050001000] of-its-own\n",
		   "/sys/kernel/debug/x86/pat_memtype_list");
	g_assert_cmpstr(memory_caching(machine->root, GIB, 4096), ==, "write-back");
	g_assert_cmpstr(memory_caching(machine->root, GIB, 8192), ==, "unknown");
	g_assert_cmpstr(memory_caching(machine->root, 0x1000, 4096), ==, "uncached-minus");
	g_assert_cmpstr(memory_caching(machine->root, 0x50000000, 4096), ==, "unknown");
}

/* ---- the bus ---- */

typedef struct BusFixture {
	Machine *machine;
	SysBus *bus;
} BusFixture;

static void bus_setup(BusFixture *fixture)
{
	AgentError error = { "" };
	const Platform *platform;

	fixture->machine = machine_new();
	write_file(fixture->machine, "", "/sys/devices/" FIRST "/resource2");
	set_len(fixture->machine, "/sys/devices/" FIRST "/resource2", 0x20000);
	write_file(fixture->machine, "", "/sys/devices/" FIRST "/resource3");
	platform = read_platform(fixture->machine);
	fixture->bus = sys_bus_new(fixture->machine->root, NULL, NULL);
	for (unsigned i = 0; i < 2; i++)
		g_assert_true(
			sys_bus_add(fixture->bus, platform, find(platform, "0d:00.0"), &error));
}

static void bus_clear(BusFixture *fixture)
{
	sys_bus_free(fixture->bus);
	machine_free(fixture->machine);
}

/* A second view of a file that the bus has mapped */
static void read_back(const Machine *machine, const char *name, off_t offset, void *buf, size_t len)
{
	g_autofree char *path = g_strconcat(machine->root, name, NULL);
	int fd = open(path, O_RDONLY);

	g_assert_cmpint(pread(fd, buf, len, offset), ==, (ssize_t)len);
	close(fd);
}

static void test_config(void)
{
	BusFixture fixture;
	const CxlBus *ops = &sys_bus_ops;
	uint32_t value = 0x11223344;
	uint8_t bytes[4];

	bus_setup(&fixture);
	g_assert_cmpint(ops->config_write(fixture.bus, 0x0d00, 0x10, &value, 4), ==, 0);
	value = 0;
	g_assert_cmpint(ops->config_read(fixture.bus, 0x0d00, 0x12, &value, 2), ==, 0);
	g_assert_cmphex(value, ==, 0x1122);
	read_back(fixture.machine, "/sys/devices/" FIRST "/config", 0x10, bytes, 4);
	g_assert_cmphex(bytes[0], ==, 0x44);
	g_assert_cmpint(ops->config_read(fixture.bus, 0x0c00, 0, &value, 2), ==, 0);
	/* Past the end, and what was not added: another device, another function, empty slots */
	g_assert_cmpint(ops->config_read(fixture.bus, 0x0d00, 0x1000, &value, 4), <, 0);
	g_assert_cmphex(value, ==, UINT32_MAX);
	value = 0;
	g_assert_cmpint(ops->config_read(fixture.bus, 0x1d00, 0, &value, 4), ==, -ENODEV);
	g_assert_cmphex(value, ==, UINT32_MAX);
	g_assert_cmpint(ops->config_write(fixture.bus, 0x1d00, 0x10, &value, 4), ==, -ENODEV);
	g_assert_cmpint(ops->config_read(fixture.bus, 0x0d01, 0, &value, 4), ==, -ENODEV);
	bus_clear(&fixture);
}

static void test_bar(void)
{
	static const uint32_t widths[] = { 1, 2, 4, 8 };
	BusFixture fixture;
	const CxlBus *ops = &sys_bus_ops;
	uint64_t value;
	uint64_t found;

	bus_setup(&fixture);
	g_assert_cmpuint(ops->bar_len(fixture.bus, 0x0d00, 2), ==, 0x20000);
	g_assert_cmpuint(ops->bar_len(fixture.bus, 0x0d00, 0), ==, 0);
	g_assert_cmpuint(ops->bar_len(fixture.bus, 0x0d00, 3), ==, 0);
	g_assert_cmpuint(ops->bar_len(fixture.bus, 0x0d00, 6), ==, 0);
	g_assert_cmpuint(ops->bar_len(fixture.bus, 0x1d00, 2), ==, 0);
	for (gsize i = 0; i < G_N_ELEMENTS(widths); i++) {
		value = UINT64_C(0x8877665544332211);
		found = 0;
		g_assert_cmpint(ops->bar_write(fixture.bus, 0x0d00, 2, 0x100, &value, widths[i]),
				==, 0);
		g_assert_cmpint(ops->bar_read(fixture.bus, 0x0d00, 2, 0x100, &found, widths[i]), ==,
				0);
		g_assert_cmpint(memcmp(&found, &value, widths[i]), ==, 0);
	}
	read_back(fixture.machine, "/sys/devices/" FIRST "/resource2", 0x100, &found, 8);
	g_assert_cmphex(found, ==, value);
	g_assert_cmpint(ops->bar_read(fixture.bus, 0x0d00, 2, 0x20000, &found, 8), ==, -ERANGE);
	g_assert_cmphex(found, ==, UINT64_MAX);
	g_assert_cmpint(ops->bar_read(fixture.bus, 0x0d00, 2, 0x1fffc, &found, 8), ==, -ERANGE);
	g_assert_cmpint(ops->bar_read(fixture.bus, 0x0d00, 2, 0x101, &found, 2), ==, -ERANGE);
	g_assert_cmpint(ops->bar_read(fixture.bus, 0x0d00, 2, 0x100, &found, 3), <, 0);
	g_assert_cmpint(ops->bar_write(fixture.bus, 0x0d00, 2, UINT64_MAX - 7, &value, 8), ==,
			-ERANGE);
	g_assert_cmpint(ops->bar_write(fixture.bus, 0x0d00, 2, 0x100, &value, 16), <, 0);
	g_assert_nonnull(ops->bar_map(fixture.bus, 0x0d00, 2, 0x1000, 0x1f000));
	g_assert_null(ops->bar_map(fixture.bus, 0x0d00, 2, 0x1000, 0x1f001));
	g_assert_null(ops->bar_map(fixture.bus, 0x0d00, 2, UINT64_MAX, 2));
	g_assert_null(ops->bar_map(fixture.bus, 0x0d00, 0, 0, 8));
	bus_clear(&fixture);
}

static void test_chbcr(void)
{
	BusFixture fixture;
	const CxlBus *ops = &sys_bus_ops;
	uint32_t value = 0xcafe;
	uint32_t found = 0;

	bus_setup(&fixture);
	g_assert_cmpint(ops->chbcr_write(fixture.bus, 12, 0x1004, &value, 4), ==, 0);
	g_assert_cmpint(ops->chbcr_read(fixture.bus, 12, 0x1004, &found, 4), ==, 0);
	g_assert_cmphex(found, ==, value);
	found = 0;
	read_back(fixture.machine, "/dev/mem", CHBCR + 0x1004, &found, 4);
	g_assert_cmphex(found, ==, value);
	g_assert_cmpint(ops->chbcr_read(fixture.bus, 12, CXL_COMPONENT_LEN, &found, 4), ==,
			-ERANGE);
	g_assert_cmphex(found, ==, UINT32_MAX);
	g_assert_cmpint(ops->chbcr_write(fixture.bus, 12, CXL_COMPONENT_LEN - 2, &value, 4), ==,
			-ERANGE);
	/* The other host bridge was not added. */
	g_assert_cmpint(ops->chbcr_read(fixture.bus, 28, 0, &found, 4), ==, -ENODEV);
	g_assert_cmpint(ops->chbcr_write(fixture.bus, 28, 0, &found, 4), ==, -ENODEV);
	bus_clear(&fixture);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/agent/platform/find", test_find);
	g_test_add_func("/agent/platform/bound", test_bound);
	g_test_add_func("/agent/platform/neighbour", test_neighbour);
	g_test_add_func("/agent/platform/elsewhere", test_elsewhere);
	g_test_add_func("/agent/platform/no-cedt", test_no_cedt);
	g_test_add_func("/agent/platform/odd", test_odd);
	g_test_add_func("/agent/platform/addresses", test_addresses);
	g_test_add_func("/agent/platform/numbers", test_numbers);
	g_test_add_func("/agent/platform/owner", test_owner);
	g_test_add_func("/agent/platform/caching", test_caching);
	g_test_add_func("/agent/bus/config", test_config);
	g_test_add_func("/agent/bus/bar", test_bar);
	g_test_add_func("/agent/bus/chbcr", test_chbcr);
	return g_test_run();
}
