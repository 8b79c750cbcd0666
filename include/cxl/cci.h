/* SPDX-License-Identifier: BSD-3-Clause */
/* Component command interface: opcodes, return codes, command effects log, generic payloads. */
#ifndef CXL_CCI_H
#define CXL_CCI_H

#include "cxl/endian.h"

/* CXL 3.1 8.2.9: command set in the high byte, command in the low byte */
enum cxl_opcode {
	CXL_OP_IDENTIFY = 0x0001,
	CXL_OP_BACKGROUND_STATUS = 0x0002,
	CXL_OP_GET_RESPONSE_LIMIT = 0x0003,
	CXL_OP_SET_RESPONSE_LIMIT = 0x0004,
	CXL_OP_ABORT_BACKGROUND = 0x0005,

	CXL_OP_GET_EVENT_RECORDS = 0x0100,
	CXL_OP_CLEAR_EVENT_RECORDS = 0x0101,
	CXL_OP_GET_EVENT_INT_POLICY = 0x0102,
	CXL_OP_SET_EVENT_INT_POLICY = 0x0103,

	CXL_OP_GET_FW_INFO = 0x0200,

	CXL_OP_GET_TIMESTAMP = 0x0300,
	CXL_OP_SET_TIMESTAMP = 0x0301,

	CXL_OP_GET_SUPPORTED_LOGS = 0x0400,
	CXL_OP_GET_LOG = 0x0401,

	CXL_OP_IDENTIFY_MEMDEV = 0x4000,

	CXL_OP_GET_PARTITION_INFO = 0x4100,
	CXL_OP_SET_PARTITION_INFO = 0x4101,
	CXL_OP_GET_LSA = 0x4102,
	CXL_OP_SET_LSA = 0x4103,

	CXL_OP_GET_HEALTH_INFO = 0x4200,
	CXL_OP_GET_ALERT_CONFIG = 0x4201,
	CXL_OP_SET_ALERT_CONFIG = 0x4202,
	CXL_OP_GET_SHUTDOWN_STATE = 0x4203,
	CXL_OP_SET_SHUTDOWN_STATE = 0x4204,

	CXL_OP_GET_POISON_LIST = 0x4300,
	CXL_OP_INJECT_POISON = 0x4301,
	CXL_OP_CLEAR_POISON = 0x4302,

	CXL_OP_SANITIZE = 0x4400,

	CXL_OP_GET_DC_CONFIG = 0x4800,
	CXL_OP_GET_DC_EXTENT_LIST = 0x4801,
	CXL_OP_ADD_DC_RESPONSE = 0x4802,
	CXL_OP_RELEASE_DC = 0x4803,

	/* CXL 3.1 7.6.7.6: the fabric manager's side of dynamic capacity */
	CXL_OP_FM_GET_DCD_INFO = 0x5600,
	CXL_OP_FM_GET_HOST_DC_CONFIG = 0x5601,
	CXL_OP_FM_SET_DC_CONFIG = 0x5602,
	CXL_OP_FM_GET_DC_EXTENT_LISTS = 0x5603,
	CXL_OP_FM_INITIATE_DC_ADD = 0x5604,
	CXL_OP_FM_INITIATE_DC_RELEASE = 0x5605,
};

/*
 * CXL 3.1 8.2.8.4.5.1: return codes of every command interface.
 * Linux (7.3): codes above 1Eh index past a table; never send them on the primary mailbox.
 */
