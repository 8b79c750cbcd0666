/* SPDX-License-Identifier: BSD-3-Clause */
/* Pieces are cut out of memory that two CPUs read all the time, on this computer's KVM: no CPU sees
 * the slots change, and none stands still. */
#include "machine/guest_memory.h"
#include "machine/kvm_probe.h"
#include "machine/vcpu.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE       0x1000u
#define CODE_AT    0x10000u
#define CODE_1_AT  0x20000u /* where the second CPU begins, in real mode */
#define COUNTS_AT  0x5000u
#define RAM_LEN    0x80000u
#define REGION     0x80000u
#define REGION_LEN 0x10000u
#define N_PAGES    (REGION_LEN / PAGE)
#define PORT       0x600u

#define ROUNDS   2000u
#define RUN_US   (5 * G_USEC_PER_SEC) /* a slow computer does fewer rounds */
#define HOLDS    30000u
#define STOPS    10u
#define N_CPUS   2u
#define PML4_AT  0x1000u
#define PDPT_AT  0x2000u
#define PD_AT    0x3000u
#define PD_3_AT  0x4000u
#define GDT_AT   0x500u
#define LAPIC_PD ((0xfee00000u >> 21) & 511)

/*
 * Both read the first word of every other page, which holds the page's address, and count rounds.
 * The first CPU also leaves the guest once a round, by reading PORT. A wrong word goes to PORT.
 */
__asm__(".pushsection .rodata\n"
	"cut_code:\n"
	"	mov $0xfee00000, %edi\n"
	"	movl $0x000001ff, 0xf0(%rdi)\n" /* on: KVM finds out anew who there is */
	"	movl $0x01000000, 0x310(%rdi)\n"
	"	movl $0x00004500, 0x300(%rdi)\n" /* INIT to the second CPU */
	"	movl $0x00004620, 0x300(%rdi)\n" /* which starts at 0x20000 */
	"1:	mov $0x80000, %ebx\n"
	"2:	mov (%rbx), %rax\n"
	"	cmp %rbx, %rax\n"
	"	jne 3f\n"
	"	add $0x2000, %ebx\n"
	"	cmp $0x90000, %ebx\n"
	"	jb 2b\n"
	"	mov $0x5000, %esi\n"
	"	incl (%rsi)\n"
	"	mov $0x600, %edx\n"
	"	in %dx, %al\n"
	"	jmp 1b\n"
	"3:	mov $0x600, %edx\n"
	"	out %al, %dx\n"
	"4:	hlt\n"
	"	jmp 4b\n"
	"cut_code_end:\n"
	".code16\n"
	"cut_code_1:\n"
	"	mov $0x8000, %ax\n"
	"	mov %ax, %ds\n"
	"	xor %ax, %ax\n"
	"	mov %ax, %es\n"
	"1:	xor %bx, %bx\n"
	"	mov $0x80000, %ecx\n"
	"2:	mov (%bx), %eax\n"
	"	cmp %ecx, %eax\n"
	"	jne 3f\n"
	"	add $0x2000, %ecx\n"
	"	add $0x2000, %bx\n"
	"	jnz 2b\n"
	"	incl %es:0x5004\n"
	"	jmp 1b\n"
	"3:	mov $0x600, %dx\n"
	"	out %al, %dx\n"
	"4:	hlt\n"
	"	jmp 4b\n"
	"cut_code_1_end:\n"
	".code64\n"
	"	.popsection\n");
extern const uint8_t cut_code[], cut_code_end[], cut_code_1[], cut_code_1_end[];

typedef struct Computer {
	KvmVm *vm;
	MachineBus *bus;
	GuestMemory *memory;
	uint8_t *ram, *lent;
	Vcpu *vcpus[N_CPUS];
	GMutex changing;   /* of the regions, for more than one call */
	atomic_int wanted; /* the page that the first CPU is to cut out itself, -1 = none */
	atomic_uint n_misses, n_wrong, n_ended;
} Computer;

/* ---- changes of the regions ---- */

static void pause_all(void *opaque)
{
	Computer *computer = opaque;

	for (unsigned i = 0; i < N_CPUS; i++)
		vcpu_hold(computer->vcpus[i]);
}

static void resume_all(void *opaque)
{
	Computer *computer = opaque;

	for (unsigned i = 0; i < N_CPUS; i++)
		vcpu_let_go(computer->vcpus[i]);
}

static const GuestPauser pauser = { .pause = pause_all, .resume = resume_all };

static void cut(Computer *computer, unsigned page)
{
	uint64_t gpa = REGION + page * PAGE;
	GuestRegion region;

	g_mutex_lock(&computer->changing);
	if (guest_memory_find(computer->memory, gpa, PAGE, &region))
		guest_memory_cut(computer->memory, region.gpa, region.len, gpa, PAGE);
	g_mutex_unlock(&computer->changing);
}

