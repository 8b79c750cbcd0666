/* SPDX-License-Identifier: BSD-3-Clause */
/* Device register block (register block id 3): capabilities, events, mailbox, memdev status. */
#ifndef CXL_DEVICE_H
#define CXL_DEVICE_H

#include "cxl/endian.h"

/* --- Capability array, CXL 3.1 8.2.8.1; at offset 0 of the block ---------------------------- */

/* 64-bit array register at 0, then one 16-byte header per capability from 10h */
#define CXL_DEV_CAP_ARRAY_ID          CXL_BITS64(15, 0) /* always 0 */
#define CXL_DEV_CAP_ARRAY_VERSION     CXL_BITS64(23, 16)
#define CXL_DEV_CAP_ARRAY_TYPE        CXL_BITS64(27, 24)
#define CXL_DEV_CAP_ARRAY_COUNT       CXL_BITS64(47, 32)
#define CXL_DEV_CAP_ARRAY_TYPE_MEMDEV 1

typedef struct CxlDevCapHeader {
	le16 id; /* CXL_DEV_CAP_ID_* */
	uint8_t version;
	uint8_t reserved1;
	le32 offset; /* from the start of the device register block */
	le32 len;
	uint8_t reserved2[4];
} CxlDevCapHeader;
CXL_STATIC_ASSERT(sizeof(CxlDevCapHeader) == 0x10);
CXL_STATIC_ASSERT(offsetof(CxlDevCapHeader, offset) == 4);

typedef struct CxlDevCapArray {
	le16 id; /* 0 */
	uint8_t version;
	uint8_t type; /* low four bits: CXL_DEV_CAP_ARRAY_TYPE_* */
	le16 n_caps;
	uint8_t reserved[10];
} CxlDevCapArray;
CXL_STATIC_ASSERT(sizeof(CxlDevCapArray) == 0x10);
CXL_STATIC_ASSERT(offsetof(CxlDevCapArray, n_caps) == 4);

#define CXL_DEV_CAP_HEADER(n) (0x10 + 0x10 * (n)) /* offset of capability header n, from 0 */

#define CXL_DEV_CAP_ID_STATUS            0x0001
#define CXL_DEV_CAP_ID_MAILBOX           0x0002
#define CXL_DEV_CAP_ID_SECONDARY_MAILBOX 0x0003
#define CXL_DEV_CAP_ID_MEMDEV_STATUS     0x4000

#define CXL_DEV_CAP_ARRAY_VERSION_1       1
#define CXL_DEV_CAP_STATUS_VERSION        2 /* with the dynamic capacity event bit */
#define CXL_DEV_CAP_MAILBOX_VERSION       1
#define CXL_DEV_CAP_MEMDEV_STATUS_VERSION 1

/* --- Device status, CXL 3.1 8.2.8.3; offsets from the capability ---------------------------- */

#define CXL_DEV_STATUS_LEN           8
#define CXL_DEV_EVENT_STATUS         0x00 /* 32 bits; a bit is set while its log is not empty */
#define CXL_DEV_EVENT_STATUS_INFO    CXL_BIT(0)
#define CXL_DEV_EVENT_STATUS_WARNING CXL_BIT(1)
#define CXL_DEV_EVENT_STATUS_FAILURE CXL_BIT(2)
#define CXL_DEV_EVENT_STATUS_FATAL   CXL_BIT(3)
#define CXL_DEV_EVENT_STATUS_DC      CXL_BIT(4)

/* --- Mailbox, CXL 3.1 8.2.8.4; offsets from the capability ---------------------------------- */

#define CXL_MBOX_CAPS             0x00 /* 32 bits, RO */
#define CXL_MBOX_CTRL             0x04 /* 32 bits */
#define CXL_MBOX_CMD              0x08 /* 64 bits */
#define CXL_MBOX_STATUS           0x10 /* 64 bits, RO */
#define CXL_MBOX_BG_STATUS        0x18 /* 64 bits, RO */
#define CXL_MBOX_PAYLOAD          0x20
#define CXL_MBOX_LEN(payload_len) (CXL_MBOX_PAYLOAD + (payload_len))

