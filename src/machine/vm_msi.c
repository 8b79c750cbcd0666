/* SPDX-License-Identifier: BSD-3-Clause */
/* VM: message signalled interrupts, each an eventfd that KVM itself listens to while unmasked. */
#include "machine/vm_priv.h"

#include "util/autofd.h"

#include <errno.h>
#include <gio/gio.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#define N_ROUTES 4096u

struct KvmMsi {
	KvmVm *vm;
	unsigned gsi;
	int fd;
	/* What the guest wants. */
	uint64_t address;
	uint32_t data;
	bool masked;
	/* What KVM has. */
	uint64_t routed_address;
	uint32_t routed_data;
	bool is_routed, is_bound;
};

/* ---- the routing table ---- */

static void route_pin(struct kvm_irq_routing_entry *entry, unsigned pin)
{
	*entry = (struct kvm_irq_routing_entry){
		.gsi = pin,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = KVM_IRQCHIP_IOAPIC, .pin = pin },
	};
}

static void route_msi(struct kvm_irq_routing_entry *entry, const KvmMsi *msi)
{
	*entry = (struct kvm_irq_routing_entry){
		.gsi = msi->gsi,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = {
			.address_lo = (uint32_t)msi->address,
			.address_hi = (uint32_t)(msi->address >> 32),
			.data = msi->data,
		},
	};
}

static bool needs_route(const KvmMsi *msi)
{
	return msi->is_routed || !msi->masked;
}

/* KVM takes the whole table only. */
static int set_routes(KvmVm *vm)
{
	g_autofree struct kvm_irq_routing *table =
		g_malloc0(sizeof(*table) +
			  (VM_N_PINS + vm->msis->len) * sizeof(struct kvm_irq_routing_entry));

	for (unsigned pin = 0; pin < VM_N_PINS; pin++)
		route_pin(&table->entries[table->nr++], pin);
	for (unsigned i = 0; i < vm->msis->len; i++) {
		const KvmMsi *msi = vm->msis->pdata[i];

		if (msi && needs_route(msi))
			route_msi(&table->entries[table->nr++], msi);
	}
	if (ioctl(vm->fd, KVM_SET_GSI_ROUTING, table))
		return -errno;
	for (unsigned i = 0; i < vm->msis->len; i++) {
		KvmMsi *msi = vm->msis->pdata[i];

		if (msi && needs_route(msi)) {
			msi->is_routed = true;
			msi->routed_address = msi->address;
			msi->routed_data = msi->data;
		}
	}
	return 0;
}

int vm_msi_init(KvmVm *vm)
{
	int n = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQ_ROUTING);

	vm->max_msis = (n > 0 ? MIN((unsigned)n, N_ROUTES) : 64) - VM_N_PINS;
	vm->msis = g_ptr_array_new();
	return set_routes(vm);
}

void vm_msi_clear(KvmVm *vm)
{
	if (vm->msis)
		g_ptr_array_unref(vm->msis);
}

/* ---- binding ---- */

static int set_irqfd(KvmMsi *msi, bool on)
{
	struct kvm_irqfd irqfd = {
		.fd = (uint32_t)msi->fd,
		.gsi = msi->gsi,
		.flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
	};

	if (ioctl(msi->vm->fd, KVM_IRQFD, &irqfd) && !(on && errno == EBUSY))
		return -errno;
	msi->is_bound = on;
	return 0;
}

static bool take_pending(KvmMsi *msi)
{
	uint64_t count;

	return read(msi->fd, &count, sizeof(count)) == sizeof(count);
}

static int bind_msi(KvmMsi *msi)
{
	/* What KVM finds in the eventfd it raises but leaves there, to be raised once more. */
	bool was_pending = take_pending(msi);
	int rc = set_irqfd(msi, true);

	if (was_pending)
		kvm_msi_raise(msi);
	return rc;
}

static bool is_stale(const KvmMsi *msi)
{
	return !msi->masked && (!msi->is_routed || msi->address != msi->routed_address ||
				msi->data != msi->routed_data);
}

