/* SPDX-License-Identifier: BSD-3-Clause */
/* The parts of one boot of a machine, and how they are put together. */
#ifndef MACHINE_MACHINE_PARTS_H
#define MACHINE_MACHINE_PARTS_H

#include "machine/bus.h"
#include "machine/cpuid.h"
#include "machine/guest_memory.h"
#include "machine/guest_stdio.h"
#include "machine/legacy.h"
#include "machine/machine.h"
#include "machine/pci_host.h"
#include "machine/ram.h"
#include "machine/serial.h"
#include "machine/vcpu.h"
#include "machine/virtio_device.h"
#include "machine/vm.h"
#include "util/uuid.h"

/* Why parts stop; any thread, only the first counts. WHY may be NULL. */
typedef void MachineStopFunc(void *opaque, MachineEnd end, const char *why);

/* Made in this order, freed in the other. */
typedef struct MachineParts {
	Uuid session; /* the caller's, for all boots */
	const MachineConfig *config;
	MachineStopFunc *stop;
	void *opaque;

	KvmVm *vm;
	struct kvm_cpuid2 *cpuid;
	MachineLayout layout;
	MachineBus *bus;
	GuestMemory *memory;
	Ram ram;
	Serial *serials[MACHINE_N_SERIAL];
	Legacy *legacy;
	PciHost *pci;
	GPtrArray *virtio; /* VirtioDevice; off the bus before they go */
	GuestStdio *stdio;
	LoaderEntry entry;
	Vcpu *vcpus[MACHINE_MAX_CPUS];
} MachineParts;

/* All of it, ready to run. On failure machine_parts_clear() is due too. PARTS: zeros but
 * for the session. */
bool machine_parts_make(MachineParts *parts, const MachineConfig *config, MachineStopFunc *stop,
			void *opaque, GError **error);
bool machine_parts_start(MachineParts *parts, GError **error);
/* Returns when no vCPU runs any more and all the guest has written is written. */
void machine_parts_stop(MachineParts *parts);
void machine_parts_clear(MachineParts *parts);

#endif
