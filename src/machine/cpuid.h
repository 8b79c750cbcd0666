/* SPDX-License-Identifier: BSD-3-Clause */
/* CPUID: what a guest's CPU says of itself. */
#ifndef MACHINE_CPUID_H
#define MACHINE_CPUID_H

#include "machine/kvm_uapi.h"

#include <glib.h>
#include <stdint.h>

typedef struct CpuidPlan {
	unsigned n_cpus;
	uint32_t tsc_khz; /* 0 = unknown */
} CpuidPlan;

/* What KVM can give a guest on this CPU. NULL and an error; the caller frees with g_free(). */
struct kvm_cpuid2 *cpuid_supported(int kvm_fd, GError **error);

/*
 * TABLE (of cpuid_supported()) for the CPU with this APIC id: the caller's copy, g_free(). The
 * hypervisor bit is clear, for Linux commits CXL regions only where CPU caches can be flushed, and
 * believes no virtual machine can.
 */
struct kvm_cpuid2 *cpuid_for_cpu(const struct kvm_cpuid2 *table, const CpuidPlan *plan,
				 unsigned apic_id);

/* Physical address bits that TABLE tells the guest. */
unsigned cpuid_phys_bits(const struct kvm_cpuid2 *table);

#endif
