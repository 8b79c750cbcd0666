/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kernel and ACPI say of CXL: host bridges, windows, memory devices and who drives them.
 */
#ifndef AGENT_PLATFORM_H
#define AGENT_PLATFORM_H

#include "agent/cedt.h"
#include "agent/error.h"
#include "agent/sysfs.h"

#define PLATFORM_MAX_DEVICES 64
#define PLATFORM_MAX_PATH    10 /* functions from the root port down to the device, itself too */

typedef struct PlatformBridge {
	uint32_t uid;
	uint32_t domain; /* PCI */
	uint8_t bus_first, bus_last;
	uint64_t chbcr;
	char name[16]; /* of its directory: "pci0000:0c" */
} PlatformBridge;

typedef struct PlatformDevice {
	uint32_t domain, bdf;
	char name[BDF_TEXT_LEN];          /* "0000:0d:00.0" */
	char driver[64];                  /* the kernel's that is bound to it; "" = none */
	int bridge;                       /* index; -1: not below a CXL host bridge */
	uint32_t path[PLATFORM_MAX_PATH]; /* BDFs, from the root port down to itself */
	unsigned n_path;
} PlatformDevice;

/* Large: not for the stack */
typedef struct Platform {
	Cedt cedt;
	PlatformBridge bridges[CEDT_MAX_BRIDGES];
	unsigned n_bridges;
	PlatformDevice devices[PLATFORM_MAX_DEVICES]; /* CXL memory devices */
	unsigned n_devices;
} Platform;

/* Reads sysfs below ROOT ("": the real one); touches no device. */
bool platform_read(Platform *ret_platform, const char *root, AgentError *error);
/* The device of this name ("0000:0d:00.0", "0d:00.0"); NULL with an error if it is not there. */
const PlatformDevice *platform_find(const Platform *platform, const char *name, AgentError *error);
/*
 * Windows that lead to this host bridge and to no other: their number, at most CEDT_MAX_WINDOWS, to
 * RET_WINDOWS.
 */
unsigned platform_windows(const Platform *platform, const PlatformBridge *bridge,
			  CxlWindow *ret_windows);
/*
 * May we have the device: it and its neighbours below the host bridge have no kernel driver, and a
 * window leads there alone. False with the reason and its cure.
 */
bool platform_may_take(const Platform *platform, const PlatformDevice *device, AgentError *error);
/*
 * Who holds [START, START + LEN) of physical memory as busy, by /proc/iomem; false if nobody does,
 * or it cannot be told.
 */
bool platform_busy_owner(const char *root, uint64_t start, uint64_t len, char ret_owner[64]);

#endif
