/* SPDX-License-Identifier: BSD-3-Clause */
/* PCI function of this process: registers as bytes and masks, BARs and MSI-X beside them. */
#include "machine/pci_device.h"

#include "fabric/reg_block.h"
#include "machine/config_access.h"
#include "machine/pci_msix.h"

#include <errno.h>
#include <string.h>

#define CAPS_FIRST 0x40
#define CAPS_END   PCI_CONFIG_CONVENTIONAL_LEN

#define COMMAND_WRITABLE \
	(PCI_CMD_MEM | PCI_CMD_MASTER | PCI_CMD_PARITY | PCI_CMD_SERR | PCI_CMD_INTX_DISABLE)

struct PciDevice {
	KvmVm *vm;
	PciDeviceOps ops;
	void *opaque;
	PciBars *bars;
	PciMsix *msix; /* NULL = none */
	uint8_t msix_cap;
	uint8_t af_cap;   /* so that a guest can reset it */
	uint8_t last_cap; /* 0 = none */
	unsigned caps_end;
	GMutex lock; /* of config */
	RegBlock config;
	uint8_t after_reset[PCI_CONFIG_LEN];
};

/* ---- BARs ---- */

static void access_bar(PciDevice *dev, unsigned bar, uint64_t offset, uint8_t *buf, uint32_t len,
		       bool is_write)
{
	while (len > 0) {
		uint32_t run = len;
		bool is_served = false;

		if (dev->msix)
			run = pci_msix_access(dev->msix, bar, offset, buf, len, is_write,
					      &is_served);
		if (!is_served && is_write)
			dev->ops.bar_write(dev->opaque, bar, offset, buf, run);
		else if (!is_served)
			dev->ops.bar_read(dev->opaque, bar, offset, buf, run);
		offset += run;
		buf += run;
		len -= run;
	}
}

static void read_bar(void *opaque, unsigned bar, uint64_t offset, void *buf, uint32_t len)
{
	access_bar(opaque, bar, offset, buf, len, false);
}

static void write_bar(void *opaque, unsigned bar, uint64_t offset, const void *buf, uint32_t len)
{
	/* Nothing writes to BUF when it is a write. */
	access_bar(opaque, bar, offset, (uint8_t *)buf, len, true);
}

static void bar_moved(void *opaque, unsigned bar, uint64_t gpa)
{
	PciDevice *dev = opaque;

	if (dev->ops.bar_moved)
		dev->ops.bar_moved(dev->opaque, bar, gpa);
}

static const PciBarsOps bars_ops = { .read = read_bar, .write = write_bar, .moved = bar_moved };

/* ---- building one ---- */

PciDevice *pci_device_new(KvmVm *vm, MachineBus *bus, const PciDeviceIds *ids,
			  const PciDeviceOps *ops, void *opaque)
{
	PciDevice *dev = g_new0(PciDevice, 1);

	dev->vm = vm;
	dev->ops = *ops;
	dev->opaque = opaque;
	dev->bars = pci_bars_new(bus, &bars_ops, dev);
	dev->caps_end = CAPS_FIRST;
	g_mutex_init(&dev->lock);
	reg_block_init(&dev->config, PCI_CONFIG_LEN);
	pci_device_set(dev, PCI_CFG_VENDOR_ID, 2, ids->vendor_id, 0);
	pci_device_set(dev, PCI_CFG_DEVICE_ID, 2, ids->device_id, 0);
	pci_device_set(dev, PCI_CFG_COMMAND, 2, 0, COMMAND_WRITABLE);
	pci_device_set(dev, PCI_CFG_REVISION, 4, ids->class_code << 8 | ids->revision, 0);
	pci_device_set(dev, PCI_CFG_CACHE_LINE, 1, 0, 0xff);
	pci_device_set(dev, PCI_CFG0_SUBSYS_VENDOR_ID, 2, ids->subsys_vendor_id, 0);
	pci_device_set(dev, PCI_CFG0_SUBSYS_ID, 2, ids->subsys_id, 0);
	pci_device_set(dev, PCI_CFG_INT_LINE, 1, 0, 0xff);
	dev->af_cap = pci_device_add_cap(dev, PCI_CAP_AF, PCI_AF_LEN);
	pci_device_set(dev, dev->af_cap + PCI_AF_CAP_LEN, 1, PCI_AF_LEN, 0);
	pci_device_set(dev, dev->af_cap + PCI_AF_CAPS, 1, PCI_AF_CAPS_TP | PCI_AF_CAPS_FLR, 0);
	return dev;
}

void pci_device_free(PciDevice *dev)
{
	if (!dev)
		return;
	pci_bars_free(dev->bars);
	pci_msix_free(dev->msix);
	reg_block_clear(&dev->config);
	g_mutex_clear(&dev->lock);
	g_free(dev);
}

void pci_device_set(PciDevice *dev, uint16_t offset, unsigned width, uint32_t value,
		    uint32_t writable)
{
	g_mutex_lock(&dev->lock);
	reg_block_define(&dev->config, offset, width, value, writable, 0);
	memcpy(&dev->after_reset[offset], &dev->config.value[offset], width);
	g_mutex_unlock(&dev->lock);
}

