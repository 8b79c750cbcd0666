/* SPDX-License-Identifier: BSD-3-Clause */
/* What stands where in the endpoint's configuration space. */
#ifndef DEVICE_ENDPOINT_CONFIG_H
#define DEVICE_ENDPOINT_CONFIG_H

#include "cxl/dvsec.h"
#include "device/config_space.h"

/* Offsets of the capabilities. The layout is final: clients read it once, before anything else. */
enum endpoint_offset {
	EP_PCIE = 0x040,
	EP_MSIX = 0x080,
	EP_AER = 0x100,
	EP_DSN = 0x150,
	EP_DVSEC_DEVICE = 0x160,
	EP_DVSEC_GPF = 0x1a0,
	EP_DVSEC_FLEX_BUS = 0x1b0,
	EP_DVSEC_LOCATOR = 0x1d0,
	EP_DOE = 0x1f0,
};

/* In BAR0; the device block follows at DEVICE_REGS_BAR_OFFSET */
#define EP_COMPONENT_OFFSET 0x00000u
/* In BAR2; both are far apart so that the table could grow to 128 vectors */
#define EP_MSIX_TABLE   0x000u
#define EP_MSIX_PBA     0x800u
#define EP_MSIX_BAR_LEN 0x1000u

typedef struct EndpointConfig {
	uint64_t serial;
	uint64_t bar0_len; /* power of two */
	uint64_t ram_len;
	uint64_t pmem_len;
	unsigned n_vectors;
} EndpointConfig;

void endpoint_config_build(ConfigSpace *space, const EndpointConfig *config);

#endif
