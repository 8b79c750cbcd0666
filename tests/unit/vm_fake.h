/* SPDX-License-Identifier: BSD-3-Clause */
/* A virtual machine without KVM: the calls of machine/vm.h, and what they came to. */
#ifndef TESTS_VM_FAKE_H
#define TESTS_VM_FAKE_H

#include "machine/bus.h"
#include "machine/vm.h"

/* Replaces the real one in whatever links it. Slots do not overlap, as KVM sees to. */

typedef struct VmFakeSlot {
	uint64_t gpa, len;
	uint8_t *hva;
	bool readonly;
	uint32_t slot;
} VmFakeSlot;

KvmVm *vm_fake_new(void);
void vm_fake_set_max_maps(KvmVm *vm, uint32_t max);
/* The K-th kvm_vm_map() from now on fails with -ENOSPC, counting from 1; 0: none. */
void vm_fake_fail_at(KvmVm *vm, unsigned k);
unsigned vm_fake_n_slots(KvmVm *vm);
/* False if no slot covers GPA. */
bool vm_fake_find(KvmVm *vm, uint64_t gpa, VmFakeSlot *ret);
/* As a vCPU does it: to memory where a slot is, else to the bus, at most 8 bytes at a time. */
void vm_fake_access(KvmVm *vm, MachineBus *bus, uint64_t gpa, void *buf, uint64_t len,
		    bool is_write);
/* Interrupts with this message that were delivered since the last time. */
unsigned vm_fake_take_irqs(KvmVm *vm, uint64_t address, uint32_t data);
/* An IOAPIC pin: its level, and rising edges since the last time. */
bool vm_fake_level(KvmVm *vm, unsigned gsi);
unsigned vm_fake_take_edges(KvmVm *vm, unsigned gsi);

#endif
