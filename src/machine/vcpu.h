/* SPDX-License-Identifier: BSD-3-Clause */
/* vCPU: a thread that runs guest code and carries its accesses to the bus. */
#ifndef MACHINE_VCPU_H
#define MACHINE_VCPU_H

#include "machine/bus.h"
#include "machine/cpuid.h"
#include "machine/loader.h"
#include "machine/vm.h"

#include <glib.h>

typedef struct Vcpu Vcpu;

/* Why a vCPU cannot go on. */
typedef enum VcpuEnd {
	VCPU_END_TRIPLE_FAULT,
	VCPU_END_KVM, /* an instruction it cannot carry out, memory that is not there, ... */
} VcpuEnd;

typedef struct VcpuConfig {
	KvmVm *vm;
	MachineBus *bus;
	unsigned id;                    /* and APIC id; 0 starts, the others wait for it */
	const struct kvm_cpuid2 *cpuid; /* of this CPU; copied */
	const LoaderEntry *entry;       /* for CPU 0; copied */
	/* From the vCPU's thread, which has then stopped. WHY: a sentence with RIP and the like. */
	void (*ended)(void *opaque, unsigned id, VcpuEnd end, const char *why);
	void *opaque;
} VcpuConfig;

/* Makes it; nothing runs yet. From one thread for all CPUs. */
Vcpu *vcpu_new(const VcpuConfig *config, GError **error);
/* Stopped. */
void vcpu_free(Vcpu *vcpu);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Vcpu, vcpu_free)

bool vcpu_start(Vcpu *vcpu, GError **error);
/* Asks it to leave the guest for good; does not wait. Any thread, also its own. */
void vcpu_stop(Vcpu *vcpu);
/* Until its thread has ended. */
void vcpu_join(Vcpu *vcpu);

/*
 * When vcpu_hold() returns it is not in the guest, and does not go there until vcpu_let_go(), which
 * the same thread calls. One in the middle of an access goes on with that. From any thread, also a
 * vCPU's own in the middle of an access; by one at a time for all vCPUs.
 */
void vcpu_hold(Vcpu *vcpu);
void vcpu_let_go(Vcpu *vcpu);

#endif
