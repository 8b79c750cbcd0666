/* SPDX-License-Identifier: BSD-3-Clause */
/* A PCI function implemented in this process: configuration space, BARs, MSI-X. */
#ifndef MACHINE_PCI_DEVICE_H
#define MACHINE_PCI_DEVICE_H

/*
 * Build one with pci_device_new(), add capabilities, BARs and MSI-X, then pci_host_plug() it; after
 * that only what says so may be called. Accesses come from any vCPU thread, several at once; ops
 * are called with no lock held. A BAR is on the bus while the guest has memory decoding on and the
 * address lies in the host bridge's windows; where it would overlap something else it is not.
 */

#include "cxl/pci.h"
#include "machine/bus.h"
#include "machine/pci_bars.h"
#include "machine/vm.h"
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct PciDevice PciDevice;

typedef struct PciDeviceIds {
	uint16_t vendor_id, device_id, subsys_vendor_id, subsys_id;
	uint32_t class_code; /* 24 bits: class, subclass, interface */
	uint8_t revision;
} PciDeviceIds;

typedef struct PciDeviceOps {
	/* MSI-X table and PBA are served before these are asked. Any offset and length within the
	 * BAR; BUF is all-ones when read is called. */
	void (*bar_read)(void *opaque, unsigned bar, uint64_t offset, void *buf, uint32_t len);
	void (*bar_write)(void *opaque, unsigned bar, uint64_t offset, const void *buf,
			  uint32_t len);
	/* The guest moved it, to PCI_BAR_NOWHERE when it is off the bus. One call at a time for
	 * a device; pci_device_bar_gpa() may be called from there. May be NULL. For ioeventfds. */
	void (*bar_moved)(void *opaque, unsigned bar, uint64_t gpa);
	/* The guest resets the function; configuration space is as new. May be NULL. */
	void (*reset)(void *opaque);
} PciDeviceOps;

/* OPS is copied; OPAQUE outlives the device. Interrupt pin 0: MSI-X only. */
PciDevice *pci_device_new(KvmVm *vm, MachineBus *bus, const PciDeviceIds *ids,
			  const PciDeviceOps *ops, void *opaque);
/* Off the bus first. No vCPU runs any more. */
void pci_device_free(PciDevice *dev);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PciDevice, pci_device_free)

/* ---- Before it is plugged ---- */

/* LEN: bytes, a power of two from 4 KiB. FLAGS: PCI_BAR_MEM_64 (takes BAR + 1 too),
 * PCI_BAR_PREFETCH. */
void pci_device_add_bar(PciDevice *dev, unsigned bar, uint64_t len, uint32_t flags);
/*
 * A capability of LEN bytes (with its two header bytes, which are filled in) at the end of the
 * list; returns its offset. There is room for 184 bytes in all, a multiple of 4 each.
 */
uint8_t pci_device_add_cap(PciDevice *dev, uint8_t id, uint8_t len);
/* WIDTH (1, 2, 4) bytes at OFFSET: their value now and after a reset, and the bits a guest may
 * write. */
void pci_device_set(PciDevice *dev, uint16_t offset, unsigned width, uint32_t value,
		    uint32_t writable);
/*
 * The MSI-X capability, table and PBA at these offsets of a BAR (16 bytes a vector, 8 bytes for
 * each 64). False: no eventfds or routes left.
 */
bool pci_device_add_msix(PciDevice *dev, unsigned n_vectors, unsigned bar, uint32_t table_offset,
			 uint32_t pba_offset, GError **error);

/* ---- Any time, any thread ---- */

/*
 * Writing 1 to it raises the vector; may be given to a back end. Borrowed, the same for the
 * device's life. What is raised while masked comes when it is unmasked; what is raised while MSI-X
 * is off is lost. -EBADF: no such vector.
 */
int pci_device_vector_fd(PciDevice *dev, unsigned vector);
void pci_device_raise(PciDevice *dev, unsigned vector);
bool pci_device_is_bus_master(PciDevice *dev);
/* Where it is now, or PCI_BAR_NOWHERE. */
uint64_t pci_device_bar_gpa(PciDevice *dev, unsigned bar);

/* ---- For the host bridge ---- */

/* Any offset and length within 4 KiB. */
void pci_device_config_read(PciDevice *dev, uint32_t offset, void *buf, uint32_t len);
void pci_device_config_write(PciDevice *dev, uint32_t offset, const void *buf, uint32_t len);
/* Where BARs may be: outside they are not decoded. */
void pci_device_set_windows(PciDevice *dev, const PciWindows *windows);
/* As the guest does it through the function's configuration space. */
void pci_device_reset(PciDevice *dev);

#endif
