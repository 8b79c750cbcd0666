/* SPDX-License-Identifier: BSD-3-Clause */
/* Event logs: records as the host reads them, and the payloads of 0100h and 0101h. */
#ifndef CXL_EVENT_H
#define CXL_EVENT_H

#include "cxl/cci.h"
#include "cxl/dcd.h"
#include "cxl/endian.h"
#include "cxl/memdev.h"

/* Log numbers in 0100h to 0103h; the same number is the log's bit in the event status register. */
enum cxl_log {
	CXL_LOG_INFO = 0,
	CXL_LOG_WARNING = 1,
	CXL_LOG_FAILURE = 2,
	CXL_LOG_FATAL = 3,
	CXL_LOG_DC = 4,
	CXL_N_LOGS,
};
CXL_STATIC_ASSERT(sizeof(CxlEventIntPolicy) == CXL_N_LOGS);

/* --- Payloads ------------------------------------------------------------------------------- */

/* CXL 3.1 8.2.9.2.2: 0100h input */
typedef struct CxlGetEventRecordsIn {
	uint8_t log; /* CXL_LOG_* */
} CxlGetEventRecordsIn;
CXL_STATIC_ASSERT(sizeof(CxlGetEventRecordsIn) == 1);

/* 0100h output, followed by n_records records of CXL_EVENT_RECORD_LEN bytes */
typedef struct CxlGetEventRecordsOut {
	uint8_t flags; /* CXL_EVENTS_* */
	uint8_t reserved1;
	le16 overflow_count;
	le64 first_overflow_timestamp;
	le64 last_overflow_timestamp;
	le16 n_records;
	uint8_t reserved2[10];
} CxlGetEventRecordsOut;
CXL_STATIC_ASSERT(sizeof(CxlGetEventRecordsOut) == 0x20);
CXL_STATIC_ASSERT(offsetof(CxlGetEventRecordsOut, first_overflow_timestamp) == 0x04);
CXL_STATIC_ASSERT(offsetof(CxlGetEventRecordsOut, n_records) == 0x14);

#define CXL_EVENTS_OVERFLOW CXL_BIT(0)
#define CXL_EVENTS_MORE     CXL_BIT(1)

/* CXL 3.1 8.2.9.2.3: 0101h input, followed by le16 handle[n_handles] */
typedef struct CxlClearEventRecordsIn {
	uint8_t log;   /* CXL_LOG_* */
	uint8_t flags; /* CXL_CLEAR_EVENTS_ALL */
	uint8_t n_handles;
	uint8_t reserved[3];
} CxlClearEventRecordsIn;
CXL_STATIC_ASSERT(sizeof(CxlClearEventRecordsIn) == 6);

#define CXL_CLEAR_EVENTS_ALL CXL_BIT(0)

/* --- Records -------------------------------------------------------------------------------- */

#define CXL_EVENT_RECORD_LEN 0x80
#define CXL_EVENT_DATA_LEN   0x50
#define CXL_COMPONENT_ID_LEN 16

/* CXL 3.1 8.2.9.2.1: what every record begins with */
typedef struct CxlEventHeader {
	uint8_t uuid[CXL_UUID_LEN]; /* CXL_UUID_EVENT_* */
	uint8_t len;                /* CXL_EVENT_RECORD_LEN */
	le24 flags;                 /* CXL_EVENT_SEVERITY and CXL_EVENT_* */
	le16 handle;                /* never 0 */
	le16 related_handle;        /* 0 = none */
	le64 timestamp;             /* ns, as 0300h */
	uint8_t maint_class;
	uint8_t maint_subclass;
	le16 ld_id;
	uint8_t head_id;
	uint8_t reserved[11];
} CxlEventHeader;
CXL_STATIC_ASSERT(sizeof(CxlEventHeader) == 0x30);
CXL_STATIC_ASSERT(offsetof(CxlEventHeader, flags) == 0x11);
CXL_STATIC_ASSERT(offsetof(CxlEventHeader, handle) == 0x14);
CXL_STATIC_ASSERT(offsetof(CxlEventHeader, timestamp) == 0x18);
CXL_STATIC_ASSERT(offsetof(CxlEventHeader, ld_id) == 0x22);
CXL_STATIC_ASSERT(offsetof(CxlEventHeader, reserved) == 0x25);

