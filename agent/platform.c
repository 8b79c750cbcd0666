/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kernel and ACPI say of CXL: host bridges, windows, memory devices and who drives them.
 */
#include "agent/platform.h"

#include "cxl/device.h"
#include "cxl/pci.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ROOTS 256

/* A root bus, CXL or not */
typedef struct RootBus {
	uint32_t domain;
	uint8_t bus;
} RootBus;

typedef struct Reader {
	Platform *platform;
	const char *root;
	AgentError *error;
	RootBus roots[MAX_ROOTS];
	unsigned n_roots;
} Reader;

/* ---- ACPI ---- */

static bool read_cedt(Reader *reader)
{
	char *table;
	size_t len;
	const char *fault;
	int err = sys_read_file(&table, &len, CEDT_MAX_LEN, reader->root,
				"/sys/firmware/acpi/tables/CEDT");

	if (err == -ENOENT)
		return agent_fail(reader->error,
				  "this machine has no ACPI table CEDT: no CXL host bridge");
	if (err < 0)
		return agent_fail(reader->error, "ACPI table CEDT cannot be read: %s%s",
				  strerror(-err), err == -EACCES ? " (root can)" : "");
	fault = cedt_parse(table, len, &reader->platform->cedt);
	free(table);
	return !fault || agent_fail(reader->error, "ACPI table CEDT: %s", fault);
}

static const CedtBridge *find_chbs(const Cedt *cedt, uint64_t uid)
{
	for (unsigned i = 0; i < cedt->n_bridges; i++) {
		if (cedt->bridges[i].uid == uid)
			return &cedt->bridges[i];
	}
	return NULL;
}

/* "pci0000:0c" and nothing after it, or after a slash */
static bool parse_root_bus(const char *name, RootBus *ret_bus)
{
	char text[] = "DDDD:BB:00.0";
	uint32_t bdf;

	if (strlen(name) < 10 || strncmp(name, "pci", 3) != 0 || (name[10] && name[10] != '/'))
		return false;
	memcpy(text, name + 3, 7);
	if (!parse_bdf(text, false, &ret_bus->domain, &bdf))
		return false;
	ret_bus->bus = (uint8_t)(bdf >> 8);
	return true;
}

static bool take_root(void *opaque, const char *name)
{
	Reader *reader = opaque;
	Platform *platform = reader->platform;
	const CedtBridge *chbs;
	PlatformBridge *bridge;
	char hid[16];
	uint64_t uid;
	RootBus bus;

	if (!parse_root_bus(name, &bus) || reader->n_roots == MAX_ROOTS)
		return true;
	reader->roots[reader->n_roots++] = bus;
	if (sys_read_line(hid, sizeof(hid), reader->root, "/sys/devices/%s/firmware_node/hid",
			  name) < 0 ||
	    strcmp(hid, "ACPI0016") != 0 ||
	    sys_read_number(&uid, reader->root, "/sys/devices/%s/firmware_node/uid", name) < 0)
		return true;
	chbs = find_chbs(&platform->cedt, uid);
	if (!chbs || platform->n_bridges == CEDT_MAX_BRIDGES)
		return true;
	bridge = &platform->bridges[platform->n_bridges++];
	*bridge = (PlatformBridge){
		.uid = chbs->uid,
		.domain = bus.domain,
		.bus_first = bus.bus,
		.bus_last = UINT8_MAX,
		.chbcr = chbs->chbcr,
	};
	snprintf(bridge->name, sizeof(bridge->name), "%s", name);
	return true;
}

/* A host bridge's buses end where the next one's begin. */
static void bound_buses(Reader *reader)
{
	for (unsigned i = 0; i < reader->platform->n_bridges; i++) {
		PlatformBridge *bridge = &reader->platform->bridges[i];

		for (unsigned k = 0; k < reader->n_roots; k++) {
			const RootBus *other = &reader->roots[k];

			if (other->domain == bridge->domain && other->bus > bridge->bus_first &&
			    other->bus <= bridge->bus_last)
				bridge->bus_last = (uint8_t)(other->bus - 1);
		}
	}
}

/* ---- devices ---- */

static int find_bridge(const Platform *platform, const RootBus *bus)
{
	for (unsigned i = 0; i < platform->n_bridges; i++) {
		if (platform->bridges[i].domain == bus->domain &&
		    platform->bridges[i].bus_first == bus->bus)
			return (int)i;
	}
	return -1;
}

/* The functions a device hangs from, by where its directory is. */
static bool read_path(const Reader *reader, PlatformDevice *device)
{
	char path[SYS_PATH_LEN];
	char *rest;
	char *save;
	RootBus bus;

	if (sys_real_path(path, reader->root, "/sys/bus/pci/devices/%s", device->name) < 0)
		return false;
	rest = strstr(path, "/sys/devices/pci");
	if (!rest || !parse_root_bus(rest + strlen("/sys/devices/"), &bus))
		return false;
	rest = strtok_r(rest + strlen("/sys/devices/"), "/", &save);
	while ((rest = strtok_r(NULL, "/", &save))) {
		uint32_t domain;

		if (device->n_path == PLATFORM_MAX_PATH ||
		    !parse_bdf(rest, false, &domain, &device->path[device->n_path]) ||
		    domain != device->domain)
			return false;
		device->n_path++;
	}
	device->bridge = find_bridge(reader->platform, &bus);
	return device->n_path > 0 && device->path[device->n_path - 1] == device->bdf;
}

