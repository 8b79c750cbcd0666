/* SPDX-License-Identifier: BSD-3-Clause */
/* VM: opens KVM and sets up what all guests need; memory slots and event descriptors. */
#include "machine/vm_priv.h"

#include "machine/layout.h"
#include "util/autofd.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <sys/ioctl.h>

#define PAGE_LEN UINT64_C(4096)

/* ---- setting up ---- */

static int open_kvm(const char *path, GError **error)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	int version;

	if (fd < 0) {
		int why = errno;
		const char *cure =
			why == ENOENT || why == ENODEV || why == ENXIO
				? "this kernel has no KVM; load kvm_intel or kvm_amd, and enable "
				  "virtualization in the firmware, or nested virtualization in the "
				  "hypervisor below"
			: why == EACCES || why == EPERM
				? "join its group (usually kvm) and log in again, or run as root"
				: "see dmesg";

		g_set_error(error, G_IO_ERROR, g_io_error_from_errno(why), "%s: %s; %s", path,
			    g_strerror(why), cure);
		return -1;
	}
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
			    "%s: is not KVM, or of another version (%d, not %d)", path, version,
			    KVM_API_VERSION);
		close(fd);
		return -1;
	}
	return fd;
}

static bool fail(GError **error, const char *what)
{
	int why = errno;

	g_set_error(error, G_IO_ERROR, g_io_error_from_errno(why), "KVM: %s: %s", what,
		    g_strerror(why));
	return false;
}

static bool check_capabilities(KvmVm *vm, GError **error)
{
	static const struct {
		int cap;
		const char *what;
	} needed[] = {
		{ KVM_CAP_IRQCHIP, "an interrupt controller in the kernel" },
		{ KVM_CAP_USER_MEMORY, "memory slots" },
		{ KVM_CAP_IRQFD, "interrupts by eventfd" },
		{ KVM_CAP_IOEVENTFD, "eventfds for writes" },
		{ KVM_CAP_IRQ_ROUTING, "interrupt routing" },
		{ KVM_CAP_READONLY_MEM, "read-only memory slots" },
		{ KVM_CAP_IMMEDIATE_EXIT, "leaving a vCPU at once" },
		{ KVM_CAP_EXT_CPUID, "a list of CPU features" },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(needed); i++) {
		if (ioctl(vm->system_fd, KVM_CHECK_EXTENSION, needed[i].cap) > 0)
			continue;
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
			    "KVM: this kernel's lacks %s", needed[i].what);
		return false;
	}
	return true;
}

/* Without it, deleting a slot makes the guest fault in all of its memory anew. */
static void disable_zap_all(KvmVm *vm)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_DISABLE_QUIRKS2,
		.args = { KVM_X86_QUIRK_SLOT_ZAP_ALL },
	};
	int known = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_DISABLE_QUIRKS2);

	vm->unmap_is_cheap = known > 0 && (known & KVM_X86_QUIRK_SLOT_ZAP_ALL) &&
			     ioctl(vm->fd, KVM_ENABLE_CAP, &cap) == 0;
}

static bool set_up(KvmVm *vm, GError **error)
{
	uint64_t identity_map = MACHINE_IDENTITY_MAP;
	int n;

	vm->fd = ioctl(vm->system_fd, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		return fail(error, "cannot create a virtual machine");
	if (ioctl(vm->fd, KVM_SET_TSS_ADDR, (unsigned long)MACHINE_KVM_TSS) ||
	    ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map))
		return fail(error, "cannot place its own pages");
	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0))
		return fail(error, "cannot create the interrupt controller");
	disable_zap_all(vm);
	n = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);
	vm->max_slots = n > 0 ? (uint32_t)n : 32;
	if (vm_msi_init(vm) == 0)
		return true;
	return fail(error, "cannot route interrupts");
}

KvmVm *kvm_vm_new(const char *path, GError **error)
{
	g_autoptr(KvmVm) vm = g_new0(KvmVm, 1);

	vm->fd = -EBADF;
	pthread_mutex_init(&vm->slot_lock, NULL);
	pthread_mutex_init(&vm->msi_lock, NULL);
	vm->free_slots = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	vm->system_fd = open_kvm(path ? path : "/dev/kvm", error);
	if (vm->system_fd < 0 || !check_capabilities(vm, error) || !set_up(vm, error))
		return NULL;
	return g_steal_pointer(&vm);
}