static void add_whole(Computer *computer)
{
	GuestRegion whole = {
		.gpa = REGION,
		.len = REGION_LEN,
		.hva = computer->lent,
		.fd = -1,
		.writable = true,
	};

	g_assert_cmpint(guest_memory_add(computer->memory, &whole), ==, 0);
}

/* One region again. */
static void restore(Computer *computer)
{
	GuestRegion region;

	g_mutex_lock(&computer->changing);
	pause_all(computer);
	for (unsigned page = 0; page < N_PAGES; page++) {
		if (guest_memory_find(computer->memory, REGION + page * PAGE, PAGE, &region))
			guest_memory_remove(computer->memory, region.gpa, region.len);
	}
	g_assert_cmpuint(guest_memory_n_regions(computer->memory), ==, 0);
	add_whole(computer);
	resume_all(computer);
	g_mutex_unlock(&computer->changing);
}

/* ---- what the CPUs meet ---- */

static void port_read(void *opaque, uint64_t offset, void *buf, uint32_t len)
{
	Computer *computer = opaque;
	int page = atomic_load(&computer->wanted);

	memset(buf, 0, len);
	if (page < 0)
		return;
	cut(computer, (unsigned)page);
	atomic_store(&computer->wanted, -1);
}

static void port_write(void *opaque, uint64_t offset, const void *buf, uint32_t len)
{
	atomic_fetch_add(&((Computer *)opaque)->n_wrong, 1);
}

static const MachineBusOps port_ops = { port_read, port_write };

static void hole_read(void *opaque, uint64_t offset, void *buf, uint32_t len)
{
	memset(buf, 0xff, len);
	atomic_fetch_add(&((Computer *)opaque)->n_misses, 1);
}

static void hole_write(void *opaque, uint64_t offset, const void *buf, uint32_t len)
{
	atomic_fetch_add(&((Computer *)opaque)->n_misses, 1);
}

static const MachineBusOps hole_ops = { hole_read, hole_write };

static void on_end(void *opaque, unsigned id, VcpuEnd end, const char *why)
{
	g_test_message("%s", why);
	atomic_fetch_add(&((Computer *)opaque)->n_ended, 1);
}

/* ---- the computer ---- */

static void put64(uint8_t *at, uint64_t value)
{
	value = GUINT64_TO_LE(value);
	memcpy(at, &value, sizeof(value));
}

static uint8_t *map_pages(size_t len)
{
	uint8_t *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	g_assert_true(at != MAP_FAILED);
	return at;
}

static void fill(Computer *computer)
{
	uint8_t *ram = computer->ram;

	put64(ram + GDT_AT + 16, 0x00af9b000000ffff);
	put64(ram + GDT_AT + 24, 0x00cf93000000ffff);
	put64(ram + PML4_AT, PDPT_AT | 3);
	put64(ram + PDPT_AT, PD_AT | 3);
	put64(ram + PDPT_AT + 3 * 8, PD_3_AT | 3);
	put64(ram + PD_AT, 0x83);
	put64(ram + PD_3_AT + LAPIC_PD * 8, 0xfee00083);
	memcpy(ram + CODE_AT, cut_code, (size_t)(cut_code_end - cut_code));
	memcpy(ram + CODE_1_AT, cut_code_1, (size_t)(cut_code_1_end - cut_code_1));
	for (unsigned page = 0; page < N_PAGES; page++)
		put64(computer->lent + page * PAGE, REGION + page * PAGE);
}

static void make_memory(Computer *computer)
{
	GuestRegion ram = { .len = RAM_LEN, .fd = -1, .writable = true };

	ram.hva = computer->ram = map_pages(RAM_LEN);
	computer->lent = map_pages(REGION_LEN);
	fill(computer);
	computer->memory = guest_memory_new(computer->vm, false);
	g_assert_cmpint(guest_memory_add_ram(computer->memory, &ram), ==, 0);
	add_whole(computer);
}

static void make_cpus(Computer *computer)
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
	const CpuidPlan plan = { .n_cpus = N_CPUS };
	g_autoptr(GError) error = NULL;
	g_autofree struct kvm_cpuid2 *table = cpuid_supported(kvm_vm_peek_system_fd(computer->vm),
							      &error);

	g_assert_no_error(error);
	for (unsigned i = 0; i < N_CPUS; i++) {
		g_autofree struct kvm_cpuid2 *cpuid = cpuid_for_cpu(table, &plan, i);
		const VcpuConfig config = {
			.vm = computer->vm,
			.bus = computer->bus,
			.id = i,
			.cpuid = cpuid,
			.entry = &entry,
			.ended = on_end,
			.opaque = computer,
		};

		computer->vcpus[i] = vcpu_new(&config, &error);
		g_assert_no_error(error);
	}
}

