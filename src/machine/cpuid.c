/* SPDX-License-Identifier: BSD-3-Clause */
/* CPUID: KVM's table, made into that of a real CPU with a good clock and this machine's topology.
 */
#include "machine/cpuid.h"

#include <errno.h>
#include <gio/gio.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>

#define MAX_ENTRIES 1024u
#define HYPERVISOR  0x40000000u
#define EXTENDED    0x80000000u

/* Leaf 1 */
#define ECX_VMX          (1u << 5)
#define ECX_TSC_DEADLINE (1u << 24)
#define ECX_HYPERVISOR   (1u << 31)
/* Leaf 80000001h */
#define ECX_SVM (1u << 2)
/* Leaf 80000007h */
#define EDX_INVARIANT_TSC (1u << 8)

/* "GenuineIntel" in the order EBX, EDX, ECX */
#define INTEL_EBX 0x756e6547u
#define INTEL_EDX 0x49656e69u
#define INTEL_ECX 0x6c65746eu

#define LEVEL_SMT  1u
#define LEVEL_CORE 2u

struct kvm_cpuid2 *cpuid_supported(int kvm_fd, GError **error)
{
	for (unsigned n = 128; n <= MAX_ENTRIES; n *= 2) {
		struct kvm_cpuid2 *table =
			g_malloc0(sizeof(*table) + n * sizeof(table->entries[0]));

		table->nent = n;
		if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, table) == 0)
			return table;
		g_free(table);
		if (errno != E2BIG)
			break;
	}
	g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno),
		    "KVM: what this CPU can do: %s", g_strerror(errno));
	return NULL;
}

static const struct kvm_cpuid_entry2 *find(const struct kvm_cpuid2 *table, uint32_t leaf)
{
	for (uint32_t i = 0; i < table->nent; i++) {
		if (table->entries[i].function == leaf)
			return &table->entries[i];
	}
	return NULL;
}

unsigned cpuid_phys_bits(const struct kvm_cpuid2 *table)
{
	const struct kvm_cpuid_entry2 *entry = find(table, EXTENDED + 8);

	return entry ? entry->eax & 0xff : 36;
}

static bool is_intel(const struct kvm_cpuid2 *table)
{
	const struct kvm_cpuid_entry2 *entry = find(table, 0);

	return entry && entry->ebx == INTEL_EBX && entry->edx == INTEL_EDX &&
	       entry->ecx == INTEL_ECX;
}

/* Bits of an APIC id that tell N cores apart. */
static unsigned id_bits(unsigned n)
{
	unsigned bits = 0;

	while ((1u << bits) < n)
		bits++;
	return bits;
}

/* One thread in each core, all cores in one package, on both vendors' topology leaves. */
static void set_topology(struct kvm_cpuid_entry2 *entry, unsigned n_cpus, unsigned apic_id)
{
	uint32_t level = entry->index;

	entry->edx = apic_id;
	entry->ecx = level;
	entry->eax = level == 0 ? 0 : id_bits(n_cpus);
	entry->ebx = level == 0 ? 1 : n_cpus;
	if (level == 0)
		entry->ecx |= LEVEL_SMT << 8;
	else if (level == 1)
		entry->ecx |= LEVEL_CORE << 8;
	else
		entry->eax = entry->ebx = 0;
}

/* Intel's deterministic caches: the first two levels are a core's own, the rest is everybody's. */
static void set_cache_sharing(struct kvm_cpuid_entry2 *entry, unsigned n_cpus)
{
	unsigned level = entry->eax >> 5 & 7;

	if (!(entry->eax & 0x1f))
		return;
	entry->eax &= 0x3fff;
	if (level >= 3)
		entry->eax |= (MIN(1u << id_bits(n_cpus), 4096u) - 1) << 14;
	entry->eax |= MIN((1u << id_bits(n_cpus)) - 1, 63u) << 26;
}

/* AMD's: the same, without the count of cores. */
static void set_amd_cache_sharing(struct kvm_cpuid_entry2 *entry, unsigned n_cpus)
{
	unsigned level = entry->eax >> 5 & 7;

	if (!(entry->eax & 0x1f))
		return;
	entry->eax &= 0x3fff;
	if (level >= 3)
		entry->eax |= (n_cpus - 1) << 14;
}

