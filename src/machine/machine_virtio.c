/* SPDX-License-Identifier: BSD-3-Clause */
/* The virtio devices a machine is configured with: shares and a network. */
#include "machine/machine_virtio.h"

static bool add(GPtrArray *devices, VirtioDevice *device, PciHost *host, GError **error)
{
	if (device == NULL)
		return false;
	g_ptr_array_add(devices, device);
	return pci_host_plug(host, virtio_device_peek_pci(device), error);
}

static void free_device(gpointer device)
{
	virtio_device_free(device);
}

bool machine_virtio_make(const MachineConfig *config, const VirtioContext *context, PciHost *host,
			 GPtrArray **ret_devices, GError **error)
{
	GPtrArray *devices = g_ptr_array_new_with_free_func(free_device);

	*ret_devices = devices;
	for (unsigned i = 0; i < config->n_shares; i++) {
		const MachineShare *share = &config->shares[i];

		if (!add(devices, virtio_share_new(context, share->dir, share->tag, error), host,
			 error))
			return false;
	}
	return !config->has_net || add(devices, virtio_net_new(context, error), host, error);
}
