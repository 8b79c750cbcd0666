/* SPDX-License-Identifier: BSD-3-Clause */
/* The virtio devices a machine is configured with: shares and a network. */
#ifndef MACHINE_MACHINE_VIRTIO_H
#define MACHINE_MACHINE_VIRTIO_H

#include "machine/machine.h"
#include "machine/pci_host.h"
#include "machine/virtio_device.h"

#include <glib.h>

/*
 * Starts their daemons and plugs them; before devices of pools are attached, as the limits these
 * are told depend on the daemons. RET_DEVICES is the caller's, also on failure: VirtioDevices, to
 * be freed after HOST and before the context's memory. On the thread virtio_device.h says.
 */
bool machine_virtio_make(const MachineConfig *config, const VirtioContext *context, PciHost *host,
			 GPtrArray **ret_devices, GError **error);

#endif
