/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio over PCI (1.x only): the registers a guest's driver sees; what is behind them is ops. */
#ifndef MACHINE_VIRTIO_PCI_H
#define MACHINE_VIRTIO_PCI_H

#include "machine/bus.h"
#include "machine/pci_device.h"
#include "machine/vm.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct VirtioPci VirtioPci;

#define VIRTIO_PCI_MAX_QUEUES 16

/* A queue as the driver set it up; nothing is checked but its size. */
typedef struct VirtioQueue {
	uint16_t n; /* descriptors, a power of two; 0 = not enabled */
	uint64_t desc_gpa, avail_gpa, used_gpa;
	int kick_fd; /* borrowed eventfds; call_fd -1 = no interrupts */
	int call_fd;
} VirtioQueue;

/* Called from vCPU threads, one at a time; a vCPU that looks at a register waits meanwhile. */
typedef struct VirtioPciOps {
	/* The driver is ready. 0 or -errno: then it is told that the device needs a reset. */
	int (*start)(void *opaque, uint64_t features, const VirtioQueue *queues, unsigned n);
	/* Queues are the driver's again when this returns. Also when nothing was started. */
	void (*stop)(void *opaque);
	/* A running queue's interrupts go elsewhere. */
	void (*set_call)(void *opaque, unsigned queue, int call_fd);
} VirtioPciOps;

typedef struct VirtioPciConfig {
	KvmVm *vm;
	MachineBus *bus;
	uint16_t type;       /* virtio device id: 1 network, 26 file system */
	uint32_t class_code; /* PCI's */
	uint64_t features;   /* offered; bit 32 (virtio 1) must be there */
	unsigned n_queues;
	uint16_t queue_max; /* descriptors, a power of two */
	const void *space;  /* device configuration, read-only; copied */
	uint32_t space_len; /* at most 4 KiB */
	const VirtioPciOps *ops;
	void *opaque; /* outlives it */
} VirtioPciConfig;

VirtioPci *virtio_pci_new(const VirtioPciConfig *config, GError **error);
/* Off the host bridge, no vCPU running; what was started has been ended by whoever started it. */
void virtio_pci_free(VirtioPci *dev);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VirtioPci, virtio_pci_free)

PciDevice *virtio_pci_peek(VirtioPci *dev);
/* Any thread, waits for nothing: the driver is told that nothing comes any more before a reset. */
void virtio_pci_break(VirtioPci *dev);
/* The same for a change of device configuration. */
void virtio_pci_change_space(VirtioPci *dev, uint32_t offset, const void *bytes, uint32_t len);

#endif