#define CXL_EVENT_SEVERITY             CXL_BITS(1, 0)
#define CXL_EVENT_SEVERITY_INFO        0
#define CXL_EVENT_SEVERITY_WARNING     1
#define CXL_EVENT_SEVERITY_FAILURE     2
#define CXL_EVENT_SEVERITY_FATAL       3
#define CXL_EVENT_PERMANENT            CXL_BIT(2)
#define CXL_EVENT_MAINTENANCE_NEEDED   CXL_BIT(3)
#define CXL_EVENT_PERFORMANCE_DEGRADED CXL_BIT(4)
#define CXL_EVENT_REPLACEMENT_NEEDED   CXL_BIT(5)
#define CXL_EVENT_MAINT_SUBCLASS_VALID CXL_BIT(6)
#define CXL_EVENT_LD_ID_VALID          CXL_BIT(7)
#define CXL_EVENT_HEAD_ID_VALID        CXL_BIT(8)

/* A record of any kind */
typedef struct CxlEventRecord {
	CxlEventHeader header;
	uint8_t data[CXL_EVENT_DATA_LEN];
} CxlEventRecord;
CXL_STATIC_ASSERT(sizeof(CxlEventRecord) == CXL_EVENT_RECORD_LEN);

#define CXL_UUID_EVENT_GENERAL_MEDIA                                                          \
	{                                                                                     \
		0xfb, 0xcd, 0x0a, 0x77, 0xc2, 0x60, 0x41, 0x7f, 0x85, 0xa9, 0x08, 0x8b, 0x16, \
			0x21, 0xeb, 0xa6                                                      \
	}
#define CXL_UUID_EVENT_DRAM                                                                   \
	{                                                                                     \
		0x60, 0x1d, 0xcb, 0xb3, 0x9c, 0x06, 0x4e, 0xab, 0xb8, 0xaf, 0x4e, 0x9b, 0xfb, \
			0x5c, 0x96, 0x24                                                      \
	}
#define CXL_UUID_EVENT_MEMORY_MODULE                                                          \
	{                                                                                     \
		0xfe, 0x92, 0x74, 0x75, 0xdd, 0x59, 0x43, 0x39, 0xa5, 0x86, 0x79, 0xba, 0xb1, \
			0x13, 0xb7, 0x74                                                      \
	}
#define CXL_UUID_EVENT_MEMORY_SPARING                                                         \
	{                                                                                     \
		0xe7, 0x1f, 0x3a, 0x40, 0x2d, 0x29, 0x40, 0x92, 0x8a, 0x39, 0x4d, 0x1c, 0x96, \
			0x6c, 0x7c, 0x65                                                      \
	}
#define CXL_UUID_EVENT_DYNAMIC_CAPACITY                                                       \
	{                                                                                     \
		0xca, 0x95, 0xaf, 0xa7, 0xf1, 0x83, 0x40, 0x18, 0x8c, 0x2f, 0x95, 0x26, 0x8e, \
			0x10, 0x1a, 0x2a                                                      \
	}

/* Bits of dpa in the media records */
#define CXL_EVENT_DPA                CXL_BITS64(63, 6)
#define CXL_EVENT_DPA_VOLATILE       CXL_BIT64(0)
#define CXL_EVENT_DPA_NOT_REPAIRABLE CXL_BIT64(1)

/* Memory event descriptor of the media records */
#define CXL_EVENT_DESC_UNCORRECTABLE   CXL_BIT(0)
#define CXL_EVENT_DESC_THRESHOLD       CXL_BIT(1)
#define CXL_EVENT_DESC_POISON_OVERFLOW CXL_BIT(2)

/* Transaction type of the media records */
#define CXL_EVENT_TRANSACTION_UNKNOWN     0
#define CXL_EVENT_TRANSACTION_HOST_READ   1
#define CXL_EVENT_TRANSACTION_HOST_WRITE  2
#define CXL_EVENT_TRANSACTION_HOST_SCAN   3
#define CXL_EVENT_TRANSACTION_HOST_INJECT 4
#define CXL_EVENT_TRANSACTION_SCRUB       5
#define CXL_EVENT_TRANSACTION_MANAGEMENT  6
#define CXL_EVENT_TRANSACTION_ECS         7
#define CXL_EVENT_TRANSACTION_INIT        8