#define CXL_MBOX_PAYLOAD_LOG2_MIN 8
#define CXL_MBOX_PAYLOAD_LOG2_MAX 20

#define CXL_MBOX_CAPS_PAYLOAD_LOG2  CXL_BITS(4, 0)
#define CXL_MBOX_CAPS_DOORBELL_INT  CXL_BIT(5)
#define CXL_MBOX_CAPS_BG_INT        CXL_BIT(6)
#define CXL_MBOX_CAPS_INT_MSG       CXL_BITS(10, 7)
#define CXL_MBOX_CAPS_READY_TIME    CXL_BITS(18, 11) /* seconds after reset; 0 = not reported */
#define CXL_MBOX_CAPS_TYPE          CXL_BITS(22, 19)
#define CXL_MBOX_CAPS_TYPE_INFERRED 0 /* from the PCI class code */
#define CXL_MBOX_CAPS_TYPE_MEMDEV   1
#define CXL_MBOX_CAPS_TYPE_SWITCH   2

#define CXL_MBOX_CTRL_DOORBELL        CXL_BIT(0)
#define CXL_MBOX_CTRL_DOORBELL_INT_EN CXL_BIT(1)
#define CXL_MBOX_CTRL_BG_INT_EN       CXL_BIT(2)

#define CXL_MBOX_CMD_OPCODE CXL_BITS64(15, 0)
#define CXL_MBOX_CMD_LEN    CXL_BITS64(36, 16) /* payload bytes: input, then output */

#define CXL_MBOX_STATUS_BG_RUNNING CXL_BIT64(0)
#define CXL_MBOX_STATUS_RC         CXL_BITS64(47, 32) /* enum cxl_rc (cci.h) */
#define CXL_MBOX_STATUS_VENDOR     CXL_BITS64(63, 48)

#define CXL_MBOX_BG_STATUS_OPCODE  CXL_BITS64(15, 0)
#define CXL_MBOX_BG_STATUS_PERCENT CXL_BITS64(22, 16)
#define CXL_MBOX_BG_STATUS_RC      CXL_BITS64(47, 32)
#define CXL_MBOX_BG_STATUS_VENDOR  CXL_BITS64(63, 48)

/* --- Memory device status, CXL 3.1 8.2.8.5; one 64-bit register ----------------------------- */

#define CXL_MEMDEV_STATUS                 0x00
#define CXL_MEMDEV_STATUS_LEN             8
#define CXL_MEMDEV_STATUS_FATAL           CXL_BIT64(0)
#define CXL_MEMDEV_STATUS_FW_HALT         CXL_BIT64(1)
#define CXL_MEMDEV_STATUS_MEDIA           CXL_BITS64(3, 2)
#define CXL_MEMDEV_STATUS_MEDIA_NOT_READY 0
#define CXL_MEMDEV_STATUS_MEDIA_READY     1
#define CXL_MEMDEV_STATUS_MEDIA_ERROR     2
#define CXL_MEMDEV_STATUS_MEDIA_DISABLED  3
#define CXL_MEMDEV_STATUS_MBOX_READY      CXL_BIT64(4)
#define CXL_MEMDEV_STATUS_RESET_NEEDED    CXL_BITS64(7, 5)
#define CXL_MEMDEV_STATUS_RESET_NONE      0
#define CXL_MEMDEV_STATUS_RESET_COLD      1
#define CXL_MEMDEV_STATUS_RESET_WARM      2
#define CXL_MEMDEV_STATUS_RESET_HOT       3
#define CXL_MEMDEV_STATUS_RESET_CXL       4

#define CXL_MEMDEV_STATUS_IDLE                                                   \
	(CXL_FIELD_PUT(CXL_MEMDEV_STATUS_MEDIA, CXL_MEMDEV_STATUS_MEDIA_READY) | \
	 CXL_MEMDEV_STATUS_MBOX_READY)
CXL_STATIC_ASSERT(CXL_MEMDEV_STATUS_IDLE == 0x14);

#endif
