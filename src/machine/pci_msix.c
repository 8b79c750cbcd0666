/* SPDX-License-Identifier: BSD-3-Clause */
/* MSI-X: what the guest writes into the table becomes KVM's routing, when it unmasks. */
#include "machine/pci_msix.h"

#include <errno.h>
#include <string.h>

#define CTRL_WRITABLE (PCI_MSIX_CTRL_MASK_ALL | PCI_MSIX_CTRL_ENABLE)

typedef struct Vector {
	KvmMsi *msi;
	/* As KVM was told last. */
	bool is_masked;
	uint64_t address;
	uint32_t data;
} Vector;

struct PciMsix {
	KvmVm *vm;
	PciMsixConfig config;
	GMutex lock;
	uint16_t ctrl;
	PciMsixEntry *table;
	Vector *vectors;
};

static void reset_table(PciMsix *msix)
{
	for (unsigned i = 0; i < msix->config.n_vectors; i++)
		msix->table[i] = (PciMsixEntry){ .ctrl = le32_put(PCI_MSIX_ENTRY_MASKED) };
}

PciMsix *pci_msix_new(KvmVm *vm, const PciMsixConfig *config, GError **error)
{
	g_autoptr(PciMsix) msix = g_new0(PciMsix, 1);

	g_assert(config->n_vectors >= 1 && config->n_vectors <= PCI_MSIX_CTRL_SIZE + 1);
	msix->vm = vm;
	msix->config = *config;
	g_mutex_init(&msix->lock);
	msix->ctrl = (uint16_t)(config->n_vectors - 1);
	msix->table = g_new0(PciMsixEntry, config->n_vectors);
	msix->vectors = g_new0(Vector, config->n_vectors);
	reset_table(msix);
	for (unsigned i = 0; i < config->n_vectors; i++) {
		msix->vectors[i].is_masked = true;
		msix->vectors[i].msi = kvm_msi_new(vm, error);
		if (!msix->vectors[i].msi)
			return NULL;
	}
	return g_steal_pointer(&msix);
}

void pci_msix_free(PciMsix *msix)
{
	if (!msix)
		return;
	for (unsigned i = 0; i < msix->config.n_vectors; i++)
		g_clear_pointer(&msix->vectors[i].msi, kvm_msi_free);
	g_mutex_clear(&msix->lock);
	g_free(msix->vectors);
	g_free(msix->table);
	g_free(msix);
}

unsigned pci_msix_n_vectors(const PciMsix *msix)
{
	return msix->config.n_vectors;
}

int pci_msix_peek_fd(const PciMsix *msix, unsigned vector)
{
	return vector < msix->config.n_vectors ? kvm_msi_peek_fd(msix->vectors[vector].msi)
					       : -EBADF;
}

void pci_msix_raise(PciMsix *msix, unsigned vector)
{
	if (vector < msix->config.n_vectors && pci_msix_is_enabled(msix))
		kvm_msi_raise(msix->vectors[vector].msi);
}

/* With the lock held. KVM that refuses leaves the vector masked, and is asked again next time. */
static void apply(PciMsix *msix, unsigned i)
{
	const PciMsixEntry *entry = &msix->table[i];
	Vector *vector = &msix->vectors[i];
	uint64_t address = (uint64_t)le32_get(entry->msg_hi) << 32 | le32_get(entry->msg_lo);
	uint32_t data = le32_get(entry->data);
	bool is_masked = (msix->ctrl & CTRL_WRITABLE) != PCI_MSIX_CTRL_ENABLE ||
			 (le32_get(entry->ctrl) & PCI_MSIX_ENTRY_MASKED);

	if (is_masked == vector->is_masked &&
	    (is_masked || (address == vector->address && data == vector->data)))
		return;
	vector->is_masked = kvm_msi_set(vector->msi, address, data, is_masked) != 0 || is_masked;
	vector->address = address;
	vector->data = data;
}

/* ---- the control register ---- */

