/* SPDX-License-Identifier: BSD-3-Clause */
/* The driver's bus over sysfs and /dev/mem. */
#include "agent/sys_bus.h"

#include "agent/memory.h"
#include "cxl/component.h"
#include "cxl/pci.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_FUNCTIONS 128
#define MAX_BAR_LEN   (UINT64_C(1) << 30)

typedef struct SysBar {
	bool is_tried;
	uint8_t *base; /* NULL = cannot be mapped */
	uint64_t len;
} SysBar;

typedef struct SysFunction {
	uint32_t bdf;
	char name[BDF_TEXT_LEN];
	int config_fd;
	SysBar bars[PCI_CFG0_N_BARS];
} SysFunction;

typedef struct SysBridge {
	uint32_t uid;
	uint8_t *regs; /* 64 KiB */
} SysBridge;

struct SysBus {
	char root[SYS_PATH_LEN];
	void (*log)(void *opaque, const char *line);
	void *log_opaque;
	SysFunction functions[MAX_FUNCTIONS];
	unsigned n_functions;
	SysBridge bridges[CEDT_MAX_BRIDGES];
	unsigned n_bridges;
};

static SysFunction *find_function(SysBus *bus, uint32_t bdf)
{
	for (unsigned i = 0; i < bus->n_functions; i++) {
		if (bus->functions[i].bdf == bdf)
			return &bus->functions[i];
	}
	return NULL;
}

/* ---- configuration space ---- */

static int bus_config_read(void *opaque, uint32_t bdf, uint32_t offset, void *buf, uint32_t len)
{
	SysFunction *function = find_function(opaque, bdf);
	ssize_t n = -1;

	if (function)
		n = pread(function->config_fd, buf, len, offset);
	if (n == (ssize_t)len)
		return 0;
	memset(buf, 0xff, len);
	return !function ? -ENODEV : n < 0 ? -errno : -EIO;
}

static int bus_config_write(void *opaque, uint32_t bdf, uint32_t offset, const void *buf,
			    uint32_t len)
{
	SysFunction *function = find_function(opaque, bdf);
	ssize_t n;

	if (!function)
		return -ENODEV;
	n = pwrite(function->config_fd, buf, len, offset);
	return n == (ssize_t)len ? 0 : n < 0 ? -errno : -EIO;
}

/* ---- registers ---- */

/* One access of the width that was asked for: the compiler may not split or join them. */
static int mmio_read(const uint8_t *at, void *buf, uint32_t len)
{
	uint64_t value;

	switch (len) {
	case 1:
		value = *(const volatile uint8_t *)at;
		break;
	case 2:
		value = *(const volatile uint16_t *)(const void *)at;
		break;
	case 4:
		value = *(const volatile uint32_t *)(const void *)at;
		break;
	case 8:
		value = *(const volatile uint64_t *)(const void *)at;
		break;
	default:
		return -EINVAL;
	}
	memcpy(buf, &value, len);
	return 0;
}

static int mmio_write(uint8_t *at, const void *buf, uint32_t len)
{
	uint64_t value = 0;

	if (len > sizeof(value))
		return -EINVAL;
	memcpy(&value, buf, len);
	switch (len) {
	case 1:
		*(volatile uint8_t *)at = (uint8_t)value;
		return 0;
	case 2:
		*(volatile uint16_t *)(void *)at = (uint16_t)value;
		return 0;
	case 4:
		*(volatile uint32_t *)(void *)at = (uint32_t)value;
		return 0;
	case 8:
		*(volatile uint64_t *)(void *)at = value;
		return 0;
	default:
		return -EINVAL;
	}
}

static bool fits(uint64_t offset, uint32_t len, uint64_t whole)
{
	return len && offset % len == 0 && offset <= whole && len <= whole - offset;
}

static void map_bar(SysBus *bus, SysFunction *function, unsigned bar)
{
	SysBar *slot = &function->bars[bar];
	struct stat st;
	void *base = MAP_FAILED;
	int fd;

	slot->is_tried = true;
	fd = sys_open(O_RDWR | O_SYNC, bus->root, "/sys/bus/pci/devices/%s/resource%u",
		      function->name, bar);
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && st.st_size > 0 && (uint64_t)st.st_size <= MAX_BAR_LEN)
		base = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (base != MAP_FAILED) {
		slot->base = base;
		slot->len = (uint64_t)st.st_size;
	} else if (bus->log) {
		char line[128];

		snprintf(line, sizeof(line), "%s: BAR%u cannot be mapped: %s", function->name, bar,
			 strerror(errno));
		bus->log(bus->log_opaque, line);
	}
	close(fd);
}

/* NULL: no such function or BAR */
static SysBar *find_bar(SysBus *bus, uint32_t bdf, unsigned bar)
{
	SysFunction *function = find_function(bus, bdf);

	if (!function || bar >= PCI_CFG0_N_BARS)
		return NULL;
	if (!function->bars[bar].is_tried)
		map_bar(bus, function, bar);
	return function->bars[bar].base ? &function->bars[bar] : NULL;
}

static uint64_t bus_bar_len(void *opaque, uint32_t bdf, unsigned bar)
{
	const SysBar *slot = find_bar(opaque, bdf, bar);

	return slot ? slot->len : 0;
}

static void *bus_bar_map(void *opaque, uint32_t bdf, unsigned bar, uint64_t offset, uint64_t len)
{
	const SysBar *slot = find_bar(opaque, bdf, bar);

	if (!slot || offset > slot->len || len > slot->len - offset)
		return NULL;
	return slot->base + offset;
}

