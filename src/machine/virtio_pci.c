/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio over PCI (1.x only): the registers a guest's driver sees; what is behind them is ops. */
#include "machine/virtio_pci.h"

#include "machine/virtio_pci_wire.h"
#include "util/autofd.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/eventfd.h>

/* The one BAR: a page or more for each structure. */
#define BAR         0
#define BAR_LEN     0x8000
#define COMMON      0x0000
#define ISR         0x1000
#define SPACE       0x2000
#define SPACE_MAX   0x1000
#define NOTIFY      0x3000
#define NOTIFY_STEP 4
#define MSIX_TABLE  0x4000
#define MSIX_PBA    0x5000

#define CAP_VENDOR 0x09

typedef struct Queue {
	uint16_t n, vector;
	bool enabled;
	uint64_t desc_gpa, avail_gpa, used_gpa;
	int kick_fd;
	bool has_kick; /* KVM signals kick_fd, at: */
	uint64_t kick_gpa;
} Queue;

struct VirtioPci {
	PciDevice *pci;
	KvmVm *vm;
	const VirtioPciOps *ops;
	void *opaque;
	uint64_t features; /* offered */
	unsigned n_queues;
	uint16_t queue_max;
	uint32_t space_len;

	GMutex lock; /* over all to the next lock; held across ops */
	uint64_t driver_features;
	uint32_t device_select, driver_select;
	uint16_t queue_select;
	uint8_t status; /* without NEEDS_RESET */
	bool is_started;
	Queue queues[VIRTIO_PCI_MAX_QUEUES];

	GMutex space_lock; /* after lock; over the rest; never while anything waits */
	uint8_t space[SPACE_MAX];
	uint8_t generation;
	uint16_t config_vector;
	bool needs_reset;
};

/* ---- kicks ---- */

/*
 * Puts KVM's signals for kicks where the BAR is, GPA, or nowhere. Without them, for want of slots,
 * a kick is an access like any other and signals too.
 */
static void place_kicks(VirtioPci *dev, uint64_t gpa)
{
	for (unsigned i = 0; i < dev->n_queues; i++) {
		Queue *queue = &dev->queues[i];
		uint64_t wanted = gpa + NOTIFY + i * NOTIFY_STEP;

		if (queue->has_kick && (gpa == PCI_BAR_NOWHERE || queue->kick_gpa != wanted)) {
			(void)kvm_vm_ioeventfd(dev->vm, queue->kick_gpa, 0, queue->kick_fd, false);
			queue->has_kick = false;
		}
		if (!queue->has_kick && gpa != PCI_BAR_NOWHERE &&
		    kvm_vm_ioeventfd(dev->vm, wanted, 0, queue->kick_fd, true) == 0) {
			queue->has_kick = true;
			queue->kick_gpa = wanted;
		}
	}
}

static void bar_moved(void *opaque, unsigned bar, uint64_t gpa)
{
	VirtioPci *dev = opaque;

	if (bar != BAR)
		return;
	g_mutex_lock(&dev->lock);
	place_kicks(dev, gpa);
	g_mutex_unlock(&dev->lock);
}

static void kick(VirtioPci *dev, uint64_t offset)
{
	uint64_t one = 1;
	uint64_t queue = (offset - NOTIFY) / NOTIFY_STEP;

	if (queue < dev->n_queues)
		(void)!write(dev->queues[queue].kick_fd, &one, sizeof(one));
}

/* ---- what the driver does ---- */

/* Under the lock. */
static void reset_device(VirtioPci *dev)
{
	if (dev->is_started)
		dev->ops->stop(dev->opaque);
	dev->is_started = false;
	dev->status = 0;
	dev->driver_features = 0;
	dev->device_select = 0;
	dev->driver_select = 0;
	dev->queue_select = 0;
	for (unsigned i = 0; i < dev->n_queues; i++) {
		Queue *queue = &dev->queues[i];
		uint64_t count;

		queue->n = dev->queue_max;
		queue->vector = VIRTIO_NO_VECTOR;
		queue->enabled = false;
		queue->desc_gpa = 0;
		queue->avail_gpa = 0;
		queue->used_gpa = 0;
		(void)!read(queue->kick_fd, &count, sizeof(count));
	}
	g_mutex_lock(&dev->space_lock);
	dev->config_vector = VIRTIO_NO_VECTOR;
	dev->needs_reset = false;
	g_mutex_unlock(&dev->space_lock);
}