/* CXL 3.1 8.2.9.2.1.1 */
typedef struct CxlEventGeneralMedia {
	CxlEventHeader header;
	le64 dpa;            /* CXL_EVENT_DPA* */
	uint8_t descriptor;  /* CXL_EVENT_DESC_* */
	uint8_t type;        /* CXL_GENERAL_MEDIA_TYPE_* */
	uint8_t transaction; /* CXL_EVENT_TRANSACTION_* */
	le16 validity;       /* CXL_GENERAL_MEDIA_VALID_* */
	uint8_t channel;
	uint8_t rank;
	le24 device;
	uint8_t component_id[CXL_COMPONENT_ID_LEN];
	uint8_t cme_flags; /* CXL_EVENT_CME_* */
	le24 cme_count;
	uint8_t sub_type;
	uint8_t reserved[41];
} CxlEventGeneralMedia;
CXL_STATIC_ASSERT(sizeof(CxlEventGeneralMedia) == CXL_EVENT_RECORD_LEN);
CXL_STATIC_ASSERT(offsetof(CxlEventGeneralMedia, validity) == 0x3b);
CXL_STATIC_ASSERT(offsetof(CxlEventGeneralMedia, component_id) == 0x42);
CXL_STATIC_ASSERT(offsetof(CxlEventGeneralMedia, sub_type) == 0x56);

#define CXL_GENERAL_MEDIA_TYPE_ECC             0
#define CXL_GENERAL_MEDIA_TYPE_INVALID_ADDRESS 1
#define CXL_GENERAL_MEDIA_TYPE_DATA_PATH       2
#define CXL_GENERAL_MEDIA_TYPE_TE_STATE        3
#define CXL_GENERAL_MEDIA_TYPE_SCRUB_ECC       4
#define CXL_GENERAL_MEDIA_TYPE_CME_EXPIRED     5
#define CXL_GENERAL_MEDIA_TYPE_CKID            6

#define CXL_GENERAL_MEDIA_VALID_CHANNEL        CXL_BIT(0)
#define CXL_GENERAL_MEDIA_VALID_RANK           CXL_BIT(1)
#define CXL_GENERAL_MEDIA_VALID_DEVICE         CXL_BIT(2)
#define CXL_GENERAL_MEDIA_VALID_COMPONENT      CXL_BIT(3)
#define CXL_GENERAL_MEDIA_VALID_COMPONENT_PLDM CXL_BIT(4)

/* Advanced programmable corrected memory error threshold flags */
#define CXL_EVENT_CME_MULTIPLE_MEDIA CXL_BIT(0)
#define CXL_EVENT_CME_EXCEEDED       CXL_BIT(1)

/* CXL 3.1 8.2.9.2.1.2 */
typedef struct CxlEventDram {
	CxlEventHeader header;
	le64 dpa;            /* CXL_EVENT_DPA* */
	uint8_t descriptor;  /* CXL_EVENT_DESC_* */
	uint8_t type;        /* CXL_DRAM_TYPE_* */
	uint8_t transaction; /* CXL_EVENT_TRANSACTION_* */
	le16 validity;       /* CXL_DRAM_VALID_* */
	uint8_t channel;
	uint8_t rank;
	le24 nibble_mask;
	uint8_t bank_group;
	uint8_t bank;
	le24 row;
	le16 column;
	uint8_t correction_mask[32];
	uint8_t component_id[CXL_COMPONENT_ID_LEN];
	uint8_t sub_channel;
	uint8_t cme_flags; /* CXL_EVENT_CME_* */
	le24 cvme_count;
	uint8_t sub_type;
	uint8_t reserved;
} CxlEventDram;
CXL_STATIC_ASSERT(sizeof(CxlEventDram) == CXL_EVENT_RECORD_LEN);
CXL_STATIC_ASSERT(offsetof(CxlEventDram, nibble_mask) == 0x3f);
CXL_STATIC_ASSERT(offsetof(CxlEventDram, correction_mask) == 0x49);
CXL_STATIC_ASSERT(offsetof(CxlEventDram, sub_type) == 0x7e);

#define CXL_DRAM_TYPE_ECC             0
#define CXL_DRAM_TYPE_SCRUB_ECC       1
#define CXL_DRAM_TYPE_INVALID_ADDRESS 2
#define CXL_DRAM_TYPE_DATA_PATH       3
#define CXL_DRAM_TYPE_TE_STATE        4
#define CXL_DRAM_TYPE_CME_EXPIRED     5
#define CXL_DRAM_TYPE_CKID            6