/* NULL: there is no KVM, and the test is skipped. */
static Computer *computer_start(void)
{
	g_autofree Computer *computer = g_new0(Computer, 1);
	g_autoptr(GError) error = NULL;

	computer->vm = kvm_vm_new(NULL, &error);
	if (!computer->vm) {
		g_test_skip(error->message);
		return NULL;
	}
	atomic_init(&computer->wanted, -1);
	g_mutex_init(&computer->changing);
	computer->bus = machine_bus_new();
	machine_bus_add(computer->bus, MACHINE_BUS_PIO, PORT, 1, &port_ops, computer);
	machine_bus_add(computer->bus, MACHINE_BUS_MMIO, REGION, REGION_LEN, &hole_ops, computer);
	make_memory(computer);
	make_cpus(computer);
	for (unsigned i = 0; i < N_CPUS; i++)
		g_assert_true(vcpu_start(computer->vcpus[i], &error));
	guest_memory_set_pauser(computer->memory, &pauser, computer);
	return g_steal_pointer(&computer);
}

static void computer_free(Computer *computer)
{
	guest_memory_set_pauser(computer->memory, NULL, NULL);
	for (unsigned i = 0; i < N_CPUS; i++)
		vcpu_free(computer->vcpus[i]);
	guest_memory_free(computer->memory);
	machine_bus_free(computer->bus);
	kvm_vm_free(computer->vm);
	munmap(computer->ram, RAM_LEN);
	munmap(computer->lent, REGION_LEN);
	g_mutex_clear(&computer->changing);
	g_free(computer);
}

/* How many rounds a CPU has read. */
static uint32_t count(const Computer *computer, unsigned cpu)
{
	return ((const volatile uint32_t *)(const void *)(computer->ram + COUNTS_AT))[cpu];
}

static void assert_well(Computer *computer)
{
	g_assert_cmpuint(atomic_load(&computer->n_ended), ==, 0);
	g_assert_cmpuint(atomic_load(&computer->n_wrong), ==, 0);
	g_assert_cmpuint(atomic_load(&computer->n_misses), ==, 0);
}

/* Until each CPU has read a round from its start to its end; who stands still, the test's time
 * limit finds. */
static void wait_progress(Computer *computer)
{
	for (unsigned i = 0; i < N_CPUS; i++) {
		uint32_t before = count(computer, i);

		while (count(computer, i) - before < 2) {
			assert_well(computer);
			g_usleep(20);
		}
	}
}

static void test_cut(void)
{
	Computer *computer = computer_start();
	gint64 end = g_get_monotonic_time() + RUN_US;
	unsigned n = 0;

	if (!computer)
		return;
	wait_progress(computer);
	for (; n < ROUNDS && g_get_monotonic_time() < end; n++) {
		unsigned page = (unsigned)g_test_rand_int_range(0, N_PAGES / 2) * 2 + 1;

		if (n % 3 == 0) {
			atomic_store(&computer->wanted, (int)page);
			while (atomic_load(&computer->wanted) >= 0) {
				assert_well(computer);
				g_usleep(20);
			}
		} else {
			cut(computer, page);
		}
		if (n % 5 == 0)
			restore(computer);
		if (n % 16 == 0)
			wait_progress(computer);
	}
	wait_progress(computer);
	assert_well(computer);
	g_test_message("%u cuts; the CPUs have read %u and %u rounds", n, count(computer, 0),
		       count(computer, 1));
	computer_free(computer);
}

/* ---- held again and again, and ends while held ---- */

/* Held when just let go: a CPU on its way into the guest does not miss that it is to stay out. */
static void hold_often(Computer *computer)
{
	gint64 end = g_get_monotonic_time() + RUN_US;

	for (unsigned i = 0; i < HOLDS && g_get_monotonic_time() < end; i++) {
		pause_all(computer);
		resume_all(computer);
		for (unsigned turns = i % 64; turns > 0; turns--)
			sched_yield();
		if (i % 256 == 0)
			wait_progress(computer);
	}
}

static void test_hold(void)
{
	Computer *computer = computer_start();

	if (!computer)
		return;
	wait_progress(computer);
	hold_often(computer);
	wait_progress(computer);
	computer_free(computer);
}

/* One that is told to stop while it is held does so when it is let go. */
static void test_stop(void)
{
	for (unsigned i = 0; i < STOPS; i++) {
		Computer *computer = computer_start();

		if (!computer)
			return;
		wait_progress(computer);
		pause_all(computer);
		g_usleep(i * 100); /* it comes to wait there, or not yet */
		for (unsigned cpu = 0; cpu < N_CPUS; cpu++)
			vcpu_stop(computer->vcpus[cpu]);
		resume_all(computer);
		for (unsigned cpu = 0; cpu < N_CPUS; cpu++)
			vcpu_join(computer->vcpus[cpu]);
		assert_well(computer);
		computer_free(computer);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/machine/cut/read-meanwhile", test_cut);
	g_test_add_func("/machine/cut/hold", test_hold);
	g_test_add_func("/machine/cut/stop-held", test_stop);
	return g_test_run();
}