static int call_fd(const VirtioPci *dev, const Queue *queue)
{
	return queue->vector == VIRTIO_NO_VECTOR ? -1
						 : pci_device_vector_fd(dev->pci, queue->vector);
}

static void start(VirtioPci *dev)
{
	VirtioQueue queues[VIRTIO_PCI_MAX_QUEUES];

	for (unsigned i = 0; i < dev->n_queues; i++) {
		const Queue *queue = &dev->queues[i];

		queues[i] = (VirtioQueue){
			.n = queue->enabled ? queue->n : 0,
			.desc_gpa = queue->desc_gpa,
			.avail_gpa = queue->avail_gpa,
			.used_gpa = queue->used_gpa,
			.kick_fd = queue->kick_fd,
			.call_fd = call_fd(dev, queue),
		};
	}
	dev->is_started = true;
	if (dev->ops->start(dev->opaque, dev->driver_features, queues, dev->n_queues) < 0)
		virtio_pci_break(dev);
}

/* Bits come one by one, in order, and go only all at once. */
static void write_status(VirtioPci *dev, uint8_t value)
{
	uint8_t added = value & (uint8_t)~dev->status;

	if (value == 0) {
		reset_device(dev);
		return;
	}
	dev->status |= added &
		       (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FAILED);
	if ((added & VIRTIO_STATUS_FEATURES_OK) != 0 &&
	    (dev->driver_features & ~dev->features) == 0 &&
	    (dev->driver_features & VIRTIO_F_VERSION_1) != 0)
		dev->status |= VIRTIO_STATUS_FEATURES_OK;
	if ((added & VIRTIO_STATUS_DRIVER_OK) != 0 &&
	    (dev->status & VIRTIO_STATUS_FEATURES_OK) != 0) {
		dev->status |= VIRTIO_STATUS_DRIVER_OK;
		start(dev);
	}
}

static void write_driver_feature(VirtioPci *dev, uint32_t value)
{
	unsigned shift = 32 * dev->driver_select;

	if (dev->driver_select > 1 || (dev->status & VIRTIO_STATUS_FEATURES_OK) != 0)
		return;
	dev->driver_features &= ~(UINT64_C(0xffffffff) << shift);
	dev->driver_features |= (uint64_t)value << shift;
}

static uint16_t check_vector(const VirtioPci *dev, uint16_t vector)
{
	return pci_device_vector_fd(dev->pci, vector) < 0 ? VIRTIO_NO_VECTOR : vector;
}

static void write_queue_vector(VirtioPci *dev, Queue *queue, uint16_t vector)
{
	queue->vector = check_vector(dev, vector);
	if (dev->is_started && queue->enabled)
		dev->ops->set_call(dev->opaque, (unsigned)(queue - dev->queues),
				   call_fd(dev, queue));
}

/* LEN bytes at offset AT of a 64-bit register that may also be written by halves. */
static void write_half(uint64_t *reg, uint64_t at, uint32_t len, uint64_t value)
{
	if (len == 8)
		*reg = value;
	else if (len == 4 && at == 0)
		*reg = (*reg & ~UINT64_C(0xffffffff)) | value;
	else if (len == 4 && at == 4)
		*reg = (*reg & UINT64_C(0xffffffff)) | value << 32;
}

