/* SPDX-License-Identifier: BSD-3-Clause */
/* Layout: places RAM, bridges and windows, and refuses what does not fit. */
#include "machine/layout.h"

#include <gio/gio.h>
#include <string.h>

#define GIB              (UINT64_C(1) << 30)
#define MIN_RAM          (UINT64_C(64) << 20)
#define ACPI_LEN         (UINT64_C(64) << 10)
#define DEFAULT_WINDOW   (16 * GIB)
#define BUSES_PER_BRIDGE 16
#define MIN_PHYS_BITS    39
/* AMD's CPUs with 40 address bits answer nothing from here on. */
#define HYPERTRANSPORT UINT64_C(0xfd00000000)

/* CEDT CFMWS restrictions */
#define RESTRICT_HOST_ONLY  0x2
#define RESTRICT_VOLATILE   0x4
#define RESTRICT_PERSISTENT 0x8

const uint16_t machine_serial_ports[MACHINE_N_SERIAL] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };
const uint8_t machine_serial_gsis[MACHINE_N_SERIAL] = { 4, 3, 5, 6 };

G_GNUC_PRINTF(2, 3) static bool refuse(GError **error, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, text);
	return false;
}

/* ---- RAM and fixed places ---- */

static bool place_ram(MachineLayout *layout, uint64_t ram_len, GError **error)
{
	uint64_t max_len = MACHINE_RAM_LOW_MAX + (MACHINE_MEM64 - MACHINE_RAM_HIGH);

	if (ram_len < MIN_RAM || ram_len % (UINT64_C(2) << 20))
		return refuse(error,
			      "memory of %" G_GUINT64_FORMAT
			      " bytes: must be at least 64 MiB and a multiple of 2 MiB",
			      ram_len);
	if (ram_len > max_len)
		return refuse(error,
			      "memory of %" G_GUINT64_FORMAT " bytes: at most %" G_GUINT64_FORMAT
			      " GiB fit below the PCI windows",
			      ram_len, max_len / GIB);
	layout->ram_low_len = MIN(ram_len, MACHINE_RAM_LOW_MAX);
	layout->ram_high_len = ram_len - layout->ram_low_len;
	layout->acpi_len = ACPI_LEN;
	layout->acpi = layout->ram_low_len - ACPI_LEN;
	layout->ecam = MACHINE_ECAM;
	layout->ecam_len = MACHINE_ECAM_LEN;
	return true;
}

/* ---- bridges, ports and windows ---- */

static bool add_bridge(MachineLayout *layout, unsigned n_ports, uint32_t *ret_uid, GError **error)
{
	unsigned uid = layout->n_bridges;

	if (uid == MACHINE_MAX_BRIDGES)
		return refuse(error,
			      "more than %d CXL host bridges; put devices under one with "
			      "--window DEV,DEV",
			      MACHINE_MAX_BRIDGES - 1);
	layout->bridges[layout->n_bridges++] = (MachineBridge){
		.uid = uid,
		.bus_first = (uint8_t)(uid * BUSES_PER_BRIDGE),
		.bus_last = (uint8_t)(uid * BUSES_PER_BRIDGE + BUSES_PER_BRIDGE - 1),
		.is_cxl = n_ports != 0,
		.chbcr = n_ports ? MACHINE_CHBCR + uid * MACHINE_CHBCR_LEN : 0,
		.n_ports = n_ports,
	};
	*ret_uid = uid;
	return true;
}

/* Bridges get equal shares of both PCI windows, powers of two and so aligned to themselves. */
static void share_pci_windows(MachineLayout *layout)
{
	unsigned shares = 1;

	while (shares < layout->n_bridges)
		shares *= 2;
	for (unsigned i = 0; i < layout->n_bridges; i++) {
		MachineBridge *bridge = &layout->bridges[i];

		bridge->mem32_len = MACHINE_MEM32_LEN / shares;
		bridge->mem32 = MACHINE_MEM32 + i * bridge->mem32_len;
		bridge->mem64_len = MACHINE_MEM64_LEN / shares;
		bridge->mem64 = MACHINE_MEM64 + i * bridge->mem64_len;
	}
}

static bool is_valid_ways(unsigned ways)
{
	return ways == 1 || ways == 2 || ways == 4 || ways == 8 || ways == 3 || ways == 6 ||
	       ways == 12;
}

static bool is_valid_granularity(uint32_t granularity)
{
	return granularity >= 256 && granularity <= 16384 && !(granularity & (granularity - 1));
}

