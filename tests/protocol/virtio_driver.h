/* SPDX-License-Identifier: BSD-3-Clause */
/* A guest's virtio driver, played by a test: registers on the bus, one request at a time. */
#ifndef TESTS_VIRTIO_DRIVER_H
#define TESTS_VIRTIO_DRIVER_H

#include "machine/guest_memory.h"
#include "machine/virtio_device.h"
#include "machine/virtio_pci_wire.h"

#include "../unit/vm_fake.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DRIVER_RAM_LEN (UINT64_C(4) << 20)
#define DRIVER_MEM64   UINT64_C(0x4000000000)
#define DRIVER_MSI     UINT64_C(0xfee00000)
#define DRIVER_RING_N  16

/* Where things are in RAM: queue i's ring at (i + 1) * 64 KiB, buffers from 1 MiB on. */
#define DRIVER_DESC(i)  (UINT64_C(0x10000) * ((i) + 1))
#define DRIVER_AVAIL(i) (DRIVER_DESC(i) + 0x1000)
#define DRIVER_USED(i)  (DRIVER_DESC(i) + 0x2000)
#define DRIVER_BUFFERS  UINT64_C(0x100000)

typedef struct Driver {
	KvmVm *vm;
	MachineBus *bus;
	GuestMemory *memory;
	GuestRegion ram;
	PciDevice *pci;
	uint64_t bar;
	GMutex lock;
	GString *said; /* by the device, to the operator */
} Driver;

static inline void driver_log(void *opaque, const char *line)
{
	Driver *driver = opaque;

	g_mutex_lock(&driver->lock);
	g_string_append_printf(driver->said, "%s\n", line);
	g_mutex_unlock(&driver->lock);
}

static inline bool driver_has_said(Driver *driver, const char *text)
{
	bool found;

	g_mutex_lock(&driver->lock);
	found = strstr(driver->said->str, text) != NULL;
	g_mutex_unlock(&driver->lock);
	return found;
}

static inline void driver_init(Driver *driver)
{
	memset(driver, 0, sizeof(*driver));
	g_mutex_init(&driver->lock);
	driver->said = g_string_new(NULL);
	driver->vm = vm_fake_new();
	driver->bus = machine_bus_new();
	driver->memory = guest_memory_new(driver->vm, true);
	driver->ram = (GuestRegion){ .len = DRIVER_RAM_LEN, .writable = true };
	driver->ram.fd = memfd_create("driver-ram", MFD_CLOEXEC);
	g_assert_cmpint(ftruncate(driver->ram.fd, DRIVER_RAM_LEN), ==, 0);
	driver->ram.hva = mmap(NULL, DRIVER_RAM_LEN, PROT_READ | PROT_WRITE, MAP_SHARED,
			       driver->ram.fd, 0);
	g_assert_true(driver->ram.hva != MAP_FAILED);
	g_assert_cmpint(guest_memory_add_ram(driver->memory, &driver->ram), ==, 0);
}

static inline void driver_clear(Driver *driver)
{
	guest_memory_free(driver->memory);
	machine_bus_free(driver->bus);
	kvm_vm_free(driver->vm);
	munmap(driver->ram.hva, DRIVER_RAM_LEN);
	close(driver->ram.fd);
	g_string_free(driver->said, TRUE);
	g_mutex_clear(&driver->lock);
}

/* RAM's file once more, elsewhere: what the driver writes into RAM is there, too. */
static inline GuestRegion driver_extent(Driver *driver)
{
	GuestRegion extent = driver->ram;

	extent.gpa = UINT64_C(0x5000000000);
	extent.hva = mmap(NULL, extent.len, PROT_READ | PROT_WRITE, MAP_SHARED, extent.fd, 0);
	g_assert_true(extent.hva != MAP_FAILED);
	return extent;
}

