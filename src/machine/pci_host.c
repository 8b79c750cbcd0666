/* SPDX-License-Identifier: BSD-3-Clause */
/* PCI host: routes ECAM, component registers and windows to functions and to the fabric. */
#include "machine/pci_host.h"

#include "machine/config_access.h"
#include "machine/device_port.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/mman.h>

#define N_SLOTS 32u /* device numbers on a bus */

/* Only what lies within one granule: KVM has not slots enough for all granules of a range. */
#define MAX_STRIPES 1u

/* What an administrator is told to set is a multiple of this. */
#define MAP_COUNT_UNIT UINT64_C(65536)

#define COMPONENT_BAR     0u
#define COMPONENT_BAR_LEN 0x10000u

/* What the bus calls for a range of it. */
typedef struct Place {
	PciHost *host;
	uint32_t uid; /* host bridge */
	uint64_t base;
	bool is_told; /* of a window: that something interleaved in it is slow */
} Place;

/* The BAR of a root port, on the bus. */
typedef struct PortBar {
	PciHost *host;
	uint32_t uid;
	unsigned port;
	PciBars *bars;
} PortBar;

struct PciHost {
	PciHostConfig config;
	Fabric *fabric;
	Place ecam;
	Place chbcrs[MACHINE_MAX_BRIDGES];
	Place windows[MACHINE_MAX_WINDOWS];
	GPtrArray *ranges; /* MachineBusRange */
	PortBar ports[MACHINE_MAX_BRIDGES][MACHINE_MAX_PORTS];
	PciDevice *plugged[N_SLOTS];
	unsigned n_plugged;
	DevicePort *devices[MACHINE_MAX_DEVICES];
};

/* ---- the fabric's memory ---- */

static GuestRegion region_of(const FabricAlias *alias)
{
	return (GuestRegion){
		.gpa = alias->hpa,
		.len = alias->len,
		.hva = alias->hva,
		.fd = alias->fd,
		.offset = alias->offset,
		.writable = alias->writable,
	};
}

static int alias_map(void *opaque, const FabricAlias *alias)
{
	PciHost *host = opaque;
	GuestRegion region = region_of(alias);

	/* Where the file can have huge pages and the administrator lets it be asked for. */
	if (alias->fd >= 0)
		madvise(alias->hva, alias->len, MADV_HUGEPAGE);
	return guest_memory_add(host->config.memory, &region);
}

static void alias_unmap(void *opaque, const FabricAlias *alias)
{
	PciHost *host = opaque;

	guest_memory_remove(host->config.memory, alias->hpa, alias->len);
}

static void alias_cut(void *opaque, const FabricAlias *alias, uint64_t hpa, uint64_t len)
{
	PciHost *host = opaque;

	guest_memory_cut(host->config.memory, alias->hpa, alias->len, hpa, len);
}

G_GNUC_PRINTF(2, 3)
static void log_format(PciHost *host, const char *format, ...)
{
	g_autofree char *line = NULL;
	va_list args;

	if (!host->config.log)
		return;
	va_start(args, format);
	line = g_strdup_vprintf(format, args);
	va_end(args);
	host->config.log(host->config.opaque, line);
}

static Place *find_window(PciHost *host, uint64_t hpa)
{
	const MachineLayout *layout = host->config.layout;
	unsigned i = 0;

	while (i + 1 < layout->n_windows && hpa - layout->windows[i].hpa >= layout->windows[i].len)
		i++;
	return &host->windows[i];
}

/* Failures once for each window: the guest can make as many as it likes. */
static void alias_span(void *opaque, const FabricSpan *span, int rc)
{
	PciHost *host = opaque;
	Place *window = find_window(host, span->hpa);
	uint64_t count = guest_memory_map_count_for(span->n_needed);
	g_autofree char *what = g_strdup_printf(
		"%" G_GUINT64_FORMAT " MiB at %#" G_GINT64_MODIFIER "x, interleaved %u ways by %u "
		"bytes,",
		span->len >> 20, span->hpa, span->ways, span->granularity);

	if (rc == 0 && host->config.verbose)
		log_format(host, "%s are mapped", what);
	if (rc == 0 || window->is_told)
		return;
	window->is_told = true;
	if (rc == -E2BIG)
		log_format(host,
			   "%s are slow: they would take %" G_GUINT64_FORMAT " mappings with what "
			   "is mapped, and %" G_GUINT64_FORMAT " are for that; a machine started "
			   "after sysctl vm.max_map_count=%" G_GUINT64_FORMAT
			   " can have them fast, or with a coarser granularity",
			   what, span->n_needed, span->n_allowed,
			   (count + MAP_COUNT_UNIT - 1) / MAP_COUNT_UNIT * MAP_COUNT_UNIT);
	else
		log_format(host, "%s are slow: they cannot be mapped: %s", what, g_strerror(-rc));
}

