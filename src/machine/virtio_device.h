/* SPDX-License-Identifier: BSD-3-Clause */
/* A virtio device that a vhost-user daemon serves: directories and networks for the guest. */
#ifndef MACHINE_VIRTIO_DEVICE_H
#define MACHINE_VIRTIO_DEVICE_H

#include "machine/bus.h"
#include "machine/guest_memory.h"
#include "machine/pci_device.h"
#include "machine/vhost_backend.h"
#include "machine/virtio_pci.h"
#include "machine/vm.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct VirtioDevice VirtioDevice;

/* What all of a machine's have in common. */
typedef struct VirtioContext {
	KvmVm *vm;
	MachineBus *bus;
	GuestMemory *memory; /* these three outlive the devices; RAM is there */
	/* Sentences for a person, from any thread. May be NULL. */
	void (*log)(void *opaque, const char *line);
	void *opaque;
} VirtioContext;

/*
 * DIR for the guest under TAG (1 to 36 bytes), by a virtiofsd of its own. Plug it into the host
 * bridge. Call it on a thread that lives as long as the process, as the daemon does. Errors name
 * the directory, and what is missing.
 */
VirtioDevice *virtio_share_new(const VirtioContext *context, const char *dir, const char *tag,
			       GError **error);
/* A network card on a user-mode network of its own, by a passt of its own. */
VirtioDevice *virtio_net_new(const VirtioContext *context, GError **error);
/* Off the host bridge, no vCPU runs. Ends the daemon. */
void virtio_device_free(VirtioDevice *device);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VirtioDevice, virtio_device_free)

PciDevice *virtio_device_peek_pci(VirtioDevice *device);
VhostBackend *virtio_device_peek_backend(VirtioDevice *device);

/* ---- for those two, and tests ---- */

typedef struct VirtioDeviceConfig {
	uint16_t type;       /* virtio device id */
	uint32_t class_code; /* PCI's */
	uint64_t features;   /* that may be passed on from the daemon to the guest */
	uint64_t own_features;
	const void *space; /* device configuration */
	uint32_t space_len;
	unsigned n_queues;
	uint16_t queue_max;
	/* When the daemon is gone, from any thread, waiting for nothing. May be NULL. */
	void (*gone)(VirtioPci *pci);
} VirtioDeviceConfig;

/* Makes a device of a daemon to be started; its log, broken and opaque are set here. */
VirtioDevice *virtio_device_new(const VirtioContext *context, const VirtioDeviceConfig *config,
				const VhostBackendConfig *backend, GError **error);

#endif