#define CXL_DRAM_VALID_CHANNEL         CXL_BIT(0)
#define CXL_DRAM_VALID_RANK            CXL_BIT(1)
#define CXL_DRAM_VALID_NIBBLE_MASK     CXL_BIT(2)
#define CXL_DRAM_VALID_BANK_GROUP      CXL_BIT(3)
#define CXL_DRAM_VALID_BANK            CXL_BIT(4)
#define CXL_DRAM_VALID_ROW             CXL_BIT(5)
#define CXL_DRAM_VALID_COLUMN          CXL_BIT(6)
#define CXL_DRAM_VALID_CORRECTION_MASK CXL_BIT(7)
#define CXL_DRAM_VALID_COMPONENT       CXL_BIT(8)
#define CXL_DRAM_VALID_COMPONENT_PLDM  CXL_BIT(9)
#define CXL_DRAM_VALID_SUB_CHANNEL     CXL_BIT(10)

/* CXL 3.1 8.2.9.2.1.3 */
typedef struct CxlEventMemoryModule {
	CxlEventHeader header;
	uint8_t type; /* CXL_MEMORY_MODULE_TYPE_* */
	CxlHealthInfo health;
	le16 validity; /* CXL_MEMORY_MODULE_VALID_* */
	uint8_t component_id[CXL_COMPONENT_ID_LEN];
	uint8_t sub_type;
	uint8_t reserved[42];
} CxlEventMemoryModule;
CXL_STATIC_ASSERT(sizeof(CxlEventMemoryModule) == CXL_EVENT_RECORD_LEN);
CXL_STATIC_ASSERT(offsetof(CxlEventMemoryModule, validity) == 0x43);
CXL_STATIC_ASSERT(offsetof(CxlEventMemoryModule, sub_type) == 0x55);

#define CXL_MEMORY_MODULE_TYPE_HEALTH      0
#define CXL_MEMORY_MODULE_TYPE_MEDIA       1
#define CXL_MEMORY_MODULE_TYPE_LIFE_USED   2
#define CXL_MEMORY_MODULE_TYPE_TEMPERATURE 3
#define CXL_MEMORY_MODULE_TYPE_DATA_PATH   4
#define CXL_MEMORY_MODULE_TYPE_LSA         5

#define CXL_MEMORY_MODULE_VALID_COMPONENT      CXL_BIT(0)
#define CXL_MEMORY_MODULE_VALID_COMPONENT_PLDM CXL_BIT(1)

/* CXL 3.1 8.2.9.2.1.6; only in CXL_LOG_DC */
typedef struct CxlEventDc {
	CxlEventHeader header;
	uint8_t type;     /* CXL_DC_EVENT_* (dcd.h) */
	uint8_t validity; /* CXL_EVENT_DC_VALID_* */
	le16 host_id;
	uint8_t region; /* the updated region, with CXL_DC_EVENT_REGION_CONFIG_UPDATED */
	uint8_t flags;  /* CXL_EVENT_DC_* */
	uint8_t reserved1[2];
	CxlDcExtent extent;
	uint8_t reserved2[24];
	le32 n_extents_available;
	le32 n_tags_available;
} CxlEventDc;
CXL_STATIC_ASSERT(sizeof(CxlEventDc) == CXL_EVENT_RECORD_LEN);
CXL_STATIC_ASSERT(offsetof(CxlEventDc, type) == 0x30);
CXL_STATIC_ASSERT(offsetof(CxlEventDc, region) == 0x34);
CXL_STATIC_ASSERT(offsetof(CxlEventDc, flags) == 0x35);
CXL_STATIC_ASSERT(offsetof(CxlEventDc, extent) == 0x38);
CXL_STATIC_ASSERT(offsetof(CxlEventDc, n_extents_available) == 0x78);
CXL_STATIC_ASSERT(offsetof(CxlEventDc, n_tags_available) == 0x7c);

#define CXL_EVENT_DC_VALID_EXTENTS CXL_BIT(0) /* n_extents_available means something */
#define CXL_EVENT_DC_VALID_TAGS    CXL_BIT(1) /* n_tags_available means something */
#define CXL_EVENT_DC_MORE          CXL_BIT(0) /* flags: the next record continues this group */

#endif