static int bus_bar_read(void *opaque, uint32_t bdf, unsigned bar, uint64_t offset, void *buf,
			uint32_t len)
{
	const SysBar *slot = find_bar(opaque, bdf, bar);
	int err = -ENODEV;

	if (slot)
		err = fits(offset, len, slot->len) ? mmio_read(slot->base + offset, buf, len)
						   : -ERANGE;
	if (err < 0)
		memset(buf, 0xff, len);
	return err;
}

static int bus_bar_write(void *opaque, uint32_t bdf, unsigned bar, uint64_t offset, const void *buf,
			 uint32_t len)
{
	const SysBar *slot = find_bar(opaque, bdf, bar);

	if (!slot)
		return -ENODEV;
	return fits(offset, len, slot->len) ? mmio_write(slot->base + offset, buf, len) : -ERANGE;
}

static SysBridge *find_bridge(SysBus *bus, uint32_t uid)
{
	for (unsigned i = 0; i < bus->n_bridges; i++) {
		if (bus->bridges[i].uid == uid)
			return &bus->bridges[i];
	}
	return NULL;
}

static int bus_chbcr_read(void *opaque, uint32_t uid, uint32_t offset, void *buf, uint32_t len)
{
	const SysBridge *bridge = find_bridge(opaque, uid);
	int err = -ENODEV;

	if (bridge)
		err = fits(offset, len, CXL_COMPONENT_LEN)
			      ? mmio_read(bridge->regs + offset, buf, len)
			      : -ERANGE;
	if (err < 0)
		memset(buf, 0xff, len);
	return err;
}

static int bus_chbcr_write(void *opaque, uint32_t uid, uint32_t offset, const void *buf,
			   uint32_t len)
{
	const SysBridge *bridge = find_bridge(opaque, uid);

	if (!bridge)
		return -ENODEV;
	return fits(offset, len, CXL_COMPONENT_LEN) ? mmio_write(bridge->regs + offset, buf, len)
						    : -ERANGE;
}

/* ---- time ---- */

static uint64_t bus_now_us(void *opaque)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static void bus_sleep_us(void *opaque, uint64_t us)
{
	struct timespec pause = { (time_t)(us / 1000000u), (long)(us % 1000000u * 1000u) };

	nanosleep(&pause, NULL);
}

static void bus_log(void *opaque, const char *line)
{
	SysBus *bus = opaque;

	if (bus->log)
		bus->log(bus->log_opaque, line);
}

const CxlBus sys_bus_ops = {
	.config_read = bus_config_read,
	.config_write = bus_config_write,
	.bar_read = bus_bar_read,
	.bar_write = bus_bar_write,
	.bar_len = bus_bar_len,
	.bar_map = bus_bar_map,
	.chbcr_read = bus_chbcr_read,
	.chbcr_write = bus_chbcr_write,
	.now_us = bus_now_us,
	.sleep_us = bus_sleep_us,
	.log = bus_log,
};

/* ---- life ---- */

SysBus *sys_bus_new(const char *root, void (*log)(void *opaque, const char *line), void *opaque)
{
	SysBus *bus = calloc(1, sizeof(*bus));

	if (!bus || strlen(root) >= sizeof(bus->root)) {
		free(bus);
		return NULL;
	}
	memcpy(bus->root, root, strlen(root) + 1);
	bus->log = log;
	bus->log_opaque = opaque;
	return bus;
}

void sys_bus_free(SysBus *bus)
{
	if (!bus)
		return;
	for (unsigned i = 0; i < bus->n_functions; i++) {
		SysFunction *function = &bus->functions[i];

		close(function->config_fd);
		for (unsigned k = 0; k < PCI_CFG0_N_BARS; k++) {
			if (function->bars[k].base)
				munmap(function->bars[k].base, function->bars[k].len);
		}
	}
	for (unsigned i = 0; i < bus->n_bridges; i++)
		munmap(bus->bridges[i].regs, CXL_COMPONENT_LEN);
	free(bus);
}

static bool add_function(SysBus *bus, uint32_t domain, uint32_t bdf, AgentError *error)
{
	SysFunction *function = &bus->functions[bus->n_functions];

	if (find_function(bus, bdf))
		return true;
	if (bus->n_functions == MAX_FUNCTIONS)
		return agent_fail(error, "more than %u functions", MAX_FUNCTIONS);
	memset(function, 0, sizeof(*function));
	function->bdf = bdf;
	format_bdf(domain, bdf, function->name);
	function->config_fd = sys_open(O_RDWR, bus->root, "/sys/bus/pci/devices/%s/config",
				       function->name);
	if (function->config_fd < 0)
		return agent_fail(error, "%s: configuration space cannot be opened: %s%s",
				  function->name, strerror(-function->config_fd),
				  function->config_fd == -EACCES ? " (root can)" : "");
	bus->n_functions++;
	return true;
}

static bool add_bridge(SysBus *bus, const PlatformBridge *bridge, AgentError *error)
{
	char what[64];
	void *regs;

	if (find_bridge(bus, bridge->uid))
		return true;
	snprintf(what, sizeof(what), "registers of host bridge %u", bridge->uid);
	regs = memory_map(bus->root, MEMORY_REGISTERS, bridge->chbcr, CXL_COMPONENT_LEN, NULL, what,
			  error);
	if (!regs)
		return false;
	bus->bridges[bus->n_bridges++] = (SysBridge){ .uid = bridge->uid, .regs = regs };
	return true;
}

bool sys_bus_add(SysBus *bus, const Platform *platform, const PlatformDevice *device,
		 AgentError *error)
{
	for (unsigned i = 0; i < device->n_path; i++) {
		if (!add_function(bus, device->domain, device->path[i], error))
			return false;
	}
	return add_bridge(bus, &platform->bridges[device->bridge], error);
}
