/* SPDX-License-Identifier: BSD-3-Clause */
/* Base address registers of a function: sizing, and where on the bus they are. */
#ifndef MACHINE_PCI_BARS_H
#define MACHINE_PCI_BARS_H

#include "cxl/pci.h"
#include "machine/bus.h"
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* May be used by any thread. */
typedef struct PciBars PciBars;

#define PCI_BAR_NOWHERE UINT64_MAX /* an address: not on the bus */

/* Where a host bridge forwards memory accesses; either may be of length 0. */
typedef struct PciWindows {
	uint64_t mem32, mem32_len;
	uint64_t mem64, mem64_len;
} PciWindows;

typedef struct PciBarsOps {
	void (*read)(void *opaque, unsigned bar, uint64_t offset, void *buf, uint32_t len);
	void (*write)(void *opaque, unsigned bar, uint64_t offset, const void *buf, uint32_t len);
	/* To GPA, or PCI_BAR_NOWHERE; one call at a time, with a lock held: it may ask where BARs
	 * are, and change nothing. May be NULL. */
	void (*moved)(void *opaque, unsigned bar, uint64_t gpa);
} PciBarsOps;

/* Without windows nothing is ever on the bus. OPS is copied. */
PciBars *pci_bars_new(MachineBus *bus, const PciBarsOps *ops, void *opaque);
/* No vCPU runs any more. */
void pci_bars_free(PciBars *bars);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PciBars, pci_bars_free)

/* LEN: bytes, a power of two from 16. FLAGS: PCI_BAR_MEM_64 (then BAR + 1 is its upper half),
 * PCI_BAR_PREFETCH. */
void pci_bars_add(PciBars *bars, unsigned bar, uint64_t len, uint32_t flags);
void pci_bars_set_windows(PciBars *bars, const PciWindows *windows);
uint64_t pci_bars_len(const PciBars *bars, unsigned bar);

/* What of [OFFSET, OFFSET + LEN) of configuration space is BARs; the rest of BUF stays. */
void pci_bars_config_read(PciBars *bars, uint32_t offset, void *buf, uint32_t len);
void pci_bars_config_write(PciBars *bars, uint32_t offset, const void *buf, uint32_t len);
/* Memory decoding is on, as the command register says. */
void pci_bars_set_decoding(PciBars *bars, bool on);
void pci_bars_reset(PciBars *bars);
uint64_t pci_bars_gpa(PciBars *bars, unsigned bar);

#endif
