/* SPDX-License-Identifier: BSD-3-Clause */
/* The abstract bus the driver works over: config space, BARs, host bridge registers, interrupts. */
#ifndef DRIVER_CXL_BUS_H
#define DRIVER_CXL_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Implemented by a process host (over vfio-user and a software fabric), by the agent (over sysfs
 * and /dev/mem) and by tests. BDF is bus << 8 | device << 3 | function. All return 0 or -errno;
 * widths are 1, 2, 4 or 8 bytes, naturally aligned, little-endian in BUF; a failed read leaves FFh
 * bytes.
 */
typedef struct CxlBus {
	int (*config_read)(void *opaque, uint32_t bdf, uint32_t offset, void *buf, uint32_t len);
	int (*config_write)(void *opaque, uint32_t bdf, uint32_t offset, const void *buf,
			    uint32_t len);
	int (*bar_read)(void *opaque, uint32_t bdf, unsigned bar, uint64_t offset, void *buf,
			uint32_t len);
	int (*bar_write)(void *opaque, uint32_t bdf, unsigned bar, uint64_t offset, const void *buf,
			 uint32_t len);
	/* Length of a BAR, 0 = absent. May be NULL: the driver then sizes BARs through config
	 * space. */
	uint64_t (*bar_len)(void *opaque, uint32_t bdf, unsigned bar);
	/*
	 * Memory behind [offset, offset + len) of a BAR, if it can be mapped; NULL if not. Stays
	 * valid as long as the driver. May be NULL.
	 */
	void *(*bar_map)(void *opaque, uint32_t bdf, unsigned bar, uint64_t offset, uint64_t len);
	/* Component registers of a host bridge (CHBCR, 64 KiB), named by its ACPI UID. */
	int (*chbcr_read)(void *opaque, uint32_t uid, uint32_t offset, void *buf, uint32_t len);
	int (*chbcr_write)(void *opaque, uint32_t uid, uint32_t offset, const void *buf,
			   uint32_t len);
	/* Waits for an interrupt of this function: 1 = came, 0 = time-out, -errno. NULL: poll. */
	int (*irq_wait)(void *opaque, uint32_t bdf, unsigned timeout_ms);
	/*
	 * The same, at most TIMEOUT_US, while a mailbox command runs that the device cannot
	 * complete without the host's memory side, which may use the time. NULL: poll.
	 */
	int (*command_wait)(void *opaque, uint32_t bdf, uint64_t timeout_us);
	uint64_t (*now_us)(void *opaque);
	void (*sleep_us)(void *opaque, uint64_t us);
	/* One line for a person; may be NULL. */
	void (*log)(void *opaque, const char *line);
	/*
	 * Longest bar_read and bar_write of the mailbox payload, which is plain memory; a multiple
	 * of 8. 0 = 8. Registers are never accessed with more than 8 bytes.
	 */
	uint32_t max_access;
	/* bar_read of several registers in one access gives each as if it were read alone, in
	 * ascending order: true where a round trip is what costs. */
	bool reads_bursts;
} CxlBus;

/* What ACPI's CEDT and MCFG would tell. */
typedef struct CxlWindow {
	uint64_t hpa;
	uint64_t len;
	unsigned ways;        /* across host bridges */
	uint32_t granularity; /* bytes */
	uint16_t restrictions;
	uint32_t targets[16]; /* host bridge UIDs in interleave order */
} CxlWindow;

typedef struct CxlHostBridge {
	uint32_t uid;
	uint8_t bus_first, bus_last;
} CxlHostBridge;

typedef struct CxlPlatform {
	const CxlWindow *windows;
	unsigned n_windows;
	const CxlHostBridge *bridges;
	unsigned n_bridges;
	bool assign_buses; /* nobody has numbered buses and enabled memory yet: the driver does */
} CxlPlatform;

#endif
