/* SPDX-License-Identifier: BSD-3-Clause */
/* A network for the guest: a virtio network card on the user-mode network that passt makes. */
#include "machine/backend_proc.h"
#include "machine/backend_program.h"
#include "machine/virtio_device.h"
#include "machine/virtio_pci_wire.h"

#include <gio/gio.h>
#include <stddef.h>
#include <unistd.h>

#define N_QUEUES 2 /* receive, transmit */
/* passt (2026-07) collects all buffers there are for one read, and ends when these are 1024. */
#define QUEUE_MAX 256
#define PCI_CLASS 0x020000 /* Ethernet */
#define NOBODY    "65534:65534"

static const char *const folders[] = { "/usr/local/bin", "/usr/bin", NULL };

static void link_down(VirtioPci *pci)
{
	const le16 status = le16_put(0);

	virtio_pci_change_space(pci, offsetof(VirtioNetSpace, status), &status, sizeof(status));
}

/* In the foreground, for one guest; it says nothing unless something is wrong. */
static GPtrArray *make_argv(const char *path)
{
	static const char *const always[] = {
		"--vhost-user",
		"--foreground",
		"--quiet",
		"--one-off",
		("--fd=" BACKEND_PROC_FD_TEXT),
	};
	GPtrArray *argv = g_ptr_array_new();

	g_ptr_array_add(argv, (gpointer)path);
	for (unsigned i = 0; i < G_N_ELEMENTS(always); i++)
		g_ptr_array_add(argv, (gpointer)always[i]);
	/* What it would do as root, but without asking who "nobody" is. */
	if (geteuid() == 0)
		g_ptr_array_add(argv, (gpointer) "--runas=" NOBODY);
	/* In an initramfs it cannot change its root any other way. */
	if (backend_program_knows(path, "--chroot-fallback"))
		g_ptr_array_add(argv, (gpointer) "--chroot-fallback");
	g_ptr_array_add(argv, NULL);
	return argv;
}

VirtioDevice *virtio_net_new(const VirtioContext *context, GError **error)
{
	g_autofree char *path = backend_program_find("passt", folders);
	/* Locally administered. Each machine has a network of its own, so one is enough. */
	const VirtioNetSpace space = {
		.mac = { 0x52, 0x53, 0x44, 0x43, 0x44, 0x01 },
		.status = le16_put(VIRTIO_NET_S_LINK_UP),
	};
	const VirtioDeviceConfig config = {
		.type = VIRTIO_TYPE_NET,
		.class_code = PCI_CLASS,
		.features = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX |
			    VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_OFFLOADS |
			    VIRTIO_NET_F_MERGED_BUFFERS,
		/* The daemon knows nothing of these two: they are about our configuration. */
		.own_features = VIRTIO_NET_F_MAC | VIRTIO_NET_F_STATUS,
		.space = &space,
		.space_len = sizeof(space),
		.n_queues = N_QUEUES,
		.queue_max = QUEUE_MAX,
		.gone = link_down,
	};
	VhostBackendConfig backend = { .name = "passt" };
	g_autoptr(GPtrArray) argv = NULL;

	if (path == NULL) {
		g_set_error(
			error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
			"network: no passt in PATH: apt-get install passt (Debian 13 or later)");
		return NULL;
	}
	if (!backend_program_knows(path, "--vhost-user")) {
		g_set_error(
			error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
			"network: %s is too old, it has no --vhost-user: passt of 2025 or later "
			"has (Debian 13)",
			path);
		return NULL;
	}
	argv = make_argv(path);
	backend.argv = (const char *const *)argv->pdata;
	return virtio_device_new(context, &config, &backend, error);
}
