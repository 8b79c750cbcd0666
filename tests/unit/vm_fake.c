/* SPDX-License-Identifier: BSD-3-Clause */
/* Fake virtual machine: slots in an array, interrupts as eventfds somebody reads. */
#include "vm_fake.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct KvmVm {
	GMutex lock;
	GArray *slots; /* VmFakeSlot */
	uint32_t next_slot, max_maps;
	unsigned n_maps, fail_at;
	GPtrArray *msis;
	unsigned n_batches;
	uint32_t levels; /* of IOAPIC pins */
	unsigned n_edges[24];
};

struct KvmMsi {
	KvmVm *vm;
	int fd;
	uint64_t address;
	uint32_t data;
	bool masked;
};

KvmVm *vm_fake_new(void)
{
	KvmVm *vm = g_new0(KvmVm, 1);

	g_mutex_init(&vm->lock);
	vm->slots = g_array_new(FALSE, FALSE, sizeof(VmFakeSlot));
	vm->msis = g_ptr_array_new();
	vm->max_maps = 32764;
	return vm;
}

KvmVm *kvm_vm_new(const char *path, GError **error)
{
	return vm_fake_new();
}

void kvm_vm_free(KvmVm *vm)
{
	if (!vm)
		return;
	g_assert_cmpuint(vm->slots->len, ==, 0);
	g_assert_cmpuint(vm->msis->len, ==, 0);
	g_assert_cmpuint(vm->n_batches, ==, 0);
	g_array_unref(vm->slots);
	g_ptr_array_unref(vm->msis);
	g_mutex_clear(&vm->lock);
	g_free(vm);
}

int kvm_vm_peek_system_fd(KvmVm *vm)
{
	return -EBADF;
}

int kvm_vm_peek_fd(KvmVm *vm)
{
	return -EBADF;
}

/* ---- memory slots ---- */

void vm_fake_set_max_maps(KvmVm *vm, uint32_t max)
{
	vm->max_maps = max;
}

void vm_fake_fail_at(KvmVm *vm, unsigned k)
{
	vm->n_maps = 0;
	vm->fail_at = k;
}

static int map_locked(KvmVm *vm, VmFakeSlot *slot)
{
	if (++vm->n_maps == vm->fail_at || vm->slots->len >= vm->max_maps)
		return -ENOSPC;
	for (guint i = 0; i < vm->slots->len; i++) {
		const VmFakeSlot *other = &g_array_index(vm->slots, VmFakeSlot, i);

		if (slot->gpa < other->gpa + other->len && other->gpa < slot->gpa + slot->len)
			return -EEXIST;
	}
	slot->slot = vm->next_slot++;
	g_array_append_vals(vm->slots, slot, 1);
	return 0;
}

int kvm_vm_map(KvmVm *vm, uint64_t gpa, uint64_t len, void *hva, bool readonly, uint32_t *ret_slot)
{
	VmFakeSlot slot = { gpa, len, hva, readonly, 0 };
	int rc;

	g_assert_cmpuint((gpa | len | (uintptr_t)hva) % 4096, ==, 0);
	g_assert_cmpuint(len, >, 0);
	g_mutex_lock(&vm->lock);
	rc = map_locked(vm, &slot);
	g_mutex_unlock(&vm->lock);
	if (rc == 0)
		*ret_slot = slot.slot;
	return rc;
}

int kvm_vm_unmap(KvmVm *vm, uint32_t slot)
{
	bool found = false;

	g_mutex_lock(&vm->lock);
	for (guint i = 0; i < vm->slots->len && !found; i++) {
		found = g_array_index(vm->slots, VmFakeSlot, i).slot == slot;
		if (found)
			g_array_remove_index_fast(vm->slots, i);
	}
	g_mutex_unlock(&vm->lock);
	g_assert_true(found);
	return 0;
}

uint32_t kvm_vm_max_maps(KvmVm *vm)
{
	return vm->max_maps;
}

uint32_t kvm_vm_n_maps(KvmVm *vm)
{
	return vm_fake_n_slots(vm);
}

bool kvm_vm_unmap_is_cheap(KvmVm *vm)
{
	return true;
}

unsigned vm_fake_n_slots(KvmVm *vm)
{
	unsigned n;

	g_mutex_lock(&vm->lock);
	n = vm->slots->len;
	g_mutex_unlock(&vm->lock);
	return n;
}

bool vm_fake_find(KvmVm *vm, uint64_t gpa, VmFakeSlot *ret)
{
	bool found = false;

	g_mutex_lock(&vm->lock);
	for (guint i = 0; i < vm->slots->len && !found; i++) {
		const VmFakeSlot *slot = &g_array_index(vm->slots, VmFakeSlot, i);

		found = gpa >= slot->gpa && gpa - slot->gpa < slot->len;
		if (found)
			*ret = *slot;
	}
	g_mutex_unlock(&vm->lock);
	return found;
}

