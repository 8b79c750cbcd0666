/* SPDX-License-Identifier: BSD-3-Clause */
/* A memory device: its DVSECs and register blocks, and getting it ready. */
#include "driver/driver_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEV_CAPS  256
#define VALID_WAIT_MS 2000 /* until the size of a range is known */
#define READY_POLL_US 100000
#define VALID_POLL_US 10000

/* Component capabilities an endpoint must or may have: HDM decoders and RAS */
static int probe_component(CxlMemdev *memdev)
{
	CxlDriver *driver = memdev->driver;
	RegBlock cachemem;
	uint32_t header;
	int err;

	err = pci_find_block(driver, memdev->info.bdf, &memdev->dvsecs, CXL_LOCATOR_ID_COMPONENT,
			     &memdev->component);
	if (err >= 0)
		err = hdm_block_probe(&memdev->hdm, &memdev->component);
	if (err < 0)
		return err;
	memdev->info.n_decoders = memdev->hdm.n_decoders;
	if (regs_slice(&memdev->component, CXL_COMPONENT_CACHEMEM, CXL_COMPONENT_CACHEMEM_LEN,
		       &cachemem) < 0 ||
	    regs_read32(&cachemem, 0, &header) < 0)
		return 0;
	for (unsigned i = 1; i <= CXL_FIELD_GET(CXL_CM_ARRAY_COUNT, header); i++) {
		uint32_t entry;

		if (regs_read32(&cachemem, 4u * i, &entry) < 0)
			break;
		if (CXL_FIELD_GET(CXL_CM_CAP_ID, entry) == CXL_CM_ID_RAS &&
		    regs_slice(&cachemem, CXL_FIELD_GET(CXL_CM_CAP_PTR, entry), CXL_RAS_LEN,
			       &memdev->ras) >= 0)
			break;
	}
	return 0;
}

/* The first capability of an id counts; one outside the block counts as absent. */
static void take_cap(CxlMemdev *memdev, const CxlDevCapHeader *header)
{
	RegBlock part;
	RegBlock *slot;
	uint32_t min_len;

	switch (le16_get(header->id)) {
	case CXL_DEV_CAP_ID_STATUS:
		slot = &memdev->status;
		min_len = 4;
		break;
	case CXL_DEV_CAP_ID_MAILBOX:
		slot = &memdev->mailbox;
		min_len = CXL_MBOX_PAYLOAD;
		break;
	case CXL_DEV_CAP_ID_MEMDEV_STATUS:
		slot = &memdev->memdev_status;
		min_len = CXL_MEMDEV_STATUS_LEN;
		break;
	default:
		return;
	}
	if (slot->len || le32_get(header->len) < min_len || le32_get(header->offset) % 8)
		return;
	if (regs_slice(&memdev->device, le32_get(header->offset), le32_get(header->len), &part) >=
	    0)
		*slot = part;
}

static bool overlap(const RegBlock *a, const RegBlock *b)
{
	return a->offset < b->offset + b->len && b->offset < a->offset + a->len;
}

static int probe_device_regs(CxlMemdev *memdev)
{
	CxlDriver *driver = memdev->driver;
	uint64_t array;
	unsigned n_caps;
	int err;

	err = pci_find_block(driver, memdev->info.bdf, &memdev->dvsecs, CXL_LOCATOR_ID_DEVICE,
			     &memdev->device);
	if (err < 0)
		return err;
	if (regs_read64(&memdev->device, 0, &array) < 0 ||
	    CXL_FIELD_GET(CXL_DEV_CAP_ARRAY_ID, array) != 0)
		return driver_fail(driver, -ENXIO, "%s: no device capability array", memdev->name);
	n_caps = (unsigned)CXL_FIELD_GET(CXL_DEV_CAP_ARRAY_COUNT, array);
	if (n_caps > MAX_DEV_CAPS)
		return driver_fail(driver, -ENXIO, "%s: %u device capabilities", memdev->name,
				   n_caps);
	for (unsigned i = 0; i < n_caps; i++) {
		CxlDevCapHeader header;

		/* Two reads: registers are accessed by at most eight bytes. */
		err = regs_read(&memdev->device, CXL_DEV_CAP_HEADER(i), &header, 8);
		if (err >= 0)
			err = regs_read(&memdev->device, CXL_DEV_CAP_HEADER(i) + 8,
					(uint8_t *)&header + 8, 8);
		if (err < 0)
			return driver_fail(driver, -ERANGE,
					   "%s: device capability %u is outside its block",
					   memdev->name, i);
		take_cap(memdev, &header);
	}
	if (!memdev->status.len || !memdev->mailbox.len || !memdev->memdev_status.len)
		return driver_fail(driver, -ENXIO, "%s: device registers lack a sane %s capability",
				   memdev->name,
				   !memdev->status.len    ? "status"
				   : !memdev->mailbox.len ? "mailbox"
							  : "memory device status");
	if (overlap(&memdev->status, &memdev->mailbox) ||
	    overlap(&memdev->status, &memdev->memdev_status) ||
	    overlap(&memdev->mailbox, &memdev->memdev_status))
		return driver_fail(driver, -ENXIO, "%s: device capabilities overlap", memdev->name);
	return 0;
}

