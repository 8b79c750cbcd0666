/* SPDX-License-Identifier: BSD-3-Clause */
/* vCPU: creation, the run loop and its exits. */
#include "machine/vcpu.h"

#include "util/autofd.h"

#include <errno.h>
#include <gio/gio.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define KICK SIGUSR2

#define CR0_PE        0x00000001u
#define CR0_ET        0x00000010u
#define CR0_NE        0x00000020u
#define CR0_WP        0x00010000u
#define CR0_PG        0x80000000u
#define CR4_PAE       0x20u
#define EFER_LME      0x100u
#define EFER_LMA      0x400u
#define RFLAGS_ALWAYS 2u

#define MSR_MISC_ENABLE   0x1a0u
#define MSR_MTRR_DEF_TYPE 0x2ffu
#define FAST_STRINGS      1u
#define MTRR_WRITE_BACK   0xc06u /* enabled, also the fixed ones; default type 6 */

struct Vcpu {
	VcpuConfig config;
	LoaderEntry entry;
	int fd;
	struct kvm_run *run;
	size_t run_len;
	pthread_t thread;
	bool has_thread;
	atomic_bool stops;
	/* Held over KVM_RUN, taken with TURN held: who has that comes next, see vcpu_hold(). */
	pthread_mutex_t running, turn;
};

/* ---- creation ---- */

static bool fail(const Vcpu *vcpu, GError **error, const char *what)
{
	int why = errno;

	g_set_error(error, G_IO_ERROR, g_io_error_from_errno(why), "KVM: CPU %u: %s: %s",
		    vcpu->config.id, what, g_strerror(why));
	return false;
}

static void set_segment(struct kvm_segment *segment, uint16_t selector, bool is_code)
{
	*segment = (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = is_code ? 11 : 3,
		.present = 1,
		.s = 1,
		.l = is_code,
		.db = !is_code,
		.g = 1,
	};
}

static bool set_entry(Vcpu *vcpu, GError **error)
{
	const LoaderEntry *entry = &vcpu->entry;
	struct kvm_regs regs = {
		.rip = entry->rip,
		.rsi = entry->rsi,
		.rsp = entry->rsp,
		.rflags = RFLAGS_ALWAYS,
	};
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs))
		return fail(vcpu, error, "cannot read its registers");
	set_segment(&sregs.cs, entry->code_selector, true);
	set_segment(&sregs.ds, entry->data_selector, false);
	sregs.es = sregs.fs = sregs.gs = sregs.ss = sregs.ds;
	sregs.gdt.base = entry->gdt;
	sregs.gdt.limit = (uint16_t)(entry->gdt_len - 1);
	sregs.idt.limit = 0;
	sregs.cr0 = CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_PE;
	sregs.cr3 = entry->cr3;
	sregs.cr4 = CR4_PAE;
	sregs.efer = EFER_LME | EFER_LMA;
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) || ioctl(vcpu->fd, KVM_SET_REGS, &regs))
		return fail(vcpu, error, "cannot set its registers");
	return true;
}

/* What firmware leaves behind. A CPU that does not know one does without. */
static void set_msrs(Vcpu *vcpu)
{
	static const struct kvm_msr_entry entries[] = {
		{ .index = MSR_MISC_ENABLE, .data = FAST_STRINGS },
		{ .index = MSR_MTRR_DEF_TYPE, .data = MTRR_WRITE_BACK },
	};
	g_autofree struct kvm_msrs *one = g_malloc0(sizeof(*one) + sizeof(one->entries[0]));

	one->nmsrs = 1;
	for (size_t i = 0; i < G_N_ELEMENTS(entries); i++) {
		one->entries[0] = entries[i];
		ioctl(vcpu->fd, KVM_SET_MSRS, one);
	}
}

static bool create(Vcpu *vcpu, GError **error)
{
	int len = ioctl(kvm_vm_peek_system_fd(vcpu->config.vm), KVM_GET_VCPU_MMAP_SIZE, 0);
	void *run;

	vcpu->fd = ioctl(kvm_vm_peek_fd(vcpu->config.vm), KVM_CREATE_VCPU, vcpu->config.id);
	if (vcpu->fd < 0)
		return fail(vcpu, error, "cannot be made");
	if (len < (int)sizeof(struct kvm_run))
		return fail(vcpu, error, "has no shared page");
	run = mmap(NULL, (size_t)len, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (run == MAP_FAILED)
		return fail(vcpu, error, "its shared page");
	vcpu->run = run;
	vcpu->run_len = (size_t)len;
	if (ioctl(vcpu->fd, KVM_SET_CPUID2, vcpu->config.cpuid))
		return fail(vcpu, error, "its features are refused");
	vcpu->config.cpuid = NULL;
	set_msrs(vcpu);
	return vcpu->config.id || set_entry(vcpu, error);
}

Vcpu *vcpu_new(const VcpuConfig *config, GError **error)
{
	g_autoptr(Vcpu) vcpu = g_new0(Vcpu, 1);

	vcpu->config = *config;
	vcpu->entry = *config->entry;
	vcpu->config.entry = NULL;
	vcpu->fd = -EBADF;
	pthread_mutex_init(&vcpu->running, NULL);
	pthread_mutex_init(&vcpu->turn, NULL);
	return create(vcpu, error) ? g_steal_pointer(&vcpu) : NULL;
}

void vcpu_free(Vcpu *vcpu)
{
	if (!vcpu)
		return;
	vcpu_stop(vcpu);
	vcpu_join(vcpu);
	if (vcpu->run)
		munmap(vcpu->run, vcpu->run_len);
	fd_close_auto(&vcpu->fd);
	pthread_mutex_destroy(&vcpu->turn);
	pthread_mutex_destroy(&vcpu->running);
	g_free(vcpu);
}

/* ---- ends ---- */

G_GNUC_PRINTF(3, 4) static void end(Vcpu *vcpu, VcpuEnd how, const char *format, ...)
{
	struct kvm_regs regs = { 0 };
	g_autofree char *text = NULL;
	g_autofree char *why = NULL;
	va_list args;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	ioctl(vcpu->fd, KVM_GET_REGS, &regs);
	why = g_strdup_printf("CPU %u at RIP %#llx: %s", vcpu->config.id, regs.rip, text);
	atomic_store(&vcpu->stops, true);
	vcpu->config.ended(vcpu->config.opaque, vcpu->config.id, how, why);
}

static void end_internal(Vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;
	g_autoptr(GString) text = g_string_new(NULL);

	if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION) {
		g_string_append(text, "KVM cannot carry out an instruction");
		if (run->internal.ndata >= 2 &&
		    (run->emulation_failure.flags &
		     KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)) {
			unsigned n = MIN(run->emulation_failure.insn_size,
					 (uint8_t)sizeof(run->emulation_failure.insn_bytes));

			g_string_append(text, ", bytes");
			for (unsigned i = 0; i < n; i++)
				g_string_append_printf(text, " %02x",
						       run->emulation_failure.insn_bytes[i]);
		}
	} else {
		g_string_printf(text, "KVM internal error %u", run->internal.suberror);
	}
	end(vcpu, VCPU_END_KVM, "%s", text->str);
}

