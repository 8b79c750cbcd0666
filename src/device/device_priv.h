/* SPDX-License-Identifier: BSD-3-Clause */
/* The parts of a device, for the files that are the device. */
#ifndef DEVICE_DEVICE_PRIV_H
#define DEVICE_DEVICE_PRIV_H

#include "device/component.h"
#include "device/device_regs.h"
#include "device/doe.h"
#include "device/endpoint_config.h"

/* What must be the same for a saved state to mean the same. On disk: little-endian, no padding. */
typedef struct DeviceLayout {
	le64 serial;
	le64 ram_len;
	le64 pmem_len;
	le64 dpa_len;
	le64 bar0_len;
	le32 n_regions;
	le32 n_vectors;
} DeviceLayout;
CXL_STATIC_ASSERT(sizeof(DeviceLayout) == 48);

struct Device {
	DcDevice *dc;
	DeviceOps ops;
	void *opaque;
	uint64_t bar0_len;
	DeviceLayout layout;
	ConfigSpace *config;
	Cdat *cdat;
	Doe *doe;
	Component *component;
	DeviceRegs *regs;
	PciMsixEntry msix[DEVICE_N_VECTORS];
};

/* Only bits that a host may write change. OFFSET counts from the start of BAR2. */
void device_write_msix(Device *dev, uint64_t offset, const uint8_t *buf, uint32_t len);

#endif