enum cxl_rc {
	CXL_RC_SUCCESS = 0x00,
	CXL_RC_BACKGROUND_STARTED = 0x01,
	CXL_RC_INVALID_INPUT = 0x02,
	CXL_RC_UNSUPPORTED = 0x03,
	CXL_RC_INTERNAL_ERROR = 0x04,
	CXL_RC_RETRY_REQUIRED = 0x05,
	CXL_RC_BUSY = 0x06,
	CXL_RC_MEDIA_DISABLED = 0x07,
	CXL_RC_FW_TRANSFER_IN_PROGRESS = 0x08,
	CXL_RC_FW_TRANSFER_OUT_OF_ORDER = 0x09,
	CXL_RC_FW_AUTH_FAILED = 0x0a,
	CXL_RC_FW_INVALID_SLOT = 0x0b,
	CXL_RC_FW_ACTIVATION_ROLLED_BACK = 0x0c,
	CXL_RC_FW_ACTIVATION_COLD_RESET = 0x0d,
	CXL_RC_INVALID_HANDLE = 0x0e,
	CXL_RC_INVALID_PA = 0x0f,
	CXL_RC_INJECT_POISON_LIMIT = 0x10,
	CXL_RC_MEDIA_FAILURE = 0x11,
	CXL_RC_ABORTED = 0x12,
	CXL_RC_INVALID_SECURITY_STATE = 0x13,
	CXL_RC_INCORRECT_PASSPHRASE = 0x14,
	CXL_RC_UNSUPPORTED_MAILBOX = 0x15,
	CXL_RC_INVALID_PAYLOAD_LENGTH = 0x16,
	CXL_RC_INVALID_LOG = 0x17,
	CXL_RC_INTERRUPTED = 0x18,
	CXL_RC_UNSUPPORTED_FEATURE_VERSION = 0x19,
	CXL_RC_UNSUPPORTED_FEATURE_SELECTION = 0x1a,
	CXL_RC_FEATURE_TRANSFER_IN_PROGRESS = 0x1b,
	CXL_RC_FEATURE_TRANSFER_OUT_OF_ORDER = 0x1c,
	CXL_RC_RESOURCES_EXHAUSTED = 0x1d,
	CXL_RC_INVALID_EXTENT_LIST = 0x1e,
	CXL_RC_TRANSFER_OUT_OF_ORDER = 0x1f,
	CXL_RC_ABORT_NOT_SUPPORTED = 0x20,
};

/* --- Information and status, 00h ------------------------------------------------------------ */

#define CXL_COMPONENT_SWITCH 0x00
#define CXL_COMPONENT_TYPE3  0x03

/* CXL 3.1 8.2.9.1.1: 0001h output */
typedef struct CxlIdentifyOut {
	le16 vendor_id;
	le16 device_id;
	le16 subsys_vendor_id;
	le16 subsys_id;
	le64 serial;
	uint8_t max_msg_log2; /* largest message, log2 of bytes */
	uint8_t component_type;
} CxlIdentifyOut;
CXL_STATIC_ASSERT(sizeof(CxlIdentifyOut) == 0x12);

#define CXL_BACKGROUND_IN_PROGRESS CXL_BIT(0)
#define CXL_BACKGROUND_PERCENT     CXL_BITS(7, 1)

/* CXL 3.1 8.2.9.1.2: 0002h output */
typedef struct CxlBackgroundStatusOut {
	uint8_t status; /* CXL_BACKGROUND_* */
	uint8_t reserved;
	le16 opcode;
	le16 rc;
	le16 vendor_status;
} CxlBackgroundStatusOut;
CXL_STATIC_ASSERT(sizeof(CxlBackgroundStatusOut) == 8);

/* --- Events, 01h: records and headers are in event.h ---------------------------------------- */

#define CXL_INT_MODE      CXL_BITS(1, 0)
#define CXL_INT_MODE_NONE 0
#define CXL_INT_MODE_MSI  1 /* MSI or MSI-X */
#define CXL_INT_MODE_FW   2
#define CXL_INT_MSG       CXL_BITS(7, 4) /* chosen by the device, reported by Get only */

/*
 * CXL 3.1 8.2.9.2.4, 8.2.9.2.5: 0102h output, 0103h input; one byte per event log.
 * A host that knows no dynamic capacity sends the first four bytes only.
 */
typedef struct CxlEventIntPolicy {
	uint8_t log[5]; /* index CXL_LOG_* */
} CxlEventIntPolicy;
CXL_STATIC_ASSERT(sizeof(CxlEventIntPolicy) == 5);

#define CXL_EVENT_INT_POLICY_MIN_LEN 4

/* --- Firmware, 02h -------------------------------------------------------------------------- */

#define CXL_FW_SLOT_ACTIVE       CXL_BITS(2, 0)
#define CXL_FW_SLOT_STAGED       CXL_BITS(5, 3)
#define CXL_FW_ONLINE_ACTIVATION CXL_BIT(0)