void pci_device_add_bar(PciDevice *dev, unsigned bar, uint64_t len, uint32_t flags)
{
	pci_bars_add(dev->bars, bar, len, flags);
}

uint8_t pci_device_add_cap(PciDevice *dev, uint8_t id, uint8_t len)
{
	uint8_t at = (uint8_t)dev->caps_end;

	g_assert(len >= 2 && dev->caps_end + len <= CAPS_END);
	dev->caps_end += (len + 3u) & ~3u;
	pci_device_set(dev, at, 1, id, 0);
	pci_device_set(dev, dev->last_cap ? dev->last_cap + 1 : PCI_CFG_CAP_PTR, 1, at, 0);
	pci_device_set(dev, PCI_CFG_STATUS, 2, PCI_STA_CAP_LIST, 0);
	dev->last_cap = at;
	return at;
}

bool pci_device_add_msix(PciDevice *dev, unsigned n_vectors, unsigned bar, uint32_t table_offset,
			 uint32_t pba_offset, GError **error)
{
	PciMsixConfig config = {
		.n_vectors = n_vectors,
		.table_bar = bar,
		.pba_bar = bar,
		.table_offset = table_offset,
		.pba_offset = pba_offset,
	};

	g_assert(!dev->msix && bar < PCI_CFG0_N_BARS);
	dev->msix = pci_msix_new(dev->vm, &config, error);
	if (!dev->msix)
		return false;
	dev->msix_cap = pci_device_add_cap(dev, PCI_CAP_MSIX, PCI_MSIX_CAP_LEN);
	pci_device_set(dev, dev->msix_cap + PCI_MSIX_TABLE_REG, 4, table_offset | bar, 0);
	pci_device_set(dev, dev->msix_cap + PCI_MSIX_PBA_REG, 4, pba_offset | bar, 0);
	return true;
}

void pci_device_set_windows(PciDevice *dev, const PciWindows *windows)
{
	pci_bars_set_windows(dev->bars, windows);
}

/* ---- configuration space ---- */

static uint16_t command(PciDevice *dev)
{
	uint16_t value;

	g_mutex_lock(&dev->lock);
	value = (uint16_t)reg_block_get(&dev->config, PCI_CFG_COMMAND, 2);
	g_mutex_unlock(&dev->lock);
	return value;
}

void pci_device_config_read(PciDevice *dev, uint32_t offset, void *buf, uint32_t len)
{
	uint32_t ctrl_at = dev->msix_cap + PCI_MSIX_CTRL;

	g_mutex_lock(&dev->lock);
	reg_block_read(&dev->config, offset, buf, len);
	g_mutex_unlock(&dev->lock);
	pci_bars_config_read(dev->bars, offset, buf, len);
	if (dev->msix)
		config_overlay(offset, buf, len, ctrl_at, 2, pci_msix_ctrl(dev->msix));
}

void pci_device_config_write(PciDevice *dev, uint32_t offset, const void *buf, uint32_t len)
{
	uint32_t ctrl_at = dev->msix_cap + PCI_MSIX_CTRL, flr_at = dev->af_cap + PCI_AF_CTRL;
	const uint8_t *bytes = buf;

	g_mutex_lock(&dev->lock);
	reg_block_write(&dev->config, offset, buf, len);
	g_mutex_unlock(&dev->lock);
	pci_bars_config_write(dev->bars, offset, buf, len);
	if (config_touches(offset, len, PCI_CFG_COMMAND, 2))
		pci_bars_set_decoding(dev->bars, command(dev) & PCI_CMD_MEM);
	/* All that can be written is in the upper byte. */
	if (dev->msix && config_touches(offset, len, ctrl_at + 1, 1))
		pci_msix_set_ctrl(dev->msix, (uint16_t)(bytes[ctrl_at + 1 - offset] << 8));
	if (config_touches(offset, len, flr_at, 1) && (bytes[flr_at - offset] & PCI_AF_CTRL_FLR))
		pci_device_reset(dev);
}

void pci_device_reset(PciDevice *dev)
{
	pci_bars_reset(dev->bars);
	if (dev->msix)
		pci_msix_reset(dev->msix);
	g_mutex_lock(&dev->lock);
	memcpy(dev->config.value, dev->after_reset, sizeof(dev->after_reset));
	g_mutex_unlock(&dev->lock);
	if (dev->ops.reset)
		dev->ops.reset(dev->opaque);
}

/* ---- for the device itself ---- */

int pci_device_vector_fd(PciDevice *dev, unsigned vector)
{
	return dev->msix ? pci_msix_peek_fd(dev->msix, vector) : -EBADF;
}

void pci_device_raise(PciDevice *dev, unsigned vector)
{
	if (dev->msix)
		pci_msix_raise(dev->msix, vector);
}

bool pci_device_is_bus_master(PciDevice *dev)
{
	return command(dev) & PCI_CMD_MASTER;
}

uint64_t pci_device_bar_gpa(PciDevice *dev, unsigned bar)
{
	return pci_bars_gpa(dev->bars, bar);
}
