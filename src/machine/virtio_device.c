/* SPDX-License-Identifier: BSD-3-Clause */
/* A virtio device that a vhost-user daemon serves: rings of the guest become rings of the daemon.
 */
#include "machine/virtio_device.h"

#include "machine/virtio_pci_wire.h"

#include <errno.h>
#include <gio/gio.h>

/* virtio 1.2, 2.7: a split ring's parts, for N descriptors */
#define DESC_LEN(n)  (16 * (uint64_t)(n))
#define AVAIL_LEN(n) (6 + 2 * (uint64_t)(n))
#define USED_LEN(n)  (6 + 8 * (uint64_t)(n))

#define DESC_ALIGN  16
#define AVAIL_ALIGN 2
#define USED_ALIGN  4

struct VirtioDevice {
	char *name;
	GuestMemory *memory;
	GuestListener *listener;
	VhostBackend *backend;
	VirtioPci *pci; /* atomic: NULL until it is there */
	void (*gone)(VirtioPci *pci);
	void (*log)(void *opaque, const char *line);
	void *opaque;
};

/* ---- rings ---- */

/* The address in this process of LEN bytes that the device may use, or 0, which it knows not. */
static uint64_t find_part(VirtioDevice *device, uint64_t gpa, uint64_t len, uint64_t align)
{
	GuestRegion region;

	if (gpa % align != 0 || gpa + len < gpa ||
	    !guest_memory_find(device->memory, gpa, len, &region) || !region.writable ||
	    region.fd < 0)
		return 0;
	return (uintptr_t)region.hva + (gpa - region.gpa);
}

static VhostUserRing find_ring(VirtioDevice *device, const VirtioQueue *queue)
{
	VhostUserRing ring = {
		.n = queue->n,
		.kick_fd = queue->kick_fd,
		.call_fd = queue->call_fd,
	};

	if (queue->n == 0)
		return ring;
	ring.desc_hva = find_part(device, queue->desc_gpa, DESC_LEN(queue->n), DESC_ALIGN);
	ring.avail_hva = find_part(device, queue->avail_gpa, AVAIL_LEN(queue->n), AVAIL_ALIGN);
	ring.used_hva = find_part(device, queue->used_gpa, USED_LEN(queue->n), USED_ALIGN);
	return ring;
}

static int start(void *opaque, uint64_t features, const VirtioQueue *queues, unsigned n)
{
	VirtioDevice *device = opaque;
	VhostUserRing rings[VIRTIO_PCI_MAX_QUEUES];

	for (unsigned i = 0; i < n; i++)
		rings[i] = find_ring(device, &queues[i]);
	return vhost_backend_start(device->backend, features, rings, n);
}

static void stop(void *opaque)
{
	VirtioDevice *device = opaque;

	vhost_backend_stop(device->backend);
}

static void set_call(void *opaque, unsigned queue, int call_fd)
{
	VirtioDevice *device = opaque;

	vhost_backend_set_call(device->backend, queue, call_fd);
}

static const VirtioPciOps pci_ops = {
	.start = start,
	.stop = stop,
	.set_call = set_call,
};

/* From any thread. */
static void broken(void *opaque)
{
	VirtioDevice *device = opaque;
	VirtioPci *pci = __atomic_load_n(&device->pci, __ATOMIC_ACQUIRE);

	if (pci == NULL)
		return;
	virtio_pci_break(pci);
	if (device->gone != NULL)
		device->gone(pci);
}

static void pass_on(void *opaque, const char *line)
{
	VirtioDevice *device = opaque;

	if (device->log != NULL)
		device->log(device->opaque, line);
}

/* ---- making one ---- */

static bool add_pci(VirtioDevice *device, const VirtioContext *context,
		    const VirtioDeviceConfig *config, GError **error)
{
	uint64_t offered = vhost_backend_features(device->backend) & config->features;
	VirtioPciConfig pci_config = {
		.vm = context->vm,
		.bus = context->bus,
		.type = config->type,
		.class_code = config->class_code,
		.features = offered | config->own_features,
		.n_queues = config->n_queues,
		.queue_max = config->queue_max,
		.space = config->space,
		.space_len = config->space_len,
		.ops = &pci_ops,
		.opaque = device,
	};
	VirtioPci *pci = virtio_pci_new(&pci_config, error);

	__atomic_store_n(&device->pci, pci, __ATOMIC_RELEASE);
	return pci != NULL;
}

static bool listen_to_memory(VirtioDevice *device, const VirtioContext *context, GError **error)
{
	int rc = 0;

	device->listener = guest_memory_listen(context->memory, &vhost_backend_listener_ops,
					       device->backend,
					       vhost_backend_max_regions(device->backend), &rc);
	if (device->listener == NULL)
		g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-rc),
			    "%s: cannot give it the guest's memory: %s", device->name,
			    g_strerror(-rc));
	return device->listener != NULL;
}

VirtioDevice *virtio_device_new(const VirtioContext *context, const VirtioDeviceConfig *config,
				const VhostBackendConfig *backend, GError **error)
{
	g_autoptr(VirtioDevice) device = g_new0(VirtioDevice, 1);
	VhostBackendConfig backend_config = *backend;

	device->name = g_strdup(backend->name);
	device->memory = context->memory;
	device->gone = config->gone;
	device->log = context->log;
	device->opaque = context->opaque;
	backend_config.n_rings = config->n_queues;
	backend_config.log = pass_on;
	backend_config.broken = broken;
	backend_config.opaque = device;
	device->backend = vhost_backend_spawn(&backend_config, error);
	if (device->backend == NULL || !listen_to_memory(device, context, error) ||
	    !add_pci(device, context, config, error))
		return NULL;
	/* What ended before there was a device to break. */
	if (!vhost_backend_is_alive(device->backend))
		broken(device);
	return g_steal_pointer(&device);
}

void virtio_device_free(VirtioDevice *device)
{
	if (device == NULL)
		return;
	/* In this order: nothing is started or added any more, then the daemon ends. */
	if (device->listener != NULL)
		guest_memory_unlisten(device->memory, device->listener);
	if (device->backend != NULL)
		vhost_backend_free(device->backend);
	virtio_pci_free(device->pci);
	g_free(device->name);
	g_free(device);
}

PciDevice *virtio_device_peek_pci(VirtioDevice *device)
{
	return virtio_pci_peek(device->pci);
}

VhostBackend *virtio_device_peek_backend(VirtioDevice *device)
{
	return device->backend;
}