static const FabricMapper mapper = {
	.map = alias_map,
	.unmap = alias_unmap,
	.cut = alias_cut,
	.span = alias_span,
};

/* ---- configuration space ---- */

/* The function of this process at BDF, NULL if there is none. */
static PciDevice *find_plugged(PciHost *host, uint32_t bdf)
{
	const MachineBridge *plain = &host->config.layout->bridges[0];
	uint32_t devfn = bdf & 0xff;

	if (bdf >> 8 != plain->bus_first || (devfn & 7))
		return NULL;
	return host->plugged[devfn >> 3];
}

/* NULL if BDF is no root port. */
static PortBar *find_root_port(PciHost *host, uint32_t bdf)
{
	const MachineLayout *layout = host->config.layout;

	for (unsigned i = 1; i < layout->n_bridges; i++) {
		const MachineBridge *bridge = &layout->bridges[i];
		unsigned devfn = bdf & 0xff;

		if (bdf >> 8 == bridge->bus_first && !(devfn & 7) && devfn >> 3 < bridge->n_ports)
			return &host->ports[i][devfn >> 3];
	}
	return NULL;
}

/* The fabric has the registers of a root port, we have its place on the bus. */
static void follow_root_port(PortBar *port, uint32_t offset, const uint8_t *buf, uint32_t len)
{
	uint8_t command[2];

	pci_bars_config_write(port->bars, offset, buf, len);
	if (!config_touches(offset, len, PCI_CFG_COMMAND, 2))
		return;
	fabric_port_config_read(port->host->fabric, port->uid, port->port, PCI_CFG_COMMAND, command,
				sizeof(command));
	pci_bars_set_decoding(port->bars, command[0] & PCI_CMD_MEM);
}

static void config_read(PciHost *host, uint32_t bdf, uint32_t offset, uint8_t *buf, uint32_t len)
{
	PciDevice *dev = find_plugged(host, bdf);

	if (dev)
		pci_device_config_read(dev, offset, buf, len);
	else
		fabric_config_read(host->fabric, bdf, offset, buf, len);
}

static void config_write(PciHost *host, uint32_t bdf, uint32_t offset, const uint8_t *buf,
			 uint32_t len)
{
	PciDevice *dev = find_plugged(host, bdf);
	PortBar *port = dev ? NULL : find_root_port(host, bdf);

	if (dev)
		pci_device_config_write(dev, offset, buf, len);
	else
		fabric_config_write(host->fabric, bdf, offset, buf, len);
	if (port)
		follow_root_port(port, offset, buf, len);
}

/* PCIe 6.0 7.2.2: bus, device and function from bit 12 on. An access may reach into the next. */
static void ecam_read(void *opaque, uint64_t offset, void *buf, uint32_t len)
{
	const Place *place = opaque;
	uint8_t *bytes = buf;

	while (len > 0) {
		uint32_t at = offset % PCI_CONFIG_LEN, n = MIN(len, PCI_CONFIG_LEN - at);

		config_read(place->host, (uint32_t)(offset / PCI_CONFIG_LEN), at, bytes, n);
		offset += n;
		bytes += n;
		len -= n;
	}
}

static void ecam_write(void *opaque, uint64_t offset, const void *buf, uint32_t len)
{
	const Place *place = opaque;
	const uint8_t *bytes = buf;

	while (len > 0) {
		uint32_t at = offset % PCI_CONFIG_LEN, n = MIN(len, PCI_CONFIG_LEN - at);

		config_write(place->host, (uint32_t)(offset / PCI_CONFIG_LEN), at, bytes, n);
		offset += n;
		bytes += n;
		len -= n;
	}
}

static const MachineBusOps ecam_ops = { .read = ecam_read, .write = ecam_write };

/* ---- component registers and windows ---- */

