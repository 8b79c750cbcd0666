/* SPDX-License-Identifier: BSD-3-Clause */
/* CPUID: what is changed of what KVM gives, on tables as Intel's and AMD's CPUs have them. */
#include "machine/cpuid.h"

#include <string.h>

static struct kvm_cpuid2 *table_new(const struct kvm_cpuid_entry2 *entries, size_t n)
{
	struct kvm_cpuid2 *table = g_malloc0(sizeof(*table) + n * sizeof(*entries));

	table->nent = (uint32_t)n;
	memcpy(table->entries, entries, n * sizeof(*entries));
	return table;
}

static const struct kvm_cpuid_entry2 *find(const struct kvm_cpuid2 *table, uint32_t leaf,
					   uint32_t index)
{
	for (uint32_t i = 0; i < table->nent; i++) {
		if (table->entries[i].function == leaf && table->entries[i].index == index)
			return &table->entries[i];
	}
	return NULL;
}

static const struct kvm_cpuid_entry2 amd[] = {
	{ .function = 0, .eax = 0x10, .ebx = 0x68747541, .ecx = 0x444d4163, .edx = 0x69746e65 },
	{ .function = 1, .ebx = 0xab12cd00, .ecx = 0x80000001, .edx = 0x1 },
	{ .function = 0xb, .index = 0, .eax = 7, .ebx = 7, .ecx = 7, .edx = 7 },
	{ .function = 0xb, .index = 1, .eax = 7, .ebx = 7, .ecx = 7, .edx = 7 },
	{ .function = 0x40000000, .eax = 0x40000001 },
	{ .function = 0x40000001, .eax = 0xffff },
	{ .function = 0x80000001, .ecx = 0xffffffff },
	{ .function = 0x80000007, .edx = 0 },
	{ .function = 0x80000008, .eax = 0x3028, .ecx = 0xffff },
	{ .function = 0x8000001d, .index = 0, .eax = 0x03fff121 },
	{ .function = 0x8000001d, .index = 3, .eax = 0x00000163 },
	{ .function = 0x8000001e, .eax = 99, .ebx = 0xff, .ecx = 0xff },
};

static const struct kvm_cpuid_entry2 intel[] = {
	{ .function = 0, .eax = 0xd, .ebx = 0x756e6547, .ecx = 0x6c65746e, .edx = 0x49656e69 },
	{ .function = 1, .ecx = 0x80000020 },
	{ .function = 4, .index = 0, .eax = 0xfc004121 },
	{ .function = 4, .index = 3, .eax = 0xfc1fc163 },
	{ .function = 4, .index = 4, .eax = 0 },
	{ .function = 0xa, .eax = 0x07300402, .edx = 0x603 },
	{ .function = 0x80000008, .eax = 0x302e },
};

