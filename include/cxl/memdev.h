/* SPDX-License-Identifier: BSD-3-Clause */
/* Payloads of the memory device commands 40h to 43h: identify, partitions, LSA, health, poison. */
#ifndef CXL_MEMDEV_H
#define CXL_MEMDEV_H

#include "cxl/endian.h"

/* Unit of every capacity in 4000h and 4100h, and of a DC region's decode length */
#define CXL_CAPACITY_UNIT (UINT64_C(256) << 20)

/*
 * CXL 3.1 8.2.9.9.1.1: 4000h output. Capacities in CXL_CAPACITY_UNIT; dynamic capacity is not
 * part of any of them. Linux (7.3) needs only the bytes before dc_event_log_size.
 */
typedef struct CxlIdentifyMemdevOut {
	char fw_revision[16];
	le64 total_capacity;
	le64 volatile_capacity;
	le64 persistent_capacity;
	le64 partition_align;     /* 0: the split between volatile and persistent is fixed */
	le16 info_event_log_size; /* log sizes in records */
	le16 warning_event_log_size;
	le16 failure_event_log_size;
	le16 fatal_event_log_size;
	le32 lsa_len;
	le24 poison_list_max;
	le16 inject_poison_limit;
	uint8_t poison_caps;
	uint8_t qos_telemetry_caps;
	le16 dc_event_log_size;
} CxlIdentifyMemdevOut;
CXL_STATIC_ASSERT(sizeof(CxlIdentifyMemdevOut) == 0x45);
CXL_STATIC_ASSERT(offsetof(CxlIdentifyMemdevOut, total_capacity) == 0x10);
CXL_STATIC_ASSERT(offsetof(CxlIdentifyMemdevOut, info_event_log_size) == 0x30);
CXL_STATIC_ASSERT(offsetof(CxlIdentifyMemdevOut, lsa_len) == 0x38);
CXL_STATIC_ASSERT(offsetof(CxlIdentifyMemdevOut, inject_poison_limit) == 0x3f);
CXL_STATIC_ASSERT(offsetof(CxlIdentifyMemdevOut, dc_event_log_size) == 0x43);

#define CXL_POISON_CAP_INJECTS_PERSISTENT CXL_BIT(0)
#define CXL_POISON_CAP_SCANS_FOR_POISON   CXL_BIT(1)
#define CXL_QOS_CAP_EGRESS_CONGESTION     CXL_BIT(0)
#define CXL_QOS_CAP_TEMPORARY_THROUGHPUT  CXL_BIT(1)

/* CXL 3.1 8.2.9.9.2.1: 4100h output, in CXL_CAPACITY_UNIT; next = 0 when no change is pending */
typedef struct CxlPartitionInfoOut {
	le64 active_volatile;
	le64 active_persistent;
	le64 next_volatile;
	le64 next_persistent;
} CxlPartitionInfoOut;
CXL_STATIC_ASSERT(sizeof(CxlPartitionInfoOut) == 0x20);

/* CXL 3.1 8.2.9.9.2.3: 4102h input; the output is len bytes of the label storage area */
typedef struct CxlGetLsaIn {
	le32 offset;
	le32 len;
} CxlGetLsaIn;
CXL_STATIC_ASSERT(sizeof(CxlGetLsaIn) == 8);

/* CXL 3.1 8.2.9.9.2.4: 4103h input, followed by the bytes to write */
typedef struct CxlSetLsaIn {
	le32 offset;
	uint8_t reserved[4];
} CxlSetLsaIn;
CXL_STATIC_ASSERT(sizeof(CxlSetLsaIn) == 8);

/* CXL 3.1 8.2.9.9.3.1: 4200h output, also embedded in the memory module event record */
typedef struct CxlHealthInfo {
	uint8_t health_status;     /* CXL_HEALTH_* */
	uint8_t media_status;      /* CXL_MEDIA_STATUS_* */
	uint8_t additional_status; /* CXL_HEALTH_ADD_* */
	uint8_t life_used;         /* percent or CXL_LIFE_USED_UNKNOWN */
	le16 temperature;          /* signed degrees Celsius or CXL_TEMPERATURE_UNKNOWN */
	le32 dirty_shutdown_count;
	le32 corrected_volatile_count;
	le32 corrected_persistent_count;
} CxlHealthInfo;
CXL_STATIC_ASSERT(sizeof(CxlHealthInfo) == 0x12);
CXL_STATIC_ASSERT(offsetof(CxlHealthInfo, dirty_shutdown_count) == 6);

#define CXL_HEALTH_MAINTENANCE_NEEDED   CXL_BIT(0)
#define CXL_HEALTH_PERFORMANCE_DEGRADED CXL_BIT(1)
#define CXL_HEALTH_REPLACEMENT_NEEDED   CXL_BIT(2)
#define CXL_HEALTH_CAPACITY_DEGRADED    CXL_BIT(3)

#define CXL_MEDIA_STATUS_NORMAL           0
#define CXL_MEDIA_STATUS_NOT_READY        1
#define CXL_MEDIA_STATUS_PERSISTENCY_LOST 2
#define CXL_MEDIA_STATUS_DATA_LOST        3

/* Life used and temperature are two-bit levels, the corrected counts one-bit. */
#define CXL_HEALTH_ADD_LIFE_USED            CXL_BITS(1, 0)
#define CXL_HEALTH_ADD_TEMPERATURE          CXL_BITS(3, 2)
#define CXL_HEALTH_ADD_CORRECTED_VOLATILE   CXL_BIT(4)
#define CXL_HEALTH_ADD_CORRECTED_PERSISTENT CXL_BIT(5)
#define CXL_HEALTH_LEVEL_NORMAL             0
#define CXL_HEALTH_LEVEL_WARNING            1
#define CXL_HEALTH_LEVEL_CRITICAL           2