static void chbcr_read(void *opaque, uint64_t offset, void *buf, uint32_t len)
{
	const Place *place = opaque;

	fabric_chbcr_read(place->host->fabric, place->uid, (uint32_t)offset, buf, len);
}

static void chbcr_write(void *opaque, uint64_t offset, const void *buf, uint32_t len)
{
	const Place *place = opaque;

	fabric_chbcr_write(place->host->fabric, place->uid, (uint32_t)offset, buf, len);
}

static const MachineBusOps chbcr_ops = { .read = chbcr_read, .write = chbcr_write };

static void window_read(void *opaque, uint64_t offset, void *buf, uint32_t len)
{
	const Place *place = opaque;

	fabric_access(place->host->fabric, place->base + offset, buf, len, false);
}

static void window_write(void *opaque, uint64_t offset, const void *buf, uint32_t len)
{
	const Place *place = opaque;

	/* Only read when it is a write. */
	fabric_access(place->host->fabric, place->base + offset, (void *)buf, len, true);
}

static const MachineBusOps window_ops = { .read = window_read, .write = window_write };

static void port_bar_read(void *opaque, unsigned bar, uint64_t offset, void *buf, uint32_t len)
{
	PortBar *port = opaque;

	fabric_port_bar_read(port->host->fabric, port->uid, port->port, offset, buf, len);
}

static void port_bar_write(void *opaque, unsigned bar, uint64_t offset, const void *buf,
			   uint32_t len)
{
	PortBar *port = opaque;

	fabric_port_bar_write(port->host->fabric, port->uid, port->port, offset, buf, len);
}

static const PciBarsOps port_bar_ops = { .read = port_bar_read, .write = port_bar_write };

/* ---- building it ---- */

static PciWindows windows_of(const MachineBridge *bridge)
{
	return (PciWindows){ bridge->mem32, bridge->mem32_len, bridge->mem64, bridge->mem64_len };
}

static bool make_fabric(PciHost *host, GError **error)
{
	const MachineLayout *layout = host->config.layout;
	FabricHostBridge bridges[MACHINE_MAX_BRIDGES];
	FabricConfig config = {
		.windows = layout->windows,
		.n_windows = layout->n_windows,
		.bridges = bridges,
		.max_stripes = MAX_STRIPES,
	};

	/* Each window has a device; only where one has several they can be interleaved. */
	if (layout->n_devices > layout->n_windows)
		config.max_span_pieces = guest_memory_set_aside(host->config.memory);
	for (unsigned i = 1; i < layout->n_bridges; i++) {
		const MachineBridge *bridge = &layout->bridges[i];

		bridges[config.n_bridges++] = (FabricHostBridge){
			.uid = bridge->uid,
			.bus_first = bridge->bus_first,
			.bus_last = bridge->bus_last,
			.n_ports = bridge->n_ports,
		};
	}
	host->fabric = fabric_new(&config, &mapper, host, error);
	return host->fabric;
}

static bool claim(PciHost *host, const char *what, uint64_t base, uint64_t len,
		  const MachineBusOps *ops, Place *place, GError **error)
{
	MachineBusRange *range = machine_bus_add(host->config.bus, MACHINE_BUS_MMIO, base, len, ops,
						 place);

	if (range) {
		g_ptr_array_add(host->ranges, range);
		return true;
	}
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
		    "%s at %#" G_GINT64_MODIFIER "x, %#" G_GINT64_MODIFIER
		    "x bytes: something else is there already",
		    what, base, len);
	return false;
}

static void add_root_ports(PciHost *host, unsigned index)
{
	const MachineBridge *bridge = &host->config.layout->bridges[index];
	PciWindows windows = windows_of(bridge);

	for (unsigned i = 0; i < bridge->n_ports; i++) {
		PortBar *port = &host->ports[index][i];

		*port = (PortBar){ .host = host, .uid = bridge->uid, .port = i };
		port->bars = pci_bars_new(host->config.bus, &port_bar_ops, port);
		pci_bars_add(port->bars, COMPONENT_BAR, COMPONENT_BAR_LEN, PCI_BAR_MEM_64);
		pci_bars_set_windows(port->bars, &windows);
	}
}