void vm_fake_access(KvmVm *vm, MachineBus *bus, uint64_t gpa, void *buf, uint64_t len,
		    bool is_write)
{
	uint8_t *bytes = buf;

	while (len > 0) {
		uint64_t n = MIN(len, 8 - gpa % 8);
		VmFakeSlot slot;

		if (vm_fake_find(vm, gpa, &slot) && !(is_write && slot.readonly)) {
			uint8_t *hva = slot.hva + (gpa - slot.gpa);

			memcpy(is_write ? hva : bytes, is_write ? bytes : hva, n);
		} else {
			machine_bus_access(bus, MACHINE_BUS_MMIO, gpa, bytes, (uint32_t)n,
					   is_write);
		}
		gpa += n;
		bytes += n;
		len -= n;
	}
}

/* ---- interrupts ---- */

int kvm_vm_pulse(KvmVm *vm, unsigned gsi)
{
	return 0;
}

int kvm_vm_set_level(KvmVm *vm, unsigned gsi, bool high)
{
	uint32_t bit = 1U << gsi;

	g_mutex_lock(&vm->lock);
	vm->n_edges[gsi] += high && !(vm->levels & bit);
	vm->levels = high ? vm->levels | bit : vm->levels & ~bit;
	g_mutex_unlock(&vm->lock);
	return 0;
}

bool vm_fake_level(KvmVm *vm, unsigned gsi)
{
	bool high;

	g_mutex_lock(&vm->lock);
	high = vm->levels >> gsi & 1;
	g_mutex_unlock(&vm->lock);
	return high;
}

unsigned vm_fake_take_edges(KvmVm *vm, unsigned gsi)
{
	unsigned n;

	g_mutex_lock(&vm->lock);
	n = vm->n_edges[gsi];
	vm->n_edges[gsi] = 0;
	g_mutex_unlock(&vm->lock);
	return n;
}

KvmMsi *kvm_msi_new(KvmVm *vm, GError **error)
{
	KvmMsi *msi = g_new0(KvmMsi, 1);

	msi->vm = vm;
	msi->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	msi->masked = true;
	g_assert_cmpint(msi->fd, >=, 0);
	g_mutex_lock(&vm->lock);
	g_ptr_array_add(vm->msis, msi);
	g_mutex_unlock(&vm->lock);
	return msi;
}

void kvm_msi_free(KvmMsi *msi)
{
	if (!msi)
		return;
	g_mutex_lock(&msi->vm->lock);
	g_assert_true(g_ptr_array_remove_fast(msi->vm->msis, msi));
	g_mutex_unlock(&msi->vm->lock);
	close(msi->fd);
	g_free(msi);
}

int kvm_msi_peek_fd(KvmMsi *msi)
{
	return msi->fd;
}

int kvm_msi_set(KvmMsi *msi, uint64_t address, uint32_t data, bool masked)
{
	g_mutex_lock(&msi->vm->lock);
	msi->address = address;
	msi->data = data;
	msi->masked = masked;
	g_mutex_unlock(&msi->vm->lock);
	return 0;
}

bool kvm_msi_is_pending(KvmMsi *msi)
{
	struct pollfd state = { .fd = msi->fd, .events = POLLIN };

	return msi->masked && poll(&state, 1, 0) > 0;
}

void kvm_msi_raise(KvmMsi *msi)
{
	uint64_t one = 1;

	g_assert_cmpint(write(msi->fd, &one, sizeof(one)), ==, sizeof(one));
}

void kvm_msi_clear(KvmMsi *msi)
{
	uint64_t count;

	(void)!read(msi->fd, &count, sizeof(count));
}

void kvm_vm_msi_begin(KvmVm *vm)
{
	g_mutex_lock(&vm->lock);
	vm->n_batches++;
	g_mutex_unlock(&vm->lock);
}

int kvm_vm_msi_end(KvmVm *vm)
{
	g_mutex_lock(&vm->lock);
	vm->n_batches--;
	g_mutex_unlock(&vm->lock);
	return 0;
}

unsigned vm_fake_take_irqs(KvmVm *vm, uint64_t address, uint32_t data)
{
	unsigned n = 0;

	g_mutex_lock(&vm->lock);
	for (guint i = 0; i < vm->msis->len; i++) {
		const KvmMsi *msi = vm->msis->pdata[i];
		uint64_t count;

		if (!msi->masked && msi->address == address && msi->data == data &&
		    read(msi->fd, &count, sizeof(count)) == sizeof(count))
			n += (unsigned)count;
	}
	g_mutex_unlock(&vm->lock);
	return n;
}

/* ---- event descriptors ---- */

int kvm_vm_ioeventfd(KvmVm *vm, uint64_t gpa, uint32_t len, int fd, bool on)
{
	return 0;
}