/* CXL 3.1 8.2.9.3.1: 0200h output */
typedef struct CxlFwInfoOut {
	uint8_t n_slots;
	uint8_t slot_info;       /* CXL_FW_SLOT_* */
	uint8_t activation_caps; /* CXL_FW_ONLINE_ACTIVATION */
	uint8_t reserved[13];
	char revision[4][16]; /* not terminated when all 16 bytes are used */
} CxlFwInfoOut;
CXL_STATIC_ASSERT(sizeof(CxlFwInfoOut) == 0x50);
CXL_STATIC_ASSERT(offsetof(CxlFwInfoOut, revision) == 0x10);

/* --- Timestamp, 03h ------------------------------------------------------------------------- */

/* CXL 3.1 8.2.9.4: 0300h output, 0301h input; nanoseconds since 1970, 0 = never set */
typedef struct CxlTimestamp {
	le64 ns;
} CxlTimestamp;
CXL_STATIC_ASSERT(sizeof(CxlTimestamp) == 8);

/* --- Logs, 04h ------------------------------------------------------------------------------ */

/* UUIDs are stored in the order of their text form, most significant byte first. */
#define CXL_UUID_LEN 16

#define CXL_UUID_CEL                                                                          \
	{                                                                                     \
		0x0d, 0xa9, 0xc0, 0xb5, 0xbf, 0x41, 0x4b, 0x78, 0x8f, 0x79, 0x96, 0xb1, 0x62, \
			0x3b, 0x3f, 0x17                                                      \
	}
#define CXL_UUID_VENDOR_DEBUG                                                                 \
	{                                                                                     \
		0x5e, 0x18, 0x19, 0xd9, 0x11, 0xa9, 0x40, 0x0c, 0x81, 0x1f, 0xd6, 0x07, 0x19, \
			0x40, 0x3d, 0x86                                                      \
	}

/* CXL 3.1 8.2.9.5.1: 0400h output, followed by CxlSupportedLog[n_logs] */
typedef struct CxlSupportedLogsOut {
	le16 n_logs;
	uint8_t reserved[6];
} CxlSupportedLogsOut;
CXL_STATIC_ASSERT(sizeof(CxlSupportedLogsOut) == 8);

typedef struct CxlSupportedLog {
	uint8_t uuid[CXL_UUID_LEN];
	le32 len;
} CxlSupportedLog;
CXL_STATIC_ASSERT(sizeof(CxlSupportedLog) == 0x14);

/* CXL 3.1 8.2.9.5.2: 0401h input; the output is exactly len bytes of the log */
typedef struct CxlGetLogIn {
	uint8_t uuid[CXL_UUID_LEN];
	le32 offset;
	le32 len;
} CxlGetLogIn;
CXL_STATIC_ASSERT(sizeof(CxlGetLogIn) == 0x18);

/* CXL 3.1 8.2.9.5.2.1: one entry of the command effects log */
typedef struct CxlCelEntry {
	le16 opcode;
	le16 effects; /* CXL_EFFECT_* */
} CxlCelEntry;
CXL_STATIC_ASSERT(sizeof(CxlCelEntry) == 4);

#define CXL_EFFECT_CONFIG_COLD_RESET CXL_BIT(0)
#define CXL_EFFECT_CONFIG_NOW        CXL_BIT(1)
#define CXL_EFFECT_DATA_NOW          CXL_BIT(2)
#define CXL_EFFECT_POLICY_NOW        CXL_BIT(3)
#define CXL_EFFECT_LOG_NOW           CXL_BIT(4)
#define CXL_EFFECT_SECURITY          CXL_BIT(5)
#define CXL_EFFECT_BACKGROUND        CXL_BIT(6)
#define CXL_EFFECT_SECONDARY_MAILBOX CXL_BIT(7)
#define CXL_EFFECT_BACKGROUND_ABORT  CXL_BIT(8)
#define CXL_EFFECT_RESET_BITS_VALID  CXL_BIT(9) /* the two bits below mean something */
#define CXL_EFFECT_CONFIG_CONV_RESET CXL_BIT(10)
#define CXL_EFFECT_CONFIG_CXL_RESET  CXL_BIT(11)

#endif
