/* SPDX-License-Identifier: BSD-3-Clause */
/* Coherent Device Attribute Table: what the host learns about each range of DPA. */
#ifndef DEVICE_CDAT_H
#define DEVICE_CDAT_H

#include "capacity/capacity.h"
#include "cxl/cdat.h"
#include <glib.h>
#include <stdint.h>

typedef struct Cdat Cdat;

/* DSMAS handles are the same whatever partitions a device has. */
#define CDAT_HANDLE_RAM  0
#define CDAT_HANDLE_PMEM 1
/* Also what 4800h calls the region's DSMAD handle. Linux: refuses a region where they differ. */
static inline uint8_t cdat_dc_region_handle(unsigned region)
{
	return (uint8_t)(2 + region);
}

typedef struct CdatConfig {
	uint64_t ram_len;
	uint64_t pmem_len;
	const DcRegion *regions;
	unsigned n_regions;
	uint16_t read_latency_ns; /* 1..65534 */
	uint16_t write_latency_ns;
	uint32_t bandwidth_mbps; /* > 0 */
} CdatConfig;

Cdat *cdat_new(const CdatConfig *config);
void cdat_free(Cdat *cdat);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Cdat, cdat_free)

/* Entry 0 is the header; all lengths are multiples of 4. */
unsigned cdat_n_entries(const Cdat *cdat);
const uint8_t *cdat_peek_entry(const Cdat *cdat, unsigned index, uint32_t *ret_len);

#endif
