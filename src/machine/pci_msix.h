/* SPDX-License-Identifier: BSD-3-Clause */
/* MSI-X of a function: control register, table and pending bits in front of KVM's interrupts. */
#ifndef MACHINE_PCI_MSIX_H
#define MACHINE_PCI_MSIX_H

#include "cxl/pci.h"
#include "machine/vm.h"
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* May be used by any thread. */
typedef struct PciMsix PciMsix;

typedef struct PciMsixConfig {
	unsigned n_vectors; /* 1..2048 */
	unsigned table_bar, pba_bar;
	uint64_t table_offset, pba_offset; /* multiples of 8; the two do not overlap */
} PciMsixConfig;

/* Bytes of the table and of the pending bit array. */
#define PCI_MSIX_TABLE_LEN(n) ((uint64_t)(n)*PCI_MSIX_ENTRY_LEN)
#define PCI_MSIX_PBA_LEN(n)   (((uint64_t)(n) + 63) / 64 * 8)

PciMsix *pci_msix_new(KvmVm *vm, const PciMsixConfig *config, GError **error);
void pci_msix_free(PciMsix *msix);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PciMsix, pci_msix_free)

unsigned pci_msix_n_vectors(const PciMsix *msix);
/* The eventfd that raises it: borrowed; -EBADF without such a vector. */
int pci_msix_peek_fd(const PciMsix *msix, unsigned vector);
/* No effect while MSI-X is off. */
void pci_msix_raise(PciMsix *msix, unsigned vector);

/* The message control register. */
uint16_t pci_msix_ctrl(PciMsix *msix);
/* Of the bits only enable and mask change. What was raised while it was off is forgotten. */
void pci_msix_set_ctrl(PciMsix *msix, uint16_t ctrl);
bool pci_msix_is_enabled(PciMsix *msix);
void pci_msix_reset(PciMsix *msix);

/*
 * An access to a BAR: returns for how many bytes from OFFSET on (1..LEN) it is so that they are
 * table or pending bits, and have been served, or that they are not (*RET_SERVED).
 */
uint32_t pci_msix_access(PciMsix *msix, unsigned bar, uint64_t offset, void *buf, uint32_t len,
			 bool is_write, bool *ret_served);

#endif