uint16_t pci_msix_ctrl(PciMsix *msix)
{
	uint16_t ctrl;

	g_mutex_lock(&msix->lock);
	ctrl = msix->ctrl;
	g_mutex_unlock(&msix->lock);
	return ctrl;
}

bool pci_msix_is_enabled(PciMsix *msix)
{
	return pci_msix_ctrl(msix) & PCI_MSIX_CTRL_ENABLE;
}

static void set_ctrl_locked(PciMsix *msix, uint16_t ctrl)
{
	bool was_enabled = msix->ctrl & PCI_MSIX_CTRL_ENABLE;

	msix->ctrl = (uint16_t)((msix->ctrl & ~CTRL_WRITABLE) | (ctrl & CTRL_WRITABLE));
	kvm_vm_msi_begin(msix->vm);
	for (unsigned i = 0; i < msix->config.n_vectors; i++) {
		if (!was_enabled)
			kvm_msi_clear(msix->vectors[i].msi);
		apply(msix, i);
	}
	kvm_vm_msi_end(msix->vm);
}

void pci_msix_set_ctrl(PciMsix *msix, uint16_t ctrl)
{
	g_mutex_lock(&msix->lock);
	if ((msix->ctrl ^ ctrl) & CTRL_WRITABLE)
		set_ctrl_locked(msix, ctrl);
	g_mutex_unlock(&msix->lock);
}

void pci_msix_reset(PciMsix *msix)
{
	g_mutex_lock(&msix->lock);
	reset_table(msix);
	set_ctrl_locked(msix, 0);
	for (unsigned i = 0; i < msix->config.n_vectors; i++)
		kvm_msi_clear(msix->vectors[i].msi);
	g_mutex_unlock(&msix->lock);
}

/* ---- table and pending bits ---- */

static void access_table(PciMsix *msix, uint64_t offset, void *buf, uint32_t len, bool is_write)
{
	uint8_t *bytes = (uint8_t *)msix->table + offset;

	g_mutex_lock(&msix->lock);
	if (is_write) {
		memcpy(bytes, buf, len);
		for (uint64_t i = offset / PCI_MSIX_ENTRY_LEN;
		     i <= (offset + len - 1) / PCI_MSIX_ENTRY_LEN; i++)
			apply(msix, (unsigned)i);
	} else {
		memcpy(buf, bytes, len);
	}
	g_mutex_unlock(&msix->lock);
}

/* Read only. */
static void read_pending(PciMsix *msix, uint64_t offset, uint8_t *bytes, uint32_t len)
{
	memset(bytes, 0, len);
	for (uint64_t bit = 8 * offset; bit < 8 * (offset + len); bit++) {
		if (bit < msix->config.n_vectors && kvm_msi_is_pending(msix->vectors[bit].msi))
			bytes[bit / 8 - offset] |= (uint8_t)(1u << bit % 8);
	}
}

/* Whether OFFSET is in [START, START + SIZE); *RUN shrinks to what that holds for. */
static bool is_in(uint64_t offset, uint64_t start, uint64_t size, uint32_t *run)
{
	if (offset < start) {
		*run = (uint32_t)MIN(*run, start - offset);
		return false;
	}
	if (offset - start >= size)
		return false;
	*run = (uint32_t)MIN(*run, size - (offset - start));
	return true;
}

uint32_t pci_msix_access(PciMsix *msix, unsigned bar, uint64_t offset, void *buf, uint32_t len,
			 bool is_write, bool *ret_served)
{
	const PciMsixConfig *config = &msix->config;
	uint32_t run = len;

	*ret_served = true;
	if (bar == config->table_bar &&
	    is_in(offset, config->table_offset, PCI_MSIX_TABLE_LEN(config->n_vectors), &run)) {
		access_table(msix, offset - config->table_offset, buf, run, is_write);
		return run;
	}
	if (bar == config->pba_bar &&
	    is_in(offset, config->pba_offset, PCI_MSIX_PBA_LEN(config->n_vectors), &run)) {
		if (!is_write)
			read_pending(msix, offset - config->pba_offset, buf, run);
		return run;
	}
	*ret_served = false;
	return run;
}