static void test_amd(void)
{
	g_autofree struct kvm_cpuid2 *table = table_new(amd, G_N_ELEMENTS(amd));
	const CpuidPlan plan = { .n_cpus = 6, .tsc_khz = 2000000 };
	g_autofree struct kvm_cpuid2 *cpu = cpuid_for_cpu(table, &plan, 5);

	g_assert_cmpuint(cpuid_phys_bits(table), ==, 40);
	/* No hypervisor, its bit and its leaves; deadline timer; own number and count. */
	g_assert_cmphex(find(cpu, 1, 0)->ecx, ==, 0x01000001);
	g_assert_cmphex(find(cpu, 1, 0)->ebx, ==, 0x0506cd00);
	g_assert_cmphex(find(cpu, 1, 0)->edx, ==, 0x10000001);
	g_assert_null(find(cpu, 0x40000000, 0));
	g_assert_null(find(cpu, 0x40000001, 0));
	g_assert_cmphex(find(cpu, 0x80000001, 0)->ecx & 4, ==, 0);
	/* A thread in a core, cores in a package of at most eight. */
	g_assert_cmphex(find(cpu, 0xb, 0)->eax, ==, 0);
	g_assert_cmphex(find(cpu, 0xb, 0)->ebx, ==, 1);
	g_assert_cmphex(find(cpu, 0xb, 0)->ecx, ==, 0x100);
	g_assert_cmphex(find(cpu, 0xb, 1)->eax, ==, 3);
	g_assert_cmphex(find(cpu, 0xb, 1)->ebx, ==, 6);
	g_assert_cmphex(find(cpu, 0xb, 1)->ecx, ==, 0x201);
	g_assert_cmphex(find(cpu, 0xb, 1)->edx, ==, 5);
	g_assert_cmphex(find(cpu, 0x80000007, 0)->edx, ==, 0x100);
	g_assert_cmphex(find(cpu, 0x80000008, 0)->eax, ==, 0x3028);
	g_assert_cmphex(find(cpu, 0x80000008, 0)->ecx & 0xff, ==, 5);
	/* The first level is a core's, the third everybody's. */
	g_assert_cmphex(find(cpu, 0x8000001d, 0)->eax, ==, 0x3121);
	g_assert_cmphex(find(cpu, 0x8000001d, 3)->eax >> 14, ==, 5);
	g_assert_cmphex(find(cpu, 0x8000001e, 0)->eax, ==, 5);
	g_assert_cmphex(find(cpu, 0x8000001e, 0)->ebx, ==, 5);
	/* Linux does not believe it on AMD, and others might. */
	g_assert_null(find(cpu, 0x15, 0));
	/* The table itself is as it was. */
	g_assert_cmpint(memcmp(table->entries, amd, sizeof(amd)), ==, 0);
}

static void test_intel(void)
{
	g_autofree struct kvm_cpuid2 *table = table_new(intel, G_N_ELEMENTS(intel));
	const CpuidPlan plan = { .n_cpus = 2, .tsc_khz = 2100000 };
	g_autofree struct kvm_cpuid2 *cpu = cpuid_for_cpu(table, &plan, 1);
	const struct kvm_cpuid_entry2 *clock = find(cpu, 0x15, 0);

	g_assert_cmphex(find(cpu, 1, 0)->ecx, ==, 0x01000000);
	g_assert_cmphex(find(cpu, 4, 0)->eax >> 14 & 0xfff, ==, 0);
	g_assert_cmphex(find(cpu, 4, 0)->eax >> 26, ==, 1);
	g_assert_cmphex(find(cpu, 4, 3)->eax >> 14 & 0xfff, ==, 1);
	g_assert_cmphex(find(cpu, 4, 4)->eax, ==, 0);
	g_assert_cmphex(find(cpu, 0xa, 0)->eax, ==, 0);
	g_assert_cmphex(find(cpu, 0, 0)->eax, ==, 0x16);
	g_assert_nonnull(clock);
	g_assert_cmpuint((uint64_t)clock->ecx * clock->ebx / clock->eax, ==, 2100000000);
	g_assert_cmpuint(clock->ecx, ==, 1000000000); /* KVM's LAPIC timer */
	g_assert_cmpuint(find(cpu, 0x16, 0)->eax, ==, 2100);
}

/* One CPU, no clock: nothing is made up. */
static void test_least(void)
{
	g_autofree struct kvm_cpuid2 *table = table_new(intel, 2);
	const CpuidPlan plan = { .n_cpus = 1 };
	g_autofree struct kvm_cpuid2 *cpu = cpuid_for_cpu(table, &plan, 0);

	g_assert_cmpuint(cpu->nent, ==, 2);
	g_assert_cmpuint(cpuid_phys_bits(table), ==, 36);
	g_assert_cmphex(find(cpu, 1, 0)->edx, ==, 0);
	g_assert_cmphex(find(cpu, 0, 0)->eax, ==, 0xd);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/machine/cpuid/amd", test_amd);
	g_test_add_func("/machine/cpuid/intel", test_intel);
	g_test_add_func("/machine/cpuid/least", test_least);
	return g_test_run();
}