static void read_driver(const Reader *reader, PlatformDevice *device)
{
	char path[SYS_PATH_LEN];

	if (sys_real_path(path, reader->root, "/sys/bus/pci/devices/%s/driver", device->name) == 0)
		snprintf(device->driver, sizeof(device->driver), "%.63s", strrchr(path, '/') + 1);
}

static bool take_device(void *opaque, const char *name)
{
	Reader *reader = opaque;
	Platform *platform = reader->platform;
	PlatformDevice device = { .bridge = -1 };
	uint64_t class;

	if (!parse_bdf(name, false, &device.domain, &device.bdf) ||
	    sys_read_number(&class, reader->root, "/sys/bus/pci/devices/%s/class", name) < 0 ||
	    class != PCI_CLASS_CXL_MEMDEV || platform->n_devices == PLATFORM_MAX_DEVICES)
		return true;
	format_bdf(device.domain, device.bdf, device.name);
	if (!read_path(reader, &device))
		return true;
	read_driver(reader, &device);
	platform->devices[platform->n_devices++] = device;
	return true;
}

bool platform_read(Platform *ret_platform, const char *root, AgentError *error)
{
	Reader reader = { .platform = ret_platform, .root = root, .error = error };
	int err;

	memset(ret_platform, 0, sizeof(*ret_platform));
	if (!read_cedt(&reader))
		return false;
	err = sys_each_name(take_root, &reader, root, "/sys/devices");
	if (err == 0)
		err = sys_each_name(take_device, &reader, root, "/sys/bus/pci/devices");
	if (err < 0)
		return agent_fail(error, "sysfs cannot be read: %s", strerror(-err));
	bound_buses(&reader);
	return true;
}

/* ---- choosing ---- */

const PlatformDevice *platform_find(const Platform *platform, const char *name, AgentError *error)
{
	uint32_t domain;
	uint32_t bdf;

	if (!parse_bdf(name, true, &domain, &bdf)) {
		agent_fail(error,
			   "'%.32s' is not the address of a PCI function, as in 0000:0d:00.0",
			   name);
		return NULL;
	}
	for (unsigned i = 0; i < platform->n_devices; i++) {
		if (platform->devices[i].domain == domain && platform->devices[i].bdf == bdf)
			return &platform->devices[i];
	}
	agent_fail(error,
		   "there is no CXL memory device %.32s; softdcd-agent probe lists those there are",
		   name);
	return NULL;
}

unsigned platform_windows(const Platform *platform, const PlatformBridge *bridge,
			  CxlWindow *ret_windows)
{
	unsigned n = 0;

	for (unsigned i = 0; i < platform->cedt.n_windows; i++) {
		const CxlWindow *window = &platform->cedt.windows[i];

		if (window->ways == 1 && window->targets[0] == bridge->uid)
			ret_windows[n++] = *window;
	}
	return n;
}

bool platform_may_take(const Platform *platform, const PlatformDevice *device, AgentError *error)
{
	CxlWindow windows[CEDT_MAX_WINDOWS];

	if (device->driver[0])
		return agent_fail(error,
				  "%s: the kernel's driver %s has it; release it with: echo %s "
				  ">/sys/bus/pci/drivers/%s/unbind",
				  device->name, device->driver, device->name, device->driver);
	if (device->bridge < 0)
		return agent_fail(error, "%s is not below a CXL host bridge that ACPI's CEDT knows",
				  device->name);
	if (device->domain)
		return agent_fail(error, "%s: PCI domains other than 0000 are not supported",
				  device->name);
	for (unsigned i = 0; i < platform->n_devices; i++) {
		const PlatformDevice *other = &platform->devices[i];

		if (other != device && other->bridge == device->bridge && other->driver[0])
			return agent_fail(
				error,
				"%s: the kernel's driver %s uses the same host bridge, for "
				"%s; the device needs a host bridge of its own",
				device->name, other->driver, other->name);
	}
	if (platform_windows(platform, &platform->bridges[device->bridge], windows) == 0)
		return agent_fail(error,
				  "%s: no memory window leads to host bridge %" PRIu32 " alone",
				  device->name, platform->bridges[device->bridge].uid);
	return true;
}

bool platform_busy_owner(const char *root, uint64_t start, uint64_t len, char ret_owner[64])
{
	char *text;
	char *save;
	size_t text_len;
	bool found = false;

	if (sys_read_file(&text, &text_len, 4u << 20, root, "/proc/iomem") < 0)
		return false;
	/* Deeper lines follow those they are part of: the last that matches is the user. */
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		uint64_t first;
		uint64_t last;
		int name_at = 0;

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " : %n", &first, &last, &name_at) < 2 ||
		    !name_at || first > last || first > start + (len - 1) || last < start)
			continue;
		snprintf(ret_owner, 64, "%.63s", line + name_at);
		found = true;
	}
	free(text);
	return found;
}