void kvm_vm_free(KvmVm *vm)
{
	if (!vm)
		return;
	vm_msi_clear(vm);
	fd_close_auto(&vm->fd);
	fd_close_auto(&vm->system_fd);
	g_array_unref(vm->free_slots);
	pthread_mutex_destroy(&vm->slot_lock);
	pthread_mutex_destroy(&vm->msi_lock);
	g_free(vm);
}

int kvm_vm_peek_system_fd(KvmVm *vm)
{
	return vm->system_fd;
}

int kvm_vm_peek_fd(KvmVm *vm)
{
	return vm->fd;
}

/* ---- memory slots ---- */

static bool take_slot(KvmVm *vm, uint32_t *ret)
{
	bool ok = true;

	pthread_mutex_lock(&vm->slot_lock);
	if (vm->free_slots->len) {
		*ret = g_array_index(vm->free_slots, uint32_t, vm->free_slots->len - 1);
		g_array_set_size(vm->free_slots, vm->free_slots->len - 1);
	} else if (vm->next_slot < vm->max_slots) {
		*ret = vm->next_slot++;
	} else {
		ok = false;
	}
	vm->n_slots += ok;
	pthread_mutex_unlock(&vm->slot_lock);
	return ok;
}

static void give_slot(KvmVm *vm, uint32_t slot)
{
	pthread_mutex_lock(&vm->slot_lock);
	g_array_append_val(vm->free_slots, slot);
	vm->n_slots--;
	pthread_mutex_unlock(&vm->slot_lock);
}

static int set_slot(KvmVm *vm, const struct kvm_userspace_memory_region *region)
{
	return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, region) ? -errno : 0;
}

int kvm_vm_map(KvmVm *vm, uint64_t gpa, uint64_t len, void *hva, bool readonly, uint32_t *ret_slot)
{
	struct kvm_userspace_memory_region region = {
		.flags = readonly ? KVM_MEM_READONLY : 0,
		.guest_phys_addr = gpa,
		.memory_size = len,
		.userspace_addr = (uintptr_t)hva,
	};
	int rc;

	/* A length of 0 would delete. */
	if (!len || (gpa | len | (uintptr_t)hva) % PAGE_LEN || gpa + len < gpa)
		return -EINVAL;
	if (!take_slot(vm, &region.slot))
		return -ENOSPC;
	rc = set_slot(vm, &region);
	if (rc)
		give_slot(vm, region.slot);
	else
		*ret_slot = region.slot;
	return rc;
}

int kvm_vm_unmap(KvmVm *vm, uint32_t slot)
{
	struct kvm_userspace_memory_region region = { .slot = slot };
	int rc = set_slot(vm, &region);

	if (!rc)
		give_slot(vm, slot);
	return rc;
}

uint32_t kvm_vm_max_maps(KvmVm *vm)
{
	return vm->max_slots;
}

uint32_t kvm_vm_n_maps(KvmVm *vm)
{
	uint32_t n;

	pthread_mutex_lock(&vm->slot_lock);
	n = vm->n_slots;
	pthread_mutex_unlock(&vm->slot_lock);
	return n;
}

bool kvm_vm_unmap_is_cheap(KvmVm *vm)
{
	return vm->unmap_is_cheap;
}

/* ---- pins and event descriptors ---- */

int kvm_vm_set_level(KvmVm *vm, unsigned gsi, bool high)
{
	struct kvm_irq_level level = { .irq = gsi, .level = high };

	return ioctl(vm->fd, KVM_IRQ_LINE, &level) ? -errno : 0;
}

int kvm_vm_pulse(KvmVm *vm, unsigned gsi)
{
	int rc = kvm_vm_set_level(vm, gsi, true);

	return rc ? rc : kvm_vm_set_level(vm, gsi, false);
}

int kvm_vm_ioeventfd(KvmVm *vm, uint64_t gpa, uint32_t len, int fd, bool on)
{
	struct kvm_ioeventfd event = {
		.addr = gpa,
		.len = len,
		.fd = fd,
		.flags = on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN,
	};

	return ioctl(vm->fd, KVM_IOEVENTFD, &event) ? -errno : 0;
}