uint64_t memdev_read_serial(CxlMemdev *memdev)
{
	CxlDriver *driver = memdev->driver;
	uint32_t bdf = memdev->info.bdf;
	ExtCap caps[PCI_MAX_EXTCAPS];
	unsigned n = pci_read_extcaps(driver, bdf, caps);

	for (unsigned i = 0; i < n; i++) {
		uint32_t at = caps[i].offset;

		if (caps[i].id == PCI_EXTCAP_DSN && at + PCI_DSN_LEN <= PCI_CONFIG_LEN)
			return pci_config_read(driver, bdf, at + PCI_DSN_LO, 4) |
			       (uint64_t)pci_config_read(driver, bdf, at + PCI_DSN_HI, 4) << 32;
	}
	return 0;
}

int memdev_wait_mailbox(CxlMemdev *memdev)
{
	CxlDriver *driver = memdev->driver;
	uint64_t end = driver_now_us(driver) + driver->options.media_ms * 1000ull;
	uint64_t status;

	for (;;) {
		if (regs_read64(&memdev->memdev_status, CXL_MEMDEV_STATUS, &status) < 0 ||
		    status == UINT64_MAX)
			return driver_fail(driver, -ENODEV, "%s: status reads all-ones",
					   memdev->name);
		if (status & (CXL_MEMDEV_STATUS_FATAL | CXL_MEMDEV_STATUS_FW_HALT))
			return driver_fail(driver, -EIO, "%s: the device has failed (status %#llx)",
					   memdev->name, (unsigned long long)status);
		if (status & CXL_MEMDEV_STATUS_MBOX_READY)
			return 0;
		if (driver->options.no_ready_wait || driver_now_us(driver) >= end)
			return driver_fail(driver, -ETIMEDOUT, "%s: mailbox is not ready",
					   memdev->name);
		driver_sleep_us(driver, READY_POLL_US);
	}
}

/* Waits for BITS in the low size register of a range. */
static bool wait_range(CxlMemdev *memdev, unsigned range, uint32_t bits, uint64_t wait_us,
		       uint64_t poll_us)
{
	CxlDriver *driver = memdev->driver;
	uint32_t at = memdev->dvsecs.offset[CXL_DVSEC_ID_DEVICE] +
		      (uint32_t)offsetof(CxlDvsecDevice, range) +
		      range * (uint32_t)sizeof(CxlDvsecRange) +
		      (uint32_t)offsetof(CxlDvsecRange, size_lo);
	uint64_t end = driver_now_us(driver) + wait_us;

	for (;;) {
		uint32_t size = pci_config_read(driver, memdev->info.bdf, at, 4);

		if (size == UINT32_MAX)
			return false;
		if (size & bits)
			return true;
		if (driver->options.no_ready_wait || driver_now_us(driver) >= end)
			return false;
		driver_sleep_us(driver, poll_us);
	}
}

static int wait_media(CxlMemdev *memdev)
{
	CxlDriver *driver = memdev->driver;
	uint32_t at = memdev->dvsecs.offset[CXL_DVSEC_ID_DEVICE];
	uint16_t cap = (uint16_t)pci_config_read(driver, memdev->info.bdf,
						 at + (uint32_t)offsetof(CxlDvsecDevice, cap), 2);
	unsigned n_ranges = CXL_FIELD_GET(CXL_DVSEC_DEVICE_CAP_RANGES, cap);
	uint64_t status;

	if (!(cap & CXL_DVSEC_DEVICE_CAP_MEM))
		return driver_fail(driver, -ENXIO, "%s: not capable of CXL.mem", memdev->name);
	if (n_ranges < 1 || n_ranges > 2)
		return driver_fail(driver, -EINVAL, "%s: %u memory ranges in the device DVSEC",
				   memdev->name, n_ranges);
	for (unsigned i = 0; i < n_ranges; i++) {
		if (!wait_range(memdev, i, CXL_DVSEC_RANGE_VALID, VALID_WAIT_MS * 1000ull,
				VALID_POLL_US) ||
		    !wait_range(memdev, i, CXL_DVSEC_RANGE_ACTIVE,
				driver->options.media_ms * 1000ull, READY_POLL_US)) {
			driver_log(driver, "%s: media not active (range %u)", memdev->name, i);
			return 0;
		}
	}
	if (regs_read64(&memdev->memdev_status, CXL_MEMDEV_STATUS, &status) < 0)
		return driver_fail(driver, -EIO, "%s: status cannot be read", memdev->name);
	memdev->info.media_ready = CXL_FIELD_GET(CXL_MEMDEV_STATUS_MEDIA, status) ==
				   CXL_MEMDEV_STATUS_MEDIA_READY;
	if (!memdev->info.media_ready)
		driver_log(driver, "%s: media not ready (status %#llx)", memdev->name,
			   (unsigned long long)status);
	return 0;
}

