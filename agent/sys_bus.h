/* SPDX-License-Identifier: BSD-3-Clause */
/* The driver's bus over sysfs and /dev/mem. */
#ifndef AGENT_SYS_BUS_H
#define AGENT_SYS_BUS_H

#include "agent/platform.h"

/*
 * Configuration space is sysfs's config file, a BAR its resourceN, host bridge registers come from
 * /dev/mem. Only the functions that were added are there: what else hangs from the same bridges
 * reads as absent, so that the driver never touches a device it was not given. No interrupts: a
 * function without a kernel driver has none, and a look at the event status costs one register
 * read.
 */
typedef struct SysBus SysBus;

extern const CxlBus sys_bus_ops; /* opaque: SysBus */

/* NULL: out of memory. LOG may be NULL. */
SysBus *sys_bus_new(const char *root, void (*log)(void *opaque, const char *line), void *opaque);
void sys_bus_free(SysBus *bus);
/* The device, the functions above it, and its host bridge; adding one twice is fine. */
bool sys_bus_add(SysBus *bus, const Platform *platform, const PlatformDevice *device,
		 AgentError *error);

#endif