/* Devices of SPEC become root ports of new bridges. */
static bool plug_devices(MachineLayout *layout, const MachineTopology *topology,
			 const MachineWindowSpec *spec, FabricWindow *window, GError **error)
{
	for (unsigned i = 0; i < spec->n_bridges; i++) {
		if (!spec->n_ports[i] || spec->n_ports[i] > MACHINE_MAX_PORTS)
			return refuse(error, "%u devices under one host bridge: 1 to %d can be",
				      spec->n_ports[i], MACHINE_MAX_PORTS);
		if (!add_bridge(layout, spec->n_ports[i], &window->targets[i], error))
			return false;
		for (unsigned j = 0; j < spec->n_ports[i]; j++) {
			unsigned device = spec->devices[i][j];
			MachinePlug *plug = &layout->plugs[device];

			if (plug->uid)
				return refuse(error, "device %s is in two windows",
					      topology->devices[device].name);
			*plug = (MachinePlug){ window->targets[i], j };
			if (topology->devices[device].is_persistent)
				window->restrictions |= RESTRICT_PERSISTENT;
		}
	}
	return true;
}

static bool add_window(MachineLayout *layout, const MachineTopology *topology,
		       const MachineWindowSpec *spec, uint64_t *hpa, GError **error)
{
	uint64_t limit = UINT64_C(1) << layout->phys_bits;
	FabricWindow window = {
		.hpa = *hpa,
		.len = spec->len ? spec->len : topology->default_window_len,
		.ways = spec->n_bridges,
		.granularity = spec->granularity ? spec->granularity : 256,
		.restrictions = RESTRICT_HOST_ONLY | RESTRICT_VOLATILE,
	};
	uint64_t unit = MACHINE_WINDOW_ALIGN * window.ways;

	if (layout->n_windows == MACHINE_MAX_WINDOWS)
		return refuse(error, "more than %d windows", MACHINE_MAX_WINDOWS);
	if (!is_valid_ways(window.ways))
		return refuse(error,
			      "a window across %u host bridges: 1, 2, 3, 4, 6, 8 or 12 can be",
			      window.ways);
	if (!window.len)
		window.len = DEFAULT_WINDOW / unit * unit;
	if (!is_valid_granularity(window.granularity))
		return refuse(error,
			      "window granularity %u: must be a power of two from 256 to 16384",
			      window.granularity);
	if (window.len % unit)
		return refuse(error,
			      "window of %" G_GUINT64_FORMAT " bytes: must be a multiple of "
			      "%" G_GUINT64_FORMAT " (256 MiB for each host bridge)",
			      window.len, unit);
	if (layout->phys_bits == 40)
		limit = HYPERTRANSPORT;
	if (window.len > limit || window.hpa > limit - window.len)
		return refuse(error,
			      "windows up to %#" G_GINT64_MODIFIER
			      "x: this CPU addresses %#" G_GINT64_MODIFIER
			      "x; make them smaller with --window",
			      window.hpa + window.len, limit);
	if (!plug_devices(layout, topology, spec, &window, error))
		return false;
	layout->windows[layout->n_windows++] = window;
	*hpa += window.len;
	return true;
}

static bool add_windows(MachineLayout *layout, const MachineTopology *topology, GError **error)
{
	uint64_t hpa = MACHINE_WINDOWS;

	for (unsigned i = 0; i < topology->n_windows; i++) {
		if (!add_window(layout, topology, &topology->windows[i], &hpa, error))
			return false;
	}
	for (unsigned i = 0; i < topology->n_devices; i++) {
		MachineWindowSpec spec = { .n_bridges = 1, .n_ports = { 1 } };

		if (layout->plugs[i].uid)
			continue;
		spec.devices[0][0] = i;
		if (!add_window(layout, topology, &spec, &hpa, error))
			return false;
	}
	return true;
}

bool machine_layout_compute(const MachineTopology *topology, uint64_t ram_len, unsigned n_cpus,
			    unsigned phys_bits, MachineLayout *ret, GError **error)
{
	MachineLayout layout = { .n_cpus = n_cpus, .phys_bits = MIN(phys_bits, 52u) };
	uint32_t uid;

	if (!n_cpus || n_cpus > MACHINE_MAX_CPUS)
		return refuse(error, "%u CPUs: 1 to %d can be", n_cpus, MACHINE_MAX_CPUS);
	if (phys_bits < MIN_PHYS_BITS)
		return refuse(error, "this CPU has %u physical address bits; %d are needed",
			      phys_bits, MIN_PHYS_BITS);
	if (topology->n_devices > MACHINE_MAX_DEVICES)
		return refuse(error, "%u devices: at most %d can be", topology->n_devices,
			      MACHINE_MAX_DEVICES);
	layout.n_devices = topology->n_devices;
	if (!place_ram(&layout, ram_len, error) || !add_bridge(&layout, 0, &uid, error) ||
	    !add_windows(&layout, topology, error))
		return false;
	share_pci_windows(&layout);
	*ret = layout;
	return true;
}

const MachineBridge *machine_layout_bridge(const MachineLayout *layout, uint32_t uid)
{
	for (unsigned i = 0; i < layout->n_bridges; i++) {
		if (layout->bridges[i].uid == uid)
			return &layout->bridges[i];
	}
	return NULL;
}
