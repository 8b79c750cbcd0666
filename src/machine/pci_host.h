/* SPDX-License-Identifier: BSD-3-Clause */
/* PCI Express of the machine: ECAM, the plain host bridge, CXL host bridges, and their windows. */
#ifndef MACHINE_PCI_HOST_H
#define MACHINE_PCI_HOST_H

/*
 * On the bus it answers for ECAM, the host bridges' component registers, BARs, and whatever in the
 * CXL windows is no memory. Bridge 0 has functions of this process, the others root ports, each
 * with at most one device of a pool behind it.
 */

#include "fabric/fabric.h"
#include "machine/bus.h"
#include "machine/guest_memory.h"
#include "machine/layout.h"
#include "machine/machine.h"
#include "machine/pci_device.h"
#include "machine/vm.h"
#include "util/uuid.h"

typedef struct PciHost PciHost;

typedef struct PciHostConfig {
	KvmVm *vm;
	MachineBus *bus;
	GuestMemory *memory;         /* these four outlive it */
	const MachineLayout *layout; /* layout->plugs says where devices go */
	Uuid session; /* by which devices know it; the same over all boots of a machine */
	bool verbose;
	/* Sentences for a person, from any thread. May be NULL. */
	void (*log)(void *opaque, const char *line);
	void *opaque;
} PciHostConfig;

PciHost *pci_host_new(const PciHostConfig *config, GError **error);
/* Accesses to devices end at once, also those that wait for one that stands still; their memory
 * stays. For the end of the machine, before CPUs are waited for. */
void pci_host_abort(PciHost *host);
/* Lets go of all devices and what they lent. No vCPU runs any more; plugged functions are still
 * their owners'. */
void pci_host_free(PciHost *host);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PciHost, pci_host_free)

/* Next free device number on the plain bridge. Before vCPUs run. DEV outlives the host. */
bool pci_host_plug(PciHost *host, PciDevice *dev, GError **error);
/*
 * Connects device number NUMBER of the topology and plugs it. Before vCPUs run, but after all that
 * listens to the guest's memory: the limits the device is told depend on that. From then on it is
 * connected again whenever it comes back.
 */
bool pci_host_attach(PciHost *host, unsigned number, const MachineDevice *config, GError **error);
/* Accesses to window addresses where no memory was; memory slots in windows. */
void pci_host_stats(PciHost *host, FabricStats *ret);

#endif
