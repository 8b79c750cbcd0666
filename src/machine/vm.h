/* SPDX-License-Identifier: BSD-3-Clause */
/* KVM virtual machine: memory slots, interrupts and event descriptors; no devices, no policy. */
#ifndef MACHINE_VM_H
#define MACHINE_VM_H

/*
 * All functions may be called from any thread at any time between kvm_vm_new() and kvm_vm_free(),
 * also from a vCPU thread in the middle of an access: no lock is held across anything that waits
 * for a vCPU.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct KvmVm KvmVm;
typedef struct KvmMsi KvmMsi;

/* PATH NULL = /dev/kvm. Errors say what is missing and how to get it. */
KvmVm *kvm_vm_new(const char *path, GError **error);
/* All vCPUs and KvmMsi are gone before. */
void kvm_vm_free(KvmVm *vm);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(KvmVm, kvm_vm_free)

/* Of /dev/kvm and of the VM, for vCPU code. */
int kvm_vm_peek_system_fd(KvmVm *vm);
int kvm_vm_peek_fd(KvmVm *vm);

/* ---- memory slots ---- */

/*
 * Makes LEN bytes at HVA the guest's memory at GPA: all three multiples of 4 KiB. Huge mappings
 * need GPA = HVA modulo 2 MiB. A guest's writes to read-only memory become bus accesses. 0 or
 * -errno: -EEXIST overlaps another slot, -ENOSPC no slot is free.
 */
int kvm_vm_map(KvmVm *vm, uint64_t gpa, uint64_t len, void *hva, bool readonly, uint32_t *ret_slot);
/* When it returns no vCPU reaches the memory. */
int kvm_vm_unmap(KvmVm *vm, uint32_t slot);
/* Slots in all, and those in use. */
uint32_t kvm_vm_max_maps(KvmVm *vm);
uint32_t kvm_vm_n_maps(KvmVm *vm);
/* Deleting one slot does not cost the guest the mappings of all others (Linux 6.12 and later). */
bool kvm_vm_unmap_is_cheap(KvmVm *vm);

/* ---- interrupts ---- */

/* A rising edge on an IOAPIC pin and back. 0 or -errno. */
int kvm_vm_pulse(KvmVm *vm, unsigned gsi);
/* The level of an IOAPIC pin. */
int kvm_vm_set_level(KvmVm *vm, unsigned gsi, bool high);

/*
 * One message signalled interrupt vector. It starts masked, with an eventfd: writing 1 there, from
 * any process, raises it. NULL if no more fit (4,072) or for want of descriptors.
 */
KvmMsi *kvm_msi_new(KvmVm *vm, GError **error);
void kvm_msi_free(KvmMsi *msi);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(KvmMsi, kvm_msi_free)
int kvm_msi_peek_fd(KvmMsi *msi);
/*
 * What the guest wrote to its table entry. While MASKED (by the entry, the function or for want of
 * MSI-X enable) what is raised stays pending; it is delivered, once, when unmasked. 0 or -errno,
 * then it is masked.
 */
int kvm_msi_set(KvmMsi *msi, uint64_t address, uint32_t data, bool masked);
/* Raised while masked and not delivered: the bit of the pending bit array. */
bool kvm_msi_is_pending(KvmMsi *msi);
/* Raises it, as a write to the eventfd does. */
void kvm_msi_raise(KvmMsi *msi);
/* Forgets what is pending, as a reset of the function does. */
void kvm_msi_clear(KvmMsi *msi);
/*
 * Between begin and end kvm_msi_set() of this thread and others only takes note: one update of the
 * routing table for many vectors. Nestable. End returns 0 or the first -errno.
 */
void kvm_vm_msi_begin(KvmVm *vm);
int kvm_vm_msi_end(KvmVm *vm);

/* ---- event descriptors for writes ---- */

/*
 * ON: a guest's write of LEN bytes (1, 2, 4, 8; 0 = any) at GPA signals FD instead of becoming a
 * bus access. The same arguments take it off. 0 or -errno.
 */
int kvm_vm_ioeventfd(KvmVm *vm, uint64_t gpa, uint32_t len, int fd, bool on);

#endif