/* Only before the queue is enabled, and before the driver is ready. */
static void write_queue(VirtioPci *dev, uint64_t offset, uint32_t len, uint64_t value)
{
	Queue *queue = &dev->queues[dev->queue_select];

	if (offset == offsetof(VirtioPciCommon, queue_vector) && len == 2)
		write_queue_vector(dev, queue, (uint16_t)value);
	if (queue->enabled || dev->is_started)
		return;
	if (offset == offsetof(VirtioPciCommon, queue_size) && len == 2) {
		if (value > 0 && value <= dev->queue_max && (value & (value - 1)) == 0)
			queue->n = (uint16_t)value;
	} else if (offset == offsetof(VirtioPciCommon, queue_enable) && len == 2) {
		queue->enabled = value == 1;
	} else if (offset >= offsetof(VirtioPciCommon, queue_used)) {
		write_half(&queue->used_gpa, offset - offsetof(VirtioPciCommon, queue_used), len,
			   value);
	} else if (offset >= offsetof(VirtioPciCommon, queue_avail)) {
		write_half(&queue->avail_gpa, offset - offsetof(VirtioPciCommon, queue_avail), len,
			   value);
	} else if (offset >= offsetof(VirtioPciCommon, queue_desc)) {
		write_half(&queue->desc_gpa, offset - offsetof(VirtioPciCommon, queue_desc), len,
			   value);
	}
}

/* Under the lock. What has not its register's width, or is read-only, is dropped. */
static void write_common(VirtioPci *dev, uint64_t offset, uint32_t len, uint64_t value)
{
	if (offset == offsetof(VirtioPciCommon, device_feature_select) && len == 4) {
		dev->device_select = (uint32_t)value;
	} else if (offset == offsetof(VirtioPciCommon, driver_feature_select) && len == 4) {
		dev->driver_select = (uint32_t)value;
	} else if (offset == offsetof(VirtioPciCommon, driver_feature) && len == 4) {
		write_driver_feature(dev, (uint32_t)value);
	} else if (offset == offsetof(VirtioPciCommon, config_vector) && len == 2) {
		g_mutex_lock(&dev->space_lock);
		dev->config_vector = check_vector(dev, (uint16_t)value);
		g_mutex_unlock(&dev->space_lock);
	} else if (offset == offsetof(VirtioPciCommon, status) && len == 1) {
		write_status(dev, (uint8_t)value);
	} else if (offset == offsetof(VirtioPciCommon, queue_select) && len == 2) {
		dev->queue_select = (uint16_t)value;
	} else if (offset >= offsetof(VirtioPciCommon, queue_size) &&
		   dev->queue_select < dev->n_queues) {
		write_queue(dev, offset, len, value);
	}
}

/* Under the lock. */
static void read_common(VirtioPci *dev, VirtioPciCommon *ret)
{
	*ret = (VirtioPciCommon){
		.device_feature_select = le32_put(dev->device_select),
		.driver_feature_select = le32_put(dev->driver_select),
		.n_queues = le16_put((uint16_t)dev->n_queues),
		.queue_select = le16_put(dev->queue_select),
	};
	if (dev->device_select <= 1)
		ret->device_feature =
			le32_put((uint32_t)(dev->features >> (32 * dev->device_select)));
	if (dev->driver_select <= 1)
		ret->driver_feature =
			le32_put((uint32_t)(dev->driver_features >> (32 * dev->driver_select)));
	if (dev->queue_select < dev->n_queues) {
		const Queue *queue = &dev->queues[dev->queue_select];

		ret->queue_size = le16_put(queue->n);
		ret->queue_vector = le16_put(queue->vector);
		ret->queue_enable = le16_put(queue->enabled);
		ret->queue_notify_off = le16_put(dev->queue_select);
		ret->queue_desc = le64_put(queue->desc_gpa);
		ret->queue_avail = le64_put(queue->avail_gpa);
		ret->queue_used = le64_put(queue->used_gpa);
	}
	g_mutex_lock(&dev->space_lock);
	ret->status = dev->status;
	if (dev->needs_reset && dev->status != 0)
		ret->status |= VIRTIO_STATUS_NEEDS_RESET;
	ret->generation = dev->generation;
	ret->config_vector = le16_put(dev->config_vector);
	g_mutex_unlock(&dev->space_lock);
}

