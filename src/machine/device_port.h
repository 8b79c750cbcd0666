/* SPDX-License-Identifier: BSD-3-Clause */
/* A pool's device at a root port: its registers, its memory, and coming back to it. */
#ifndef MACHINE_DEVICE_PORT_H
#define MACHINE_DEVICE_PORT_H

/*
 * Design. A device has two connections, registers over vfio-user and memory over the memory link,
 * and is away from the moment one of them ends until both are made again by a thread of its own.
 * Meanwhile its registers read all-ones, so that commands fail, and its memory stays as it is: what
 * was exposed is ours until the device takes it back. Coming back: vfio-user first (the device lets
 * nobody else open the memory link), then the link with the same session and a list of all that is
 * held, then the registers that the guest has written, then interrupts, for the guest to look what
 * it has missed.
 */

#include "fabric/fabric.h"
#include "machine/bus.h"
#include "machine/pci_bars.h"
#include "machine/vm.h"

typedef struct DevicePort DevicePort;

/* Strings are copied. */
typedef struct DevicePortConfig {
	KvmVm *vm;
	MachineBus *bus;
	Fabric *fabric;
	uint32_t uid; /* of the host bridge */
	unsigned port;
	PciWindows windows;  /* the host bridge's */
	uint8_t session[16]; /* the machine's */
	uint32_t max_maps;   /* pieces of memory it may lend */
	const char *name, *vfio_path, *mem_path;
	void (*log)(void *opaque, const char *line); /* any thread; may be NULL */
	void *opaque;
} DevicePortConfig;

/* Connects and plugs it. */
DevicePort *device_port_new(const DevicePortConfig *config, GError **error);
/* Disconnects, unplugs and unmaps. No vCPU runs any more. */
void device_port_free(DevicePort *port);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DevicePort, device_port_free)

/* Ends the connection to its registers for good, also for accesses that wait. */
void device_port_abort(DevicePort *port);

#endif