int memdev_probe(CxlMemdev *memdev)
{
	CxlDriver *driver = memdev->driver;
	uint32_t bdf = memdev->info.bdf;
	int err;

	pci_config_set_bits(driver, bdf, PCI_CFG_COMMAND, PCI_CMD_MEM | PCI_CMD_MASTER);
	memdev->info.vendor_id = (uint16_t)pci_config_read(driver, bdf, PCI_CFG_VENDOR_ID, 2);
	memdev->info.device_id = (uint16_t)pci_config_read(driver, bdf, PCI_CFG_DEVICE_ID, 2);
	memdev->info.serial = memdev_read_serial(memdev);
	pci_find_dvsecs(driver, bdf, &memdev->dvsecs);
	if (memdev->dvsecs.len[CXL_DVSEC_ID_DEVICE] < offsetof(CxlDvsecDevice, cap3))
		return driver_fail(driver, -ENXIO, "%s: no CXL device DVSEC of sane length",
				   memdev->name);
	if (!memdev->dvsecs.offset[CXL_DVSEC_ID_FLEX_BUS])
		driver_log(driver, "%s: no flex bus DVSEC", memdev->name);
	err = probe_device_regs(memdev);
	if (err >= 0)
		err = memdev_wait_mailbox(memdev);
	if (err >= 0)
		err = memdev_probe_mailbox(memdev);
	if (err >= 0)
		err = wait_media(memdev);
	if (err >= 0)
		err = memdev_identify(memdev);
	if (err < 0)
		return err;
	err = memdev_read_cdat(memdev);
	if (err == -ENOMEM)
		return err;
	if (err < 0)
		driver_log(driver, "%s: no CDAT: %s", memdev->name, driver->error);
	memdev->info.has_cdat = err >= 0;
	return probe_component(memdev);
}

int memdev_enable_mem(CxlMemdev *memdev)
{
	CxlDriver *driver = memdev->driver;
	uint32_t bdf = memdev->info.bdf;
	uint32_t at = memdev->dvsecs.offset[CXL_DVSEC_ID_DEVICE] +
		      (uint32_t)offsetof(CxlDvsecDevice, ctrl);
	uint32_t ctrl = pci_config_read(driver, bdf, at, 2);
	int enabled = hdm_block_enabled(&memdev->hdm);
	int err;

	if (enabled < 0)
		return enabled;
	/* Memory on with decoders off is decoding by range registers: firmware's set-up, not ours.
	 */
	if (!enabled && ctrl & CXL_DVSEC_DEVICE_CTRL_MEM)
		return driver_fail(driver, -EBUSY, "%s: memory is in use through range registers",
				   memdev->name);
	err = hdm_block_enable(&memdev->hdm);
	if (err < 0)
		return err;
	pci_config_set_bits(driver, bdf, at, CXL_DVSEC_DEVICE_CTRL_MEM);
	if (!(pci_config_read(driver, bdf, at, 2) & CXL_DVSEC_DEVICE_CTRL_MEM))
		return driver_fail(driver, -EIO, "%s: Mem_Enable cannot be set", memdev->name);
	return 0;
}

void memdev_free(CxlMemdev *memdev)
{
	cxl_dcd_free(memdev->dcd);
	free(memdev->cel);
	free(memdev->ranges);
	free(memdev);
}

const CxlMemdevInfo *cxl_memdev_info(const CxlMemdev *memdev)
{
	return &memdev->info;
}

const char *cxl_memdev_error(const CxlMemdev *memdev)
{
	return memdev->error;
}

unsigned cxl_memdev_n_ranges(const CxlMemdev *memdev)
{
	return memdev->n_ranges;
}

const CxlMemRange *cxl_memdev_range(const CxlMemdev *memdev, unsigned index)
{
	return index < memdev->n_ranges ? &memdev->ranges[index] : NULL;
}

const CxlDcRegionInfo *cxl_memdev_dc_region(const CxlMemdev *memdev, unsigned index)
{
	return index < memdev->info.n_dc_regions ? &memdev->dc_regions[index] : NULL;
}

int cxl_memdev_effects(const CxlMemdev *memdev, uint16_t opcode)
{
	for (unsigned i = 0; i < memdev->n_cel; i++) {
		if (memdev->cel[i].opcode == opcode)
			return memdev->cel[i].effects;
	}
	return -1;
}