/* ---- the BAR ---- */

/* The part of [OFFSET, OFFSET + LEN) that is in a structure at AT; the rest of BUF stays. */
static void copy_part(void *buf, uint64_t offset, uint32_t len, uint64_t at, const void *bytes,
		      uint32_t n)
{
	for (uint32_t i = 0; i < len; i++) {
		if (offset + i >= at && offset + i - at < n)
			((uint8_t *)buf)[i] = ((const uint8_t *)bytes)[offset + i - at];
	}
}

static void bar_read(void *opaque, unsigned bar, uint64_t offset, void *buf, uint32_t len)
{
	VirtioPci *dev = opaque;
	/* Interrupts are messages: none is ever pending here. */
	static const uint8_t isr;

	memset(buf, 0, len);
	if (offset < sizeof(VirtioPciCommon)) {
		VirtioPciCommon common;

		g_mutex_lock(&dev->lock);
		read_common(dev, &common);
		g_mutex_unlock(&dev->lock);
		copy_part(buf, offset, len, COMMON, &common, sizeof(common));
	} else if (offset >= SPACE && offset < SPACE + SPACE_MAX) {
		g_mutex_lock(&dev->space_lock);
		copy_part(buf, offset, len, SPACE, dev->space, dev->space_len);
		g_mutex_unlock(&dev->space_lock);
	} else {
		copy_part(buf, offset, len, ISR, &isr, sizeof(isr));
	}
}

static void bar_write(void *opaque, unsigned bar, uint64_t offset, const void *buf, uint32_t len)
{
	VirtioPci *dev = opaque;
	uint8_t bytes[8] = { 0 };

	if (len > sizeof(bytes))
		return;
	memcpy(bytes, buf, len);
	if (offset < sizeof(VirtioPciCommon)) {
		g_mutex_lock(&dev->lock);
		write_common(dev, offset, len, le64_load(bytes));
		g_mutex_unlock(&dev->lock);
	} else if (offset >= NOTIFY && offset < MSIX_TABLE) {
		kick(dev, offset);
	}
}

static void pci_reset(void *opaque)
{
	VirtioPci *dev = opaque;

	g_mutex_lock(&dev->lock);
	reset_device(dev);
	g_mutex_unlock(&dev->lock);
}

static const PciDeviceOps pci_ops = {
	.bar_read = bar_read,
	.bar_write = bar_write,
	.bar_moved = bar_moved,
	.reset = pci_reset,
};

/* ---- what the device does ---- */

static void raise_config(VirtioPci *dev)
{
	uint16_t vector;

	g_mutex_lock(&dev->space_lock);
	vector = dev->config_vector;
	g_mutex_unlock(&dev->space_lock);
	if (vector != VIRTIO_NO_VECTOR)
		pci_device_raise(dev->pci, vector);
}

void virtio_pci_break(VirtioPci *dev)
{
	g_mutex_lock(&dev->space_lock);
	dev->needs_reset = true;
	g_mutex_unlock(&dev->space_lock);
	raise_config(dev);
}

void virtio_pci_change_space(VirtioPci *dev, uint32_t offset, const void *bytes, uint32_t len)
{
	g_assert(len <= dev->space_len && offset <= dev->space_len - len);
	g_mutex_lock(&dev->space_lock);
	memcpy(dev->space + offset, bytes, len);
	dev->generation++;
	g_mutex_unlock(&dev->space_lock);
	raise_config(dev);
}

/* ---- making one ---- */

static void put_bytes(PciDevice *pci, uint8_t at, const void *bytes, unsigned len)
{
	for (unsigned i = 2; i < len; i++)
		pci_device_set(pci, at + i, 1, ((const uint8_t *)bytes)[i], 0);
}

