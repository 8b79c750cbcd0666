/* SPDX-License-Identifier: BSD-3-Clause */
/* KVM probe: opens it as a machine would, and runs what an emulator of instructions cannot. */
#include "machine/kvm_probe.h"

#include "machine/bus.h"
#include "machine/cpuid.h"
#include "machine/loader.h"
#include "machine/vcpu.h"
#include "machine/vm.h"

#include <gio/gio.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

/*
 * Some virtual machines have a KVM that has no help from the CPU, or none for code at the highest
 * privilege: it carries out a kernel's instructions one by one, and knows only those that touch
 * devices. It says nothing of it, and fails somewhere in the first moments of a kernel. The program
 * does what Linux' decompressor and clear_page() do: vector and bit counting instructions.
 */
#define RAM_LEN    (UINT64_C(1) << 20)
#define CODE_AT    0x10000u
#define PML4_AT    0x1000u
#define PDPT_AT    0x2000u
#define PD_AT      0x3000u
#define GDT_AT     0x500u
#define PORT       0x602
#define EXPECTED   42
#define TIMEOUT_US (5 * G_USEC_PER_SEC)

static const uint8_t program[] = {
	/* Vector code is off after a reset: mov rax, cr4; or eax, OSFXSR; mov cr4, rax */
	0x0f, 0x20, 0xe0, 0x0d, 0x00, 0x02, 0x00, 0x00, 0x0f, 0x22, 0xe0,
	/* mov eax, 21; movd xmm0, eax; paddd xmm0, xmm0; movd eax, xmm0 */
	0xb8, 0x15, 0x00, 0x00, 0x00, 0x66, 0x0f, 0x6e, 0xc0, 0x66, 0x0f, 0xfe, 0xc0, 0x66, 0x0f,
	0x7e, 0xc0,
	/* mov dx, PORT; out dx, al; hlt */
	0x66, 0xba, PORT & 0xff, PORT >> 8, 0xee, 0xf4
};

typedef struct Probe {
	pthread_mutex_t lock;
	pthread_cond_t ended;
	bool has_answer;
	uint8_t answer;
	char *why; /* it ended without */
} Probe;

static void on_write(void *opaque, uint64_t offset, const void *buf, uint32_t len)
{
	Probe *probe = opaque;

	pthread_mutex_lock(&probe->lock);
	probe->has_answer = true;
	probe->answer = *(const uint8_t *)buf;
	pthread_cond_signal(&probe->ended);
	pthread_mutex_unlock(&probe->lock);
}

static void on_read(void *opaque, uint64_t offset, void *buf, uint32_t len)
{
	memset(buf, 0, len);
}

static const MachineBusOps ops = { on_read, on_write };

static void on_end(void *opaque, unsigned id, VcpuEnd end, const char *why)
{
	Probe *probe = opaque;

	pthread_mutex_lock(&probe->lock);
	probe->why = g_strdup(why);
	pthread_cond_signal(&probe->ended);
	pthread_mutex_unlock(&probe->lock);
}

static void put64(uint8_t *at, uint64_t value)
{
	value = GUINT64_TO_LE(value);
	memcpy(at, &value, sizeof(value));
}

static void fill(uint8_t *ram)
{
	put64(ram + GDT_AT + 16, 0x00af9b000000ffff);
	put64(ram + GDT_AT + 24, 0x00cf93000000ffff);
	put64(ram + PML4_AT, PDPT_AT | 3);
	put64(ram + PDPT_AT, PD_AT | 3);
	put64(ram + PD_AT, 0x83);
	memcpy(ram + CODE_AT, program, sizeof(program));
}

/* Until it has answered or cannot go on. */
static void wait_for_end(Probe *probe)
{
	gint64 until = g_get_real_time() + TIMEOUT_US;
	struct timespec deadline = {
		.tv_sec = until / G_USEC_PER_SEC,
		.tv_nsec = until % G_USEC_PER_SEC * 1000,
	};

	pthread_mutex_lock(&probe->lock);
	while (!probe->has_answer && !probe->why) {
		if (pthread_cond_timedwait(&probe->ended, &probe->lock, &deadline))
			probe->why = g_strdup("a handful of instructions took more than 5 s");
	}
	pthread_mutex_unlock(&probe->lock);
}

static bool run_program(KvmVm *vm, MachineBus *bus, Probe *probe, GError **error)
{
	static const LoaderEntry entry = {
		.rip = CODE_AT,
		.rsp = CODE_AT,
		.cr3 = PML4_AT,
		.gdt = GDT_AT,
		.gdt_len = 32,
		.code_selector = 0x10,
		.data_selector = 0x18,
	};
	const CpuidPlan plan = { .n_cpus = 1 };
	g_autofree struct kvm_cpuid2 *table = cpuid_supported(kvm_vm_peek_system_fd(vm), error);
	g_autofree struct kvm_cpuid2 *cpuid = table ? cpuid_for_cpu(table, &plan, 0) : NULL;
	const VcpuConfig config = {
		.vm = vm,
		.bus = bus,
		.cpuid = cpuid,
		.entry = &entry,
		.ended = on_end,
		.opaque = probe,
	};
	g_autoptr(Vcpu) vcpu = cpuid ? vcpu_new(&config, error) : NULL;

	if (!vcpu || !vcpu_start(vcpu, error))
		return false;
	wait_for_end(probe);
	return true;
}

/* NULL if it did what it should. */
static char *run(KvmVm *vm)
{
	uint8_t *ram = mmap(NULL, RAM_LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			    0);
	g_autoptr(MachineBus) bus = machine_bus_new();
	g_autoptr(GError) error = NULL;
	Probe probe = { .has_answer = false };
	uint32_t slot;
	bool ok;

	if (ram == MAP_FAILED)
		return g_strdup("no memory for a guest");
	pthread_mutex_init(&probe.lock, NULL);
	pthread_cond_init(&probe.ended, NULL);
	fill(ram);
	machine_bus_add(bus, MACHINE_BUS_PIO, PORT, 1, &ops, &probe);
	ok = kvm_vm_map(vm, 0, RAM_LEN, ram, false, &slot) == 0 &&
	     run_program(vm, bus, &probe, &error);
	if (ok)
		kvm_vm_unmap(vm, slot);
	munmap(ram, RAM_LEN);
	pthread_cond_destroy(&probe.ended);
	pthread_mutex_destroy(&probe.lock);
	if (!ok)
		return g_strdup(error ? error->message : "KVM takes no memory");
	if (!probe.why && probe.answer != EXPECTED)
		probe.why = g_strdup_printf("21 + 21 is %u there", probe.answer);
	return probe.why;
}

static KvmProbeResult classify(const GError *error)
{
	if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED))
		return KVM_PROBE_NOT_PERMITTED;
	if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED))
		return KVM_PROBE_TOO_OLD;
	return KVM_PROBE_ABSENT;
}

KvmProbeResult kvm_probe(const char *path, char **ret_why)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(KvmVm) vm = kvm_vm_new(path, &error);
	g_autofree char *why = NULL;

	if (!vm) {
		*ret_why = g_strdup(error->message);
		return classify(error);
	}
	why = run(vm);
	*ret_why = NULL;
	if (!why)
		return KVM_PROBE_OK;
	*ret_why = g_strdup_printf("KVM is there but cannot run a kernel: %s; this is so where a "
				   "virtual machine has KVM without nested virtualization, which "
				   "has to be enabled in the hypervisor below",
				   why);
	return KVM_PROBE_CANNOT_RUN;
}
