/* SPDX-License-Identifier: BSD-3-Clause */
/* Layout: the machine's physical address map and its PCI topology, computed once at start. */
#ifndef MACHINE_LAYOUT_H
#define MACHINE_LAYOUT_H

#include "fabric/fabric.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define MACHINE_MAX_CPUS    255 /* xAPIC ids, 255 is the broadcast */
#define MACHINE_MAX_BRIDGES 16  /* the plain one included */
#define MACHINE_MAX_PORTS   8   /* root ports of one host bridge */
#define MACHINE_MAX_DEVICES 32
#define MACHINE_MAX_WINDOWS 32

/* Fixed places. */
#define MACHINE_RAM_LOW_MAX UINT64_C(0xc0000000)
#define MACHINE_MEM32       UINT64_C(0xc0000000)
#define MACHINE_MEM32_LEN   UINT64_C(0x20000000)
#define MACHINE_ECAM        UINT64_C(0xe0000000)
#define MACHINE_ECAM_LEN    UINT64_C(0x10000000)
#define MACHINE_CHBCR       UINT64_C(0xf0000000)
#define MACHINE_CHBCR_LEN   UINT64_C(0x10000) /* each */
#define MACHINE_IOAPIC      UINT64_C(0xfec00000)
#define MACHINE_LAPIC       UINT64_C(0xfee00000)
#define MACHINE_IDENTITY_MAP \
	UINT64_C(0xfffbc000) /* and the TSS after it: KVM's on old Intel CPUs */
#define MACHINE_KVM_TSS      UINT64_C(0xfffbd000)
#define MACHINE_KVM_OWN_LEN  UINT64_C(0x4000)
#define MACHINE_RAM_HIGH     (UINT64_C(1) << 32)
#define MACHINE_MEM64        UINT64_C(0x4000000000) /* and so the end of high RAM */
#define MACHINE_MEM64_LEN    UINT64_C(0x1000000000)
#define MACHINE_WINDOWS      UINT64_C(0x5000000000)
#define MACHINE_WINDOW_ALIGN (UINT64_C(256) << 20)

/* I/O ports and interrupts (GSI = IOAPIC pin, edge, active high) */
#define MACHINE_PORT_SLEEP_CONTROL 0x600 /* byte; SLP_TYP << 2 | SLP_EN (20h) */
#define MACHINE_PORT_SLEEP_STATUS  0x601
#define MACHINE_PORT_RESET         0x602 /* writing MACHINE_RESET_VALUE resets */
#define MACHINE_RESET_VALUE        0x01
#define MACHINE_SLEEP_TYPE_S5      5
#define MACHINE_GSI_GED            9 /* power button */

/* The four serial ports, COM1 first. */
#define MACHINE_N_SERIAL 4
extern const uint16_t machine_serial_ports[MACHINE_N_SERIAL]; /* 8 ports from each */
extern const uint8_t machine_serial_gsis[MACHINE_N_SERIAL];

/* What the layout must know of a device; its number is its place in the list. */
typedef struct MachineDeviceTraits {
	const char *name;
	bool is_persistent; /* has a persistent partition: its window allows persistent memory */
} MachineDeviceTraits;

/*
 * One --window option: devices in interleave order. Devices of one host bridge are its root ports;
 * with several host bridges the window is interleaved across them.
 */
typedef struct MachineWindowSpec {
	uint64_t len;         /* bytes; 0 = default_window_len */
	uint32_t granularity; /* across host bridges; 0 = 256 */
	unsigned n_bridges;
	unsigned n_ports[MACHINE_MAX_BRIDGES];
	unsigned devices[MACHINE_MAX_BRIDGES][MACHINE_MAX_PORTS]; /* device numbers */
} MachineWindowSpec;

typedef struct MachineTopology {
	const MachineDeviceTraits *devices;
	unsigned n_devices;
	const MachineWindowSpec *windows; /* a device in none gets a bridge and window of its own */
	unsigned n_windows;
	uint64_t default_window_len; /* 0 = 16 GiB */
} MachineTopology;

typedef struct MachineBridge {
	uint32_t uid; /* ACPI _UID; 0 = the plain PCI bridge, always bridges[0] */
	uint8_t bus_first, bus_last;
	bool is_cxl;
	uint64_t chbcr; /* 64 KiB; 0 if not CXL */
	uint64_t mem32, mem32_len;
	uint64_t mem64, mem64_len;
	unsigned n_ports; /* root ports; 0 if not CXL */
} MachineBridge;

/* Where a device is plugged. */
typedef struct MachinePlug {
	uint32_t uid;
	unsigned port;
} MachinePlug;

typedef struct MachineLayout {
	uint64_t ram_low_len;    /* from 0 */
	uint64_t ram_high_len;   /* from MACHINE_RAM_HIGH; may be 0 */
	uint64_t acpi, acpi_len; /* top of low RAM, for the tables: e820 type 3, never usable RAM */
	uint64_t ecam, ecam_len; /* segment 0, buses 0-255 */
	unsigned n_cpus;         /* APIC ids 0..n_cpus-1 */
	unsigned phys_bits;
	MachineBridge bridges[MACHINE_MAX_BRIDGES];
	unsigned n_bridges;
	FabricWindow windows[MACHINE_MAX_WINDOWS];
	unsigned n_windows;
	MachinePlug plugs[MACHINE_MAX_DEVICES]; /* by device number */
	unsigned n_devices;
} MachineLayout;

/*
 * Computes the map. ram_len and PHYS_BITS (of the host's CPU) in bytes and bits. Errors
 * (G_IO_ERROR_INVALID_ARGUMENT) name the option or device, its value and the limit.
 */
bool machine_layout_compute(const MachineTopology *topology, uint64_t ram_len, unsigned n_cpus,
			    unsigned phys_bits, MachineLayout *ret, GError **error);
/* NULL if there is none. */
const MachineBridge *machine_layout_bridge(const MachineLayout *layout, uint32_t uid);

/*
 * Reads DEV[,DEV...][/DEV,...][@GRANULARITY][=SIZE] with names from DEVICES. A bare size, the
 * default of all windows, is not for this function.
 */
bool machine_window_spec_parse(const char *text, const MachineDeviceTraits *devices,
			       unsigned n_devices, MachineWindowSpec *ret, GError **error);

#endif
