/* SPDX-License-Identifier: BSD-3-Clause */
/* Payloads of the dynamic capacity commands 4800h to 4803h, and the extent they share. */
#ifndef CXL_DCD_H
#define CXL_DCD_H

#include "cxl/endian.h"

#define CXL_DC_MAX_REGIONS 8
#define CXL_DC_TAG_LEN     16

/* CXL 3.1 8.2.9.2.1.6: one dynamic capacity extent, in DC event records and in 4801h output */
typedef struct CxlDcExtent {
	le64 dpa;
	le64 len;                    /* bytes */
	uint8_t tag[CXL_DC_TAG_LEN]; /* in the order of the UUID's text form; all zero = no tag */
	le16 shared_seq;             /* 0..n-1 within a tag of a sharable region, else 0 */
	uint8_t reserved[6];
} CxlDcExtent;
CXL_STATIC_ASSERT(sizeof(CxlDcExtent) == 0x28);
CXL_STATIC_ASSERT(offsetof(CxlDcExtent, tag) == 0x10);
CXL_STATIC_ASSERT(offsetof(CxlDcExtent, shared_seq) == 0x20);

/* CXL 3.1 8.2.9.2.1.6: what a dynamic capacity event record reports */
enum cxl_dc_event_type {
	CXL_DC_EVENT_ADD = 0,
	CXL_DC_EVENT_RELEASE = 1,
	CXL_DC_EVENT_FORCED_RELEASE = 2,
	CXL_DC_EVENT_REGION_CONFIG_UPDATED = 3,
	CXL_DC_EVENT_ADD_RESPONSE = 4, /* the last two go to the fabric manager only */
	CXL_DC_EVENT_RELEASED = 5,
};

/* --- 4800h Get Dynamic Capacity Configuration, CXL 3.1 8.2.9.9.9.1 -------------------------- */

typedef struct CxlDcConfigIn {
	uint8_t n_regions; /* most regions to return */
	uint8_t start;     /* index of the first */
} CxlDcConfigIn;
CXL_STATIC_ASSERT(sizeof(CxlDcConfigIn) == 2);

/* Followed by CxlDcRegionConfig[n_returned], then one CxlDcConfigTail */
typedef struct CxlDcConfigOut {
	uint8_t n_available;
	uint8_t n_returned;
	uint8_t reserved[6];
} CxlDcConfigOut;
CXL_STATIC_ASSERT(sizeof(CxlDcConfigOut) == 8);

typedef struct CxlDcRegionConfig {
	le64 base_dpa;
	le64 decode_len;   /* in CXL_CAPACITY_UNIT (memdev.h), unlike the next two */
	le64 len;          /* bytes */
	le64 block_len;    /* bytes, power of two */
	le32 dsmad_handle; /* handle of the region's DSMAS in the low byte, rest 0 */
	uint8_t flags;     /* CXL_DC_REGION_* */
	uint8_t reserved[3];
} CxlDcRegionConfig;
CXL_STATIC_ASSERT(sizeof(CxlDcRegionConfig) == 0x28);
CXL_STATIC_ASSERT(offsetof(CxlDcRegionConfig, dsmad_handle) == 0x20);
CXL_STATIC_ASSERT(offsetof(CxlDcRegionConfig, flags) == 0x24);

#define CXL_DC_REGION_SANITIZE_ON_RELEASE CXL_BIT(0)

typedef struct CxlDcConfigTail {
	le32 n_extents_supported;
	le32 n_extents_available;
	le32 n_tags_supported;
	le32 n_tags_available;
} CxlDcConfigTail;
CXL_STATIC_ASSERT(sizeof(CxlDcConfigTail) == 0x10);

/* --- 4801h Get Dynamic Capacity Extent List, CXL 3.1 8.2.9.9.9.2 ---------------------------- */

typedef struct CxlDcExtentListIn {
	le32 n_extents; /* most extents to return */
	le32 start;     /* index of the first */
} CxlDcExtentListIn;
CXL_STATIC_ASSERT(sizeof(CxlDcExtentListIn) == 8);

/* Followed by CxlDcExtent[n_returned]; the generation changes whenever the accepted set does */
typedef struct CxlDcExtentListOut {
	le32 n_returned;
	le32 n_total;
	le32 generation;
	uint8_t reserved[4];
} CxlDcExtentListOut;
CXL_STATIC_ASSERT(sizeof(CxlDcExtentListOut) == 0x10);

/* --- 4802h Add Response and 4803h Release, CXL 3.1 8.2.9.9.9.3 and 8.2.9.9.9.4 -------------- */

/* Input of both, followed by CxlDcResponseEntry[n_extents]; 4802h with none declines the offer */
typedef struct CxlDcResponseHeader {
	le32 n_extents;
	uint8_t flags; /* CXL_DC_RESPONSE_* */
	uint8_t reserved[3];
} CxlDcResponseHeader;
CXL_STATIC_ASSERT(sizeof(CxlDcResponseHeader) == 8);

#define CXL_DC_RESPONSE_MORE CXL_BIT(0) /* the next command continues this list */

typedef struct CxlDcResponseEntry {
	le64 dpa;
	le64 len; /* bytes */
	uint8_t reserved[8];
} CxlDcResponseEntry;
CXL_STATIC_ASSERT(sizeof(CxlDcResponseEntry) == 0x18);

#endif
