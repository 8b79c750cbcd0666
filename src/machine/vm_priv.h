/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the VM share. */
#ifndef MACHINE_VM_PRIV_H
#define MACHINE_VM_PRIV_H

#include "machine/kvm_uapi.h"
#include "machine/vm.h"

#include <pthread.h>

#define VM_N_PINS 24u /* of the IOAPIC: GSIs 0..23 */

struct KvmVm {
	int system_fd, fd;

	pthread_mutex_t slot_lock; /* never held across an ioctl */
	GArray *free_slots;        /* uint32_t: those that were used and are free again */
	uint32_t next_slot, max_slots, n_slots;
	bool unmap_is_cheap;

	pthread_mutex_t msi_lock; /* also across ioctls, none of which waits for a vCPU */
	GPtrArray *msis;          /* by GSI - VM_N_PINS; NULL = free. Not owned. */
	unsigned max_msis;
	unsigned n_batches; /* kvm_vm_msi_begin() without end */
};

/* 0 or -errno. Interrupts of the IOAPIC. */
int vm_msi_init(KvmVm *vm);
void vm_msi_clear(KvmVm *vm);

#endif