static bool claim_all(PciHost *host, GError **error)
{
	const MachineLayout *layout = host->config.layout;

	host->ecam = (Place){ .host = host };
	if (!claim(host, "ECAM", layout->ecam, layout->ecam_len, &ecam_ops, &host->ecam, error))
		return false;
	for (unsigned i = 1; i < layout->n_bridges; i++) {
		const MachineBridge *bridge = &layout->bridges[i];

		host->chbcrs[i] = (Place){ .host = host, .uid = bridge->uid };
		if (!claim(host, "host bridge registers", bridge->chbcr, MACHINE_CHBCR_LEN,
			   &chbcr_ops, &host->chbcrs[i], error))
			return false;
		add_root_ports(host, i);
	}
	for (unsigned i = 0; i < layout->n_windows; i++) {
		const FabricWindow *window = &layout->windows[i];

		host->windows[i] = (Place){ .host = host, .base = window->hpa };
		if (!claim(host, "CXL window", window->hpa, window->len, &window_ops,
			   &host->windows[i], error))
			return false;
	}
	return true;
}

PciHost *pci_host_new(const PciHostConfig *config, GError **error)
{
	g_autoptr(PciHost) host = g_new0(PciHost, 1);

	host->config = *config;
	host->ranges = g_ptr_array_new();
	if (!make_fabric(host, error) || !claim_all(host, error))
		return NULL;
	return g_steal_pointer(&host);
}

void pci_host_abort(PciHost *host)
{
	for (unsigned i = 0; i < MACHINE_MAX_DEVICES; i++) {
		if (host->devices[i])
			device_port_abort(host->devices[i]);
	}
}

void pci_host_free(PciHost *host)
{
	if (!host)
		return;
	for (unsigned i = 0; i < MACHINE_MAX_DEVICES; i++)
		device_port_free(host->devices[i]);
	for (unsigned i = 0; i < host->ranges->len; i++)
		machine_bus_remove(host->config.bus, host->ranges->pdata[i]);
	for (unsigned i = 0; i < MACHINE_MAX_BRIDGES; i++) {
		for (unsigned j = 0; j < MACHINE_MAX_PORTS; j++)
			pci_bars_free(host->ports[i][j].bars);
	}
	g_clear_pointer(&host->fabric, fabric_free);
	g_ptr_array_unref(host->ranges);
	g_free(host);
}

/* ---- plugging ---- */

bool pci_host_plug(PciHost *host, PciDevice *dev, GError **error)
{
	PciWindows windows = windows_of(&host->config.layout->bridges[0]);

	if (host->n_plugged == N_SLOTS) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
			    "the PCI bus has %u slots, and all are taken", N_SLOTS);
		return false;
	}
	pci_device_set_windows(dev, &windows);
	host->plugged[host->n_plugged++] = dev;
	return true;
}

/* All devices get the same, as none of them knows what others were offered. */
static bool share_of_maps(PciHost *host, uint32_t *ret, GError **error)
{
	uint32_t max = guest_memory_max_regions(host->config.memory);
	unsigned n = host->config.layout->n_devices;

	*ret = max / MAX(n, 1);
	if (*ret > 0)
		return true;
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
		    "%u devices have to share the %u regions that all back ends of virtio devices "
		    "can take besides RAM; --dma=off leaves the devices' memory out of them",
		    n, max);
	return false;
}

bool pci_host_attach(PciHost *host, unsigned number, const MachineDevice *device, GError **error)
{
	const MachineLayout *layout = host->config.layout;
	const MachinePlug *plug = &layout->plugs[number];
	const MachineBridge *bridge = machine_layout_bridge(layout, plug->uid);
	DevicePortConfig config = {
		.vm = host->config.vm,
		.bus = host->config.bus,
		.fabric = host->fabric,
		.uid = plug->uid,
		.port = plug->port,
		.name = device->name,
		.vfio_path = device->vfio_path,
		.mem_path = device->mem_path,
		.log = host->config.log,
		.opaque = host->config.opaque,
	};

	g_return_val_if_fail(number < layout->n_devices && bridge && !host->devices[number], false);
	config.windows = windows_of(bridge);
	memcpy(config.session, host->config.session.b, sizeof(config.session));
	if (!share_of_maps(host, &config.max_maps, error))
		return false;
	host->devices[number] = device_port_new(&config, error);
	return host->devices[number];
}

void pci_host_stats(PciHost *host, FabricStats *ret)
{
	fabric_stats(host->fabric, ret);
}