#define CXL_LIFE_USED_UNKNOWN   0xff
#define CXL_TEMPERATURE_UNKNOWN 0x7fff

/* Which programmable warning a bit of 4201h and 4202h is about */
#define CXL_ALERT_LIFE_USED            CXL_BIT(0)
#define CXL_ALERT_OVER_TEMPERATURE     CXL_BIT(1)
#define CXL_ALERT_UNDER_TEMPERATURE    CXL_BIT(2)
#define CXL_ALERT_CORRECTED_VOLATILE   CXL_BIT(3)
#define CXL_ALERT_CORRECTED_PERSISTENT CXL_BIT(4)
#define CXL_ALERT_ALL                  CXL_BITS(4, 0)

/* CXL 3.1 8.2.9.9.3.2: 4201h output; temperatures are signed degrees Celsius */
typedef struct CxlAlertConfigOut {
	uint8_t valid;        /* CXL_ALERT_*: warnings switched on */
	uint8_t programmable; /* CXL_ALERT_*: warnings the host may set */
	uint8_t life_used_critical;
	uint8_t life_used_warning;
	le16 over_temperature_critical;
	le16 under_temperature_critical;
	le16 over_temperature_warning;
	le16 under_temperature_warning;
	le16 corrected_volatile_warning;
	le16 corrected_persistent_warning;
} CxlAlertConfigOut;
CXL_STATIC_ASSERT(sizeof(CxlAlertConfigOut) == 0x10);
CXL_STATIC_ASSERT(offsetof(CxlAlertConfigOut, over_temperature_warning) == 8);

/* CXL 3.1 8.2.9.9.3.3: 4202h input */
typedef struct CxlAlertConfigIn {
	uint8_t valid_actions;  /* CXL_ALERT_*: warnings this request changes */
	uint8_t enable_actions; /* CXL_ALERT_*: of those, the ones to switch on */
	uint8_t life_used_warning;
	uint8_t reserved;
	le16 over_temperature_warning;
	le16 under_temperature_warning;
	le16 corrected_volatile_warning;
	le16 corrected_persistent_warning;
} CxlAlertConfigIn;
CXL_STATIC_ASSERT(sizeof(CxlAlertConfigIn) == 0x0c);
CXL_STATIC_ASSERT(offsetof(CxlAlertConfigIn, over_temperature_warning) == 4);

/* CXL 3.1 8.2.9.9.3.4, 8.2.9.9.3.5: 4203h output, 4204h input */
typedef struct CxlShutdownState {
	uint8_t state; /* CXL_SHUTDOWN_DIRTY or 0 = clean */
} CxlShutdownState;
CXL_STATIC_ASSERT(sizeof(CxlShutdownState) == 1);

#define CXL_SHUTDOWN_DIRTY CXL_BIT(0)

/* Poison is kept per cache line; lengths of ranges are counted in these. */
#define CXL_POISON_UNIT 64

/* CXL 3.1 8.2.9.9.4.1: 4300h input */
typedef struct CxlPoisonListIn {
	le64 dpa;
	le64 n_units; /* CXL_POISON_UNIT each */
} CxlPoisonListIn;
CXL_STATIC_ASSERT(sizeof(CxlPoisonListIn) == 0x10);

/* 4300h output, followed by CxlPoisonRecord[n_records] */
typedef struct CxlPoisonListOut {
	uint8_t flags; /* CXL_POISON_LIST_* */
	uint8_t reserved1;
	le64 overflow_timestamp;
	le16 n_records;
	uint8_t reserved2[20];
} CxlPoisonListOut;
CXL_STATIC_ASSERT(sizeof(CxlPoisonListOut) == 0x20);
CXL_STATIC_ASSERT(offsetof(CxlPoisonListOut, n_records) == 0x0a);

#define CXL_POISON_LIST_MORE     CXL_BIT(0)
#define CXL_POISON_LIST_OVERFLOW CXL_BIT(1)
#define CXL_POISON_LIST_SCANNING CXL_BIT(2)

typedef struct CxlPoisonRecord {
	le64 dpa; /* CXL_POISON_DPA and CXL_POISON_SOURCE */
	le32 n_units;
	uint8_t reserved[4];
} CxlPoisonRecord;
CXL_STATIC_ASSERT(sizeof(CxlPoisonRecord) == 0x10);

#define CXL_POISON_DPA             CXL_BITS64(63, 6)
#define CXL_POISON_SOURCE          CXL_BITS64(2, 0)
#define CXL_POISON_SOURCE_UNKNOWN  0
#define CXL_POISON_SOURCE_EXTERNAL 1
#define CXL_POISON_SOURCE_INTERNAL 2
#define CXL_POISON_SOURCE_INJECTED 3
#define CXL_POISON_SOURCE_VENDOR   7

/* CXL 3.1 8.2.9.9.4.2: 4301h input */
typedef struct CxlInjectPoisonIn {
	le64 dpa;
} CxlInjectPoisonIn;
CXL_STATIC_ASSERT(sizeof(CxlInjectPoisonIn) == 8);

/* CXL 3.1 8.2.9.9.4.3: 4302h input */
typedef struct CxlClearPoisonIn {
	le64 dpa;
	uint8_t data[CXL_POISON_UNIT]; /* new contents of the line */
} CxlClearPoisonIn;
CXL_STATIC_ASSERT(sizeof(CxlClearPoisonIn) == 0x48);

#endif