static inline VirtioContext driver_context(Driver *driver)
{
	return (VirtioContext){
		.vm = driver->vm,
		.bus = driver->bus,
		.memory = driver->memory,
		.log = driver_log,
		.opaque = driver,
	};
}

/* ---- registers ---- */

static inline uint64_t driver_read(Driver *driver, uint64_t offset, uint32_t len)
{
	uint8_t buf[8] = { 0 };

	machine_bus_access(driver->bus, MACHINE_BUS_MMIO, driver->bar + offset, buf, len, false);
	return le64_load(buf);
}

static inline void driver_write(Driver *driver, uint64_t offset, uint32_t len, uint64_t value)
{
	uint8_t buf[8];

	le64_store(buf, value);
	machine_bus_access(driver->bus, MACHINE_BUS_MMIO, driver->bar + offset, buf, len, true);
}

#define COMMON(field)            offsetof(VirtioPciCommon, field)
#define COMMON_LEN(field)        sizeof(((VirtioPciCommon *)0)->field)
#define READ(driver, field)      driver_read(driver, COMMON(field), COMMON_LEN(field))
#define WRITE(driver, field, to) driver_write(driver, COMMON(field), COMMON_LEN(field), to)

static inline void driver_config(Driver *driver, uint32_t offset, uint32_t len, uint32_t value)
{
	uint8_t buf[4];

	le32_store(buf, value);
	pci_device_config_write(driver->pci, offset, buf, len);
}

static inline uint32_t driver_config_get(Driver *driver, uint32_t offset, uint32_t len)
{
	uint8_t buf[4] = { 0 };

	pci_device_config_read(driver->pci, offset, buf, len);
	return le32_load(buf);
}

/* Its BAR on the bus, MSI-X on, vector i with data 100 + i. */
static inline void driver_find(Driver *driver, PciDevice *pci)
{
	const PciWindows windows = { 0, 0, DRIVER_MEM64, UINT64_C(1) << 30 };
	unsigned cap;

	driver->pci = pci;
	driver->bar = DRIVER_MEM64;
	pci_device_set_windows(pci, &windows);
	driver_config(driver, PCI_CFG_BAR(0), 4, (uint32_t)DRIVER_MEM64);
	driver_config(driver, PCI_CFG_BAR(1), 4, (uint32_t)(DRIVER_MEM64 >> 32));
	driver_config(driver, PCI_CFG_COMMAND, 2, PCI_CMD_MEM | PCI_CMD_MASTER);
	g_assert_cmphex(pci_device_bar_gpa(pci, 0), ==, DRIVER_MEM64);
	for (cap = driver_config_get(driver, PCI_CFG_CAP_PTR, 1);
	     driver_config_get(driver, cap, 1) != PCI_CAP_MSIX;
	     cap = driver_config_get(driver, cap + 1, 1))
		g_assert_cmpuint(cap, !=, 0);
	for (unsigned i = 0; i <= driver_config_get(driver, cap + 2, 2); i++) {
		driver_write(driver, 0x4000 + 16 * i, 8, DRIVER_MSI);
		driver_write(driver, 0x4008 + 16 * i, 4, 100 + i);
		driver_write(driver, 0x400c + 16 * i, 4, 0);
	}
	driver_config(driver, cap + 2, 2, 0x8000);
}