static void set_features(struct kvm_cpuid_entry2 *entry, unsigned n_cpus, unsigned apic_id)
{
	entry->ebx = (entry->ebx & 0xffff) | MIN(n_cpus, 255u) << 16 | apic_id << 24;
	/* KVM's interrupt controller has had it for long; kernels before 7.3 do not say so. */
	entry->ecx = (entry->ecx & ~(ECX_HYPERVISOR | ECX_VMX)) | ECX_TSC_DEADLINE;
	if (n_cpus > 1)
		entry->edx |= 1u << 28; /* EBX has a count */
}

static void adjust(struct kvm_cpuid_entry2 *entry, const CpuidPlan *plan, unsigned apic_id)
{
	switch (entry->function) {
	case 1:
		set_features(entry, plan->n_cpus, apic_id);
		break;
	case 4:
		set_cache_sharing(entry, plan->n_cpus);
		break;
	case 0xa: /* performance counters: none */
		entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
		break;
	case 0xb:
	case 0x1f:
	case EXTENDED + 0x26:
		set_topology(entry, plan->n_cpus, apic_id);
		break;
	case EXTENDED + 1:
		entry->ecx &= ~ECX_SVM; /* no machines within the machine */
		break;
	case EXTENDED + 7:
		/* Without it Linux judges the clock by jiffies, and leaves it. */
		entry->edx |= EDX_INVARIANT_TSC;
		break;
	case EXTENDED + 8:
		entry->ecx = (entry->ecx & ~0xf0ffu) | (plan->n_cpus - 1) |
			     id_bits(plan->n_cpus) << 12;
		break;
	case EXTENDED + 0x1d:
		set_amd_cache_sharing(entry, plan->n_cpus);
		break;
	case EXTENDED + 0x1e:
		entry->eax = apic_id;
		entry->ebx = apic_id & 0xff;
		entry->ecx = 0;
		break;
	default:
		break;
	}
}

static bool is_kept(const struct kvm_cpuid_entry2 *entry)
{
	return (entry->function & 0xf0000000u) != HYPERVISOR;
}

static struct kvm_cpuid_entry2 *get_or_add(struct kvm_cpuid2 *table, uint32_t leaf)
{
	for (uint32_t i = 0; i < table->nent; i++) {
		if (table->entries[i].function == leaf)
			return &table->entries[i];
	}
	table->entries[table->nent] = (struct kvm_cpuid_entry2){ .function = leaf };
	return &table->entries[table->nent++];
}

/* The clock's frequency, in the leaves Linux believes on Intel only. */
static void add_clock(struct kvm_cpuid2 *table, uint32_t tsc_khz)
{
	struct kvm_cpuid_entry2 *basic = get_or_add(table, 0);
	struct kvm_cpuid_entry2 *ratio, *mhz;

	basic->eax = MAX(basic->eax, 0x16u);
	ratio = get_or_add(table, 0x15);
	/* Linux takes the crystal for the LAPIC timer's clock too: KVM's runs at 1 GHz. */
	ratio->eax = 1000000;
	ratio->ebx = tsc_khz;
	ratio->ecx = 1000000000;
	mhz = get_or_add(table, 0x16);
	mhz->eax = mhz->ebx = tsc_khz / 1000;
	mhz->ecx = 100;
}

struct kvm_cpuid2 *cpuid_for_cpu(const struct kvm_cpuid2 *table, const CpuidPlan *plan,
				 unsigned apic_id)
{
	/* Two more than there are, for the clock. */
	struct kvm_cpuid2 *copy =
		g_malloc0(sizeof(*copy) + (table->nent + 2) * sizeof(copy->entries[0]));

	for (uint32_t i = 0; i < table->nent; i++) {
		if (!is_kept(&table->entries[i]))
			continue;
		copy->entries[copy->nent] = table->entries[i];
		adjust(&copy->entries[copy->nent++], plan, apic_id);
	}
	if (is_intel(table) && plan->tsc_khz)
		add_clock(copy, plan->tsc_khz);
	return copy;
}