/* Makes KVM's state what the guest wants. */
static int apply(KvmMsi *msi)
{
	int rc = 0;

	if (msi->masked)
		return msi->is_bound ? set_irqfd(msi, false) : 0;
	if (is_stale(msi))
		rc = set_routes(msi->vm);
	if (!rc && !msi->is_bound)
		rc = bind_msi(msi);
	if (rc) {
		msi->masked = true;
		if (msi->is_bound)
			set_irqfd(msi, false);
	}
	return rc;
}

/* ---- vectors ---- */

static bool take_gsi(KvmVm *vm, KvmMsi *msi)
{
	unsigned i = 0;

	while (i < vm->msis->len && vm->msis->pdata[i])
		i++;
	if (i == vm->max_msis)
		return false;
	if (i == vm->msis->len)
		g_ptr_array_add(vm->msis, NULL);
	vm->msis->pdata[i] = msi;
	msi->gsi = VM_N_PINS + i;
	return true;
}

KvmMsi *kvm_msi_new(KvmVm *vm, GError **error)
{
	AUTOFD int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	KvmMsi *msi;
	bool ok;

	if (fd < 0) {
		g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno),
			    "an interrupt's eventfd: %s", g_strerror(errno));
		return NULL;
	}
	msi = g_new0(KvmMsi, 1);
	*msi = (KvmMsi){ .vm = vm, .masked = true };
	pthread_mutex_lock(&vm->msi_lock);
	ok = take_gsi(vm, msi);
	pthread_mutex_unlock(&vm->msi_lock);
	if (!ok) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
			    "the machine has all the %u interrupts KVM can route", vm->max_msis);
		g_free(msi);
		return NULL;
	}
	msi->fd = fd_steal(&fd);
	return msi;
}

void kvm_msi_free(KvmMsi *msi)
{
	KvmVm *vm;

	if (!msi)
		return;
	vm = msi->vm;
	pthread_mutex_lock(&vm->msi_lock);
	if (msi->is_bound)
		set_irqfd(msi, false);
	vm->msis->pdata[msi->gsi - VM_N_PINS] = NULL;
	pthread_mutex_unlock(&vm->msi_lock);
	close(msi->fd);
	g_free(msi);
}

int kvm_msi_peek_fd(KvmMsi *msi)
{
	return msi->fd;
}

int kvm_msi_set(KvmMsi *msi, uint64_t address, uint32_t data, bool masked)
{
	int rc = 0;

	pthread_mutex_lock(&msi->vm->msi_lock);
	msi->address = address;
	msi->data = data;
	msi->masked = masked;
	/* Masking need not wait for the others of a batch, and must not. */
	if (masked || !msi->vm->n_batches)
		rc = apply(msi);
	pthread_mutex_unlock(&msi->vm->msi_lock);
	return rc;
}

void kvm_vm_msi_begin(KvmVm *vm)
{
	pthread_mutex_lock(&vm->msi_lock);
	vm->n_batches++;
	pthread_mutex_unlock(&vm->msi_lock);
}

int kvm_vm_msi_end(KvmVm *vm)
{
	int first_rc = 0;

	pthread_mutex_lock(&vm->msi_lock);
	if (--vm->n_batches == 0) {
		for (unsigned i = 0; i < vm->msis->len; i++) {
			KvmMsi *msi = vm->msis->pdata[i];
			int rc = msi ? apply(msi) : 0;

			if (rc && !first_rc)
				first_rc = rc;
		}
	}
	pthread_mutex_unlock(&vm->msi_lock);
	return first_rc;
}

bool kvm_msi_is_pending(KvmMsi *msi)
{
	struct pollfd poll_fd = { .fd = msi->fd, .events = POLLIN };
	bool masked;

	pthread_mutex_lock(&msi->vm->msi_lock);
	masked = !msi->is_bound;
	pthread_mutex_unlock(&msi->vm->msi_lock);
	return masked && poll(&poll_fd, 1, 0) == 1;
}

void kvm_msi_raise(KvmMsi *msi)
{
	uint64_t one = 1;
	ssize_t n;

	/* Fails only if it has been raised 2^64 times and never delivered. */
	do
		n = write(msi->fd, &one, sizeof(one));
	while (n < 0 && errno == EINTR);
}

void kvm_msi_clear(KvmMsi *msi)
{
	pthread_mutex_lock(&msi->vm->msi_lock);
	take_pending(msi);
	pthread_mutex_unlock(&msi->vm->msi_lock);
}