static void add_cap(PciDevice *pci, enum virtio_pci_cap_type type, uint32_t offset, uint32_t length)
{
	VirtioPciNotifyCap notify = {
		.cap = {
			.type = (uint8_t)type,
			.bar = BAR,
			.offset = le32_put(offset),
			.length = le32_put(length),
		},
		.multiplier = le32_put(NOTIFY_STEP),
	};
	unsigned len = type == VIRTIO_PCI_CAP_NOTIFY ? sizeof(notify) : sizeof(notify.cap);

	notify.cap.len = (uint8_t)len;
	put_bytes(pci, pci_device_add_cap(pci, CAP_VENDOR, (uint8_t)len), &notify, len);
}

static bool add_pci(VirtioPci *dev, const VirtioPciConfig *config, GError **error)
{
	const PciDeviceIds ids = {
		.vendor_id = VIRTIO_PCI_VENDOR,
		.device_id = VIRTIO_PCI_DEVICE_0 + config->type,
		.subsys_vendor_id = VIRTIO_PCI_VENDOR,
		.subsys_id = VIRTIO_PCI_DEVICE_0 + config->type,
		.class_code = config->class_code,
		.revision = 1,
	};

	dev->pci = pci_device_new(config->vm, config->bus, &ids, &pci_ops, dev);
	pci_device_add_bar(dev->pci, BAR, BAR_LEN, PCI_BAR_MEM_64 | PCI_BAR_PREFETCH);
	add_cap(dev->pci, VIRTIO_PCI_CAP_COMMON, COMMON, sizeof(VirtioPciCommon));
	add_cap(dev->pci, VIRTIO_PCI_CAP_ISR, ISR, 1);
	add_cap(dev->pci, VIRTIO_PCI_CAP_DEVICE, SPACE, config->space_len);
	add_cap(dev->pci, VIRTIO_PCI_CAP_NOTIFY, NOTIFY, config->n_queues * NOTIFY_STEP);
	/* One vector for each queue and one for the device. */
	return pci_device_add_msix(dev->pci, config->n_queues + 1, BAR, MSIX_TABLE, MSIX_PBA,
				   error);
}

VirtioPci *virtio_pci_new(const VirtioPciConfig *config, GError **error)
{
	g_autoptr(VirtioPci) dev = g_new0(VirtioPci, 1);

	g_assert(config->n_queues <= VIRTIO_PCI_MAX_QUEUES && config->space_len <= SPACE_MAX);
	dev->vm = config->vm;
	dev->ops = config->ops;
	dev->opaque = config->opaque;
	dev->features = config->features;
	dev->n_queues = config->n_queues;
	dev->queue_max = config->queue_max;
	dev->space_len = config->space_len;
	memcpy(dev->space, config->space, config->space_len);
	g_mutex_init(&dev->lock);
	g_mutex_init(&dev->space_lock);
	for (unsigned i = 0; i < VIRTIO_PCI_MAX_QUEUES; i++)
		dev->queues[i].kick_fd = -EBADF;
	for (unsigned i = 0; i < dev->n_queues; i++) {
		dev->queues[i].kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (dev->queues[i].kick_fd < 0) {
			g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno),
				    "virtio device %u: no eventfd: %s", config->type,
				    g_strerror(errno));
			return NULL;
		}
	}
	if (!add_pci(dev, config, error))
		return NULL;
	reset_device(dev);
	return g_steal_pointer(&dev);
}

void virtio_pci_free(VirtioPci *dev)
{
	if (dev == NULL)
		return;
	place_kicks(dev, PCI_BAR_NOWHERE);
	pci_device_free(dev->pci);
	for (unsigned i = 0; i < dev->n_queues; i++)
		fd_close_auto(&dev->queues[i].kick_fd);
	g_mutex_clear(&dev->lock);
	g_mutex_clear(&dev->space_lock);
	g_free(dev);
}

PciDevice *virtio_pci_peek(VirtioPci *dev)
{
	return dev->pci;
}