/* ---- the run loop ---- */

static void do_pio(Vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	for (uint32_t i = 0; i < run->io.count; i++)
		machine_bus_access(vcpu->config.bus, MACHINE_BUS_PIO, run->io.port,
				   data + (size_t)i * run->io.size, run->io.size,
				   run->io.direction == KVM_EXIT_IO_OUT);
}

static void do_mmio(Vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	machine_bus_access(vcpu->config.bus, MACHINE_BUS_MMIO, run->mmio.phys_addr, run->mmio.data,
			   run->mmio.len, run->mmio.is_write);
}

static void handle_exit(Vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		do_pio(vcpu);
		break;
	case KVM_EXIT_MMIO:
		do_mmio(vcpu);
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		break;
	case KVM_EXIT_SHUTDOWN:
		end(vcpu, VCPU_END_TRIPLE_FAULT, "triple fault");
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		end_internal(vcpu);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		end(vcpu, VCPU_END_KVM, "the CPU refused its state (%#llx)",
		    run->fail_entry.hardware_entry_failure_reason);
		break;
	default:
		end(vcpu, VCPU_END_KVM, "KVM left the guest for a reason not known here (%u)",
		    run->exit_reason);
		break;
	}
}

/* 0 or -errno. */
static int enter_guest(Vcpu *vcpu)
{
	int rc;

	pthread_mutex_lock(&vcpu->turn);
	pthread_mutex_lock(&vcpu->running);
	pthread_mutex_unlock(&vcpu->turn);
	rc = ioctl(vcpu->fd, KVM_RUN, 0) ? -errno : 0;
	pthread_mutex_unlock(&vcpu->running);
	return rc;
}

static void run_once(Vcpu *vcpu)
{
	int rc = enter_guest(vcpu);

	if (rc == 0)
		handle_exit(vcpu);
	else if (rc == -EFAULT)
		end(vcpu, VCPU_END_KVM, "memory of the guest is not there in this process");
	else if (rc != -EINTR && rc != -EAGAIN)
		end(vcpu, VCPU_END_KVM, "KVM_RUN: %s", g_strerror(-rc));
}

static void *run_thread(void *opaque)
{
	Vcpu *vcpu = opaque;
	g_autofree char *name = g_strdup_printf("cpu%u", vcpu->config.id);

	pthread_setname_np(pthread_self(), name);
	while (!atomic_load(&vcpu->stops))
		run_once(vcpu);
	return NULL;
}

static void on_kick(int number)
{
}

bool vcpu_start(Vcpu *vcpu, GError **error)
{
	/* Not SA_RESTART: its only use is to end KVM_RUN. */
	const struct sigaction action = { .sa_handler = on_kick };
	sigset_t all, old;
	int rc;

	sigaction(KICK, &action, NULL);
	/* Signals for the process are for other threads. */
	sigfillset(&all);
	sigdelset(&all, KICK);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&vcpu->thread, NULL, run_thread, vcpu);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	vcpu->has_thread = !rc;
	if (rc) {
		errno = rc;
		return fail(vcpu, error, "cannot start a thread");
	}
	return true;
}

void vcpu_stop(Vcpu *vcpu)
{
	atomic_store(&vcpu->stops, true);
	/* A signal that comes just before KVM_RUN would be lost; this makes it return at once. */
	if (vcpu->run)
		__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (vcpu->has_thread)
		pthread_kill(vcpu->thread, KICK);
}

void vcpu_hold(Vcpu *vcpu)
{
	pthread_mutex_lock(&vcpu->turn);
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (vcpu->has_thread)
		pthread_kill(vcpu->thread, KICK);
	pthread_mutex_lock(&vcpu->running);
}

void vcpu_let_go(Vcpu *vcpu)
{
	__atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	/* It may just have been told to stop. */
	if (atomic_load(&vcpu->stops))
		__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&vcpu->running);
	pthread_mutex_unlock(&vcpu->turn);
}

void vcpu_join(Vcpu *vcpu)
{
	if (vcpu->has_thread)
		pthread_join(vcpu->thread, NULL);
	vcpu->has_thread = false;
}