/* Up to FEATURES_OK; the features there are. */
static inline uint64_t driver_negotiate(Driver *driver, uint64_t wanted)
{
	uint64_t features;

	WRITE(driver, status, 0);
	g_assert_cmphex(READ(driver, status), ==, 0);
	WRITE(driver, status, VIRTIO_STATUS_ACKNOWLEDGE);
	WRITE(driver, status, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	WRITE(driver, device_feature_select, 0);
	features = READ(driver, device_feature);
	WRITE(driver, device_feature_select, 1);
	features |= READ(driver, device_feature) << 32;
	WRITE(driver, driver_feature_select, 0);
	WRITE(driver, driver_feature, wanted & features & UINT32_MAX);
	WRITE(driver, driver_feature_select, 1);
	WRITE(driver, driver_feature, (wanted & features) >> 32);
	WRITE(driver, status, 0x0b);
	g_assert_cmphex(READ(driver, status), ==, 0x0b);
	return features;
}

static inline void driver_add_queue(Driver *driver, unsigned queue, uint64_t base)
{
	memset(driver->ram.hva + DRIVER_DESC(queue), 0, 0x3000);
	WRITE(driver, queue_select, queue);
	WRITE(driver, queue_size, DRIVER_RING_N);
	WRITE(driver, queue_vector, queue + 1);
	g_assert_cmpuint(READ(driver, queue_vector), ==, queue + 1);
	WRITE(driver, queue_desc, base + DRIVER_DESC(queue));
	/* By halves, as some do. */
	driver_write(driver, COMMON(queue_avail), 4, (uint32_t)(base + DRIVER_AVAIL(queue)));
	driver_write(driver, COMMON(queue_avail) + 4, 4, (base + DRIVER_AVAIL(queue)) >> 32);
	WRITE(driver, queue_used, base + DRIVER_USED(queue));
	WRITE(driver, queue_enable, 1);
}

static inline void driver_start(Driver *driver, uint64_t wanted, unsigned n_queues)
{
	driver_negotiate(driver, wanted);
	WRITE(driver, config_vector, 0);
	for (unsigned i = 0; i < n_queues; i++)
		driver_add_queue(driver, i, 0);
	WRITE(driver, status, 0x0f);
}

static inline void driver_kick(Driver *driver, unsigned queue)
{
	driver_write(driver, 0x3000 + 4 * queue, 2, queue);
}

/* Until N interrupts of a vector have come. */
static inline void driver_wait_irq(Driver *driver, unsigned vector)
{
	gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;

	while (vm_fake_take_irqs(driver->vm, DRIVER_MSI, 100 + vector) == 0) {
		if (g_get_monotonic_time() > deadline)
			g_error("no interrupt of vector %u; %s", vector, driver->said->str);
		g_usleep(1000);
	}
}

/* ---- requests ---- */

typedef struct DriverPart {
	uint64_t gpa;
	uint32_t len;
	bool is_writable; /* by the device */
} DriverPart;

/* Makes the INDEX-th request (from 0) of a queue available. */
static inline void driver_submit(Driver *driver, unsigned queue, uint16_t index,
				 const DriverPart *parts, unsigned n)
{
	uint8_t *desc = driver->ram.hva + DRIVER_DESC(queue);
	uint8_t *avail = driver->ram.hva + DRIVER_AVAIL(queue);

	for (unsigned i = 0; i < n; i++) {
		le64_store(desc + 16 * i, parts[i].gpa);
		le32_store(desc + 16 * i + 8, parts[i].len);
		le16_store(desc + 16 * i + 12,
			   (uint16_t)((i + 1 < n ? 1 : 0) | (parts[i].is_writable ? 2 : 0)));
		le16_store(desc + 16 * i + 14, (uint16_t)(i + 1));
	}
	le16_store(avail + 4 + 2 * (index % DRIVER_RING_N), 0);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	le16_store(avail + 2, (uint16_t)(index + 1));
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	driver_kick(driver, queue);
}

/* Until the INDEX-th request has been used; the bytes that were written. */
static inline uint32_t driver_wait_used(Driver *driver, unsigned queue, uint16_t index)
{
	const uint8_t *used = driver->ram.hva + DRIVER_USED(queue);
	gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;

	while (le16_load(used + 2) != (uint16_t)(index + 1)) {
		if (g_get_monotonic_time() > deadline)
			g_error("request %u of queue %u is not used; %s", index, queue,
				driver->said->str);
		g_usleep(1000);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	}
	return le32_load(used + 4 + 8 * (index % DRIVER_RING_N) + 4);
}

#endif
