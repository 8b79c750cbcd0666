/* SPDX-License-Identifier: BSD-3-Clause */
/* The few I/O ports of a PC that Linux cannot do without: clock, timer, sleep, reset. */
#ifndef MACHINE_LEGACY_H
#define MACHINE_LEGACY_H

#include "machine/bus.h"

typedef struct Legacy Legacy;

typedef struct LegacyOps {
	/* The guest has switched itself off, or asked for a reset. From the vCPU's thread. */
	void (*power_off)(void *opaque);
	void (*reset)(void *opaque);
} LegacyOps;

/* OPS and OPAQUE outlive it. NULL if a port is taken. */
Legacy *legacy_new(MachineBus *bus, const LegacyOps *ops, void *opaque);
void legacy_free(Legacy *legacy);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Legacy, legacy_free)

#endif
