/* SPDX-License-Identifier: BSD-3-Clause */
/* A device that was away and is back: the same one, made to say what it said before. */
#include "driver/dcd_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int changed(CxlMemdev *memdev, const char *what)
{
	return driver_fail(memdev->driver, -ESTALE, "%s came back with %s", memdev->name, what);
}

static int check_identity(CxlMemdev *memdev)
{
	CxlDriver *driver = memdev->driver;
	uint32_t bdf = memdev->info.bdf;
	uint32_t vendor = pci_config_read(driver, bdf, PCI_CFG_VENDOR_ID, 2);
	uint32_t device = pci_config_read(driver, bdf, PCI_CFG_DEVICE_ID, 2);

	if (vendor == 0xffff)
		return driver_fail(driver, -ENODEV, "%s: configuration space reads all-ones",
				   memdev->name);
	if (vendor != memdev->info.vendor_id || device != memdev->info.device_id ||
	    memdev_read_serial(memdev) != memdev->info.serial)
		return changed(memdev, "another identity");
	return 0;
}

static int check_mailbox(CxlMemdev *memdev)
{
	uint32_t len = memdev->info.payload_len;
	int err;

	memdev->mbox_clean = false;
	err = memdev_wait_mailbox(memdev);
	if (err >= 0)
		err = memdev_probe_mailbox(memdev);
	if (err >= 0 && memdev->info.payload_len != len)
		err = changed(memdev, "a mailbox of another size");
	/* What holds a payload was made for this length. */
	memdev->info.payload_len = len;
	return err;
}

/* What the device says of itself, asked anew; its clock is set on the way. */
static int check_shape(CxlMemdev *memdev)
{
	CxlMemdev *now = malloc(sizeof(*now));
	int err;

	if (!now)
		return driver_fail(memdev->driver, -ENOMEM, "out of memory");
	*now = *memdev;
	now->cel = NULL;
	now->n_cel = 0;
	now->info.n_dc_regions = 0;
	now->trace = NULL;
	err = memdev_identify(now);
	if (err >= 0 && (now->info.ram_len != memdev->info.ram_len ||
			 now->info.pmem_len != memdev->info.pmem_len ||
			 now->info.n_dc_regions != memdev->info.n_dc_regions))
		err = changed(memdev, "other capacities or regions");
	for (unsigned i = 0; err >= 0 && i < memdev->info.n_dc_regions; i++) {
		const CxlDcRegionInfo *a = &memdev->dc_regions[i];
		const CxlDcRegionInfo *b = &now->dc_regions[i];

		if (a->dpa != b->dpa || a->len != b->len || a->decode_len != b->decode_len ||
		    a->block_len != b->block_len)
			err = changed(memdev, "another DC region");
	}
	free(now->cel);
	free(now);
	return err;
}

static bool is_same(const HdmDecoder *a, const HdmDecoder *b)
{
	if (!a->committed || !b->committed)
		return a->committed == b->committed;
	return a->hpa == b->hpa && a->len == b->len && a->dpa == b->dpa && a->ways == b->ways &&
	       a->granularity == b->granularity;
}

/*
 * The decoders above the device are the host's own and have not changed: only what the device has
 * lost is committed again, at the addresses it had. 1 if it had lost nothing.
 */
static int resume_decoders(CxlMemdev *memdev)
{
	HdmBlock *ours = &memdev->hdm;
	HdmBlock now = { .name = ours->name, .endpoint = true };
	unsigned end = hdm_block_next(ours);
	unsigned n = 0;
	int err = hdm_block_probe(&now, &memdev->component);

	if (err >= 0 && now.n_decoders != ours->n_decoders)
		err = changed(memdev, "another number of decoders");
	if (err < 0)
		return err;
	while (n < now.n_decoders && is_same(&ours->decoders[n], &now.decoders[n]))
		n++;
	if (n == now.n_decoders)
		return 1;
	for (unsigned i = hdm_block_next(&now); i > n && err >= 0; i--)
		err = hdm_block_reset(&now, i - 1);
	for (unsigned i = n; i < end && err >= 0; i++) {
		HdmDecoder want = ours->decoders[i];

		err = hdm_block_commit(ours, i, &want, want.locked);
	}
	return err < 0 ? err : 0;
}

static int resume_mem(CxlMemdev *memdev)
{
	uint32_t at = memdev->dvsecs.offset[CXL_DVSEC_ID_DEVICE] +
		      (uint32_t)offsetof(CxlDvsecDevice, ctrl);
	int err;

	if (hdm_block_next(&memdev->hdm) == 0)
		return 0;
	err = hdm_block_enable(&memdev->hdm);
	if (err >= 0)
		pci_config_set_bits(memdev->driver, memdev->info.bdf, at,
				    CXL_DVSEC_DEVICE_CTRL_MEM);
	return err;
}

int cxl_memdev_resume(CxlMemdev *memdev)
{
	int err;

	if (!memdev->usable)
		return driver_fail(memdev->driver, -ENODEV, "%s cannot be used", memdev->name);
	pci_config_set_bits(memdev->driver, memdev->info.bdf, PCI_CFG_COMMAND,
			    PCI_CMD_MEM | PCI_CMD_MASTER);
	err = check_identity(memdev);
	if (err >= 0)
		err = check_mailbox(memdev);
	if (err >= 0)
		err = check_shape(memdev);
	if (err >= 0)
		err = resume_mem(memdev);
	return err < 0 ? err : resume_decoders(memdev);
}

int cxl_dcd_resume(CxlDcd *dcd)
{
	int err;

	/* Half a chain is offered again from its beginning; handles were the old log's. */
	offered_clear(&dcd->chain);
	dcd->n_uncleared = 0;
	dcd->fw_logs = 0;
	dcd->must_resync = true;
	err = dcd_set_policy(dcd);
	return err < 0 ? err : cxl_dcd_resync(dcd);
}
