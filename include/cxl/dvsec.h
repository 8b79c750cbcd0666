/* SPDX-License-Identifier: BSD-3-Clause */
/* CXL DVSECs in extended configuration space: device, ports, GPF, flex bus, register locator. */

/* Offsets in comments and in offsetof() count from the extended capability header. */
#ifndef CXL_DVSEC_H
#define CXL_DVSEC_H

#include "cxl/endian.h"
#include "cxl/pci.h"

/* --- Header common to all, PCIe 6.0 7.9.6 --------------------------------------------------- */

typedef struct CxlDvsecHeader {
	le32 ext_cap; /* PCI_EXTCAP_HEADER(PCI_EXTCAP_DVSEC, PCI_DVSEC_VERSION, next) */
	le32 header1; /* CXL_DVSEC_HEADER1 */
	le16 id;      /* CXL_DVSEC_ID_* */
} CxlDvsecHeader;
CXL_STATIC_ASSERT(sizeof(CxlDvsecHeader) == 0x0a);
CXL_STATIC_ASSERT(offsetof(CxlDvsecHeader, header1) == 4);
CXL_STATIC_ASSERT(offsetof(CxlDvsecHeader, id) == 8);

#define CXL_DVSEC_VENDOR   CXL_BITS(15, 0)
#define CXL_DVSEC_REVISION CXL_BITS(19, 16)
#define CXL_DVSEC_LEN      CXL_BITS(31, 20)
#define CXL_DVSEC_HEADER1(revision, len)                                            \
	(PCI_VENDOR_CXL | CXL_FIELD_PUT(CXL_DVSEC_REVISION, (uint32_t)(revision)) | \
	 CXL_FIELD_PUT(CXL_DVSEC_LEN, (uint32_t)(len)))

/* CXL 3.1 8.1.1: DVSEC ids */
#define CXL_DVSEC_ID_DEVICE           0
#define CXL_DVSEC_ID_NON_CXL_MAP      2
#define CXL_DVSEC_ID_PORT             3
#define CXL_DVSEC_ID_GPF_PORT         4
#define CXL_DVSEC_ID_GPF_DEVICE       5
#define CXL_DVSEC_ID_FLEX_BUS         7
#define CXL_DVSEC_ID_REGISTER_LOCATOR 8
#define CXL_DVSEC_ID_MLD              9

#define CXL_DVSEC_DEVICE_REVISION           3
#define CXL_DVSEC_PORT_REVISION             0
#define CXL_DVSEC_GPF_PORT_REVISION         0
#define CXL_DVSEC_GPF_DEVICE_REVISION       0
#define CXL_DVSEC_FLEX_BUS_REVISION         2
#define CXL_DVSEC_REGISTER_LOCATOR_REVISION 0

/* --- Device (id 0), CXL 3.1 8.1.3 ----------------------------------------------------------- */

/* A range register pair: where the memory was before HDM decoders took over, and its state */
typedef struct CxlDvsecRange {
	le32 size_hi;
	le32 size_lo; /* CXL_DVSEC_RANGE_* and bits [31:28] of the size */
	le32 base_hi;
	le32 base_lo; /* bits [31:28] */
} CxlDvsecRange;
CXL_STATIC_ASSERT(sizeof(CxlDvsecRange) == 0x10);

typedef struct CxlDvsecDevice {
	CxlDvsecHeader header;
	le16 cap;               /* 0Ah CXL_DVSEC_DEVICE_CAP_* */
	le16 ctrl;              /* 0Ch CXL_DVSEC_DEVICE_CTRL_* */
	le16 status;            /* 0Eh CXL_DVSEC_DEVICE_STATUS_VIRAL */
	le16 ctrl2;             /* 10h CXL_DVSEC_DEVICE_CTRL2_* */
	le16 status2;           /* 12h CXL_DVSEC_DEVICE_STATUS2_* */
	le16 lock;              /* 14h CXL_DVSEC_DEVICE_LOCK_CONFIG */
	le16 cap2;              /* 16h CXL_DVSEC_DEVICE_CAP2_* */
	CxlDvsecRange range[2]; /* 18h, 28h */
	le16 cap3;              /* 38h CXL_DVSEC_DEVICE_CAP3_*; revision 3 on */
	uint8_t reserved[2];
} CxlDvsecDevice;
CXL_STATIC_ASSERT(sizeof(CxlDvsecDevice) == 0x3c);
CXL_STATIC_ASSERT(offsetof(CxlDvsecDevice, cap) == 0x0a);
CXL_STATIC_ASSERT(offsetof(CxlDvsecDevice, ctrl2) == 0x10);
CXL_STATIC_ASSERT(offsetof(CxlDvsecDevice, lock) == 0x14);
CXL_STATIC_ASSERT(offsetof(CxlDvsecDevice, range) == 0x18);
CXL_STATIC_ASSERT(offsetof(CxlDvsecDevice, cap3) == 0x38);

#define CXL_DVSEC_DEVICE_CAP_CACHE           CXL_BIT(0)
#define CXL_DVSEC_DEVICE_CAP_IO              CXL_BIT(1)
#define CXL_DVSEC_DEVICE_CAP_MEM             CXL_BIT(2)
#define CXL_DVSEC_DEVICE_CAP_MEM_HW_INIT     CXL_BIT(3)
#define CXL_DVSEC_DEVICE_CAP_RANGES          CXL_BITS(5, 4) /* ranges in use, 1 or 2 */
#define CXL_DVSEC_DEVICE_CAP_CACHE_WB_INV    CXL_BIT(6)
#define CXL_DVSEC_DEVICE_CAP_RESET           CXL_BIT(7)
#define CXL_DVSEC_DEVICE_CAP_RESET_TIMEOUT   CXL_BITS(10, 8) /* 10 ms * 10^n */
#define CXL_DVSEC_DEVICE_CAP_RESET_MEM_CLEAR CXL_BIT(11)
#define CXL_DVSEC_DEVICE_CAP_TSP             CXL_BIT(12)
#define CXL_DVSEC_DEVICE_CAP_MLD             CXL_BIT(13)
#define CXL_DVSEC_DEVICE_CAP_VIRAL           CXL_BIT(14)
#define CXL_DVSEC_DEVICE_CAP_PM_INIT_REPORT  CXL_BIT(15)

#define CXL_DVSEC_DEVICE_CTRL_CACHE          CXL_BIT(0)
#define CXL_DVSEC_DEVICE_CTRL_IO             CXL_BIT(1) /* RO, 1 */
#define CXL_DVSEC_DEVICE_CTRL_MEM            CXL_BIT(2)
#define CXL_DVSEC_DEVICE_CTRL_SF_COVERAGE    CXL_BITS(7, 3)
#define CXL_DVSEC_DEVICE_CTRL_SF_GRANULARITY CXL_BITS(10, 8)
#define CXL_DVSEC_DEVICE_CTRL_CLEAN_EVICTION CXL_BIT(11)
#define CXL_DVSEC_DEVICE_CTRL_P2P_MEM        CXL_BIT(12)
#define CXL_DVSEC_DEVICE_CTRL_VIRAL          CXL_BIT(14)

#define CXL_DVSEC_DEVICE_STATUS_VIRAL CXL_BIT(14) /* write one to clear */

#define CXL_DVSEC_DEVICE_CTRL2_DISABLE_CACHING     CXL_BIT(0)
#define CXL_DVSEC_DEVICE_CTRL2_CACHE_WB_INV        CXL_BIT(1)
#define CXL_DVSEC_DEVICE_CTRL2_RESET               CXL_BIT(2) /* initiates a CXL reset; reads 0 */
#define CXL_DVSEC_DEVICE_CTRL2_RESET_MEM_CLEAR     CXL_BIT(3)
#define CXL_DVSEC_DEVICE_CTRL2_HDM_AFTER_HOT_RESET CXL_BIT(4)
#define CXL_DVSEC_DEVICE_CTRL2_MODIFIED_COMPLETION CXL_BIT(5)

#define CXL_DVSEC_DEVICE_STATUS2_CACHE_INVALID     CXL_BIT(0)
#define CXL_DVSEC_DEVICE_STATUS2_RESET_DONE        CXL_BIT(1)
#define CXL_DVSEC_DEVICE_STATUS2_RESET_ERROR       CXL_BIT(2)
#define CXL_DVSEC_DEVICE_STATUS2_HDM_NOT_PRESERVED CXL_BIT(3) /* write one to clear */
#define CXL_DVSEC_DEVICE_STATUS2_PM_INIT_DONE      CXL_BIT(15)

#define CXL_DVSEC_DEVICE_LOCK_CONFIG CXL_BIT(0)

#define CXL_DVSEC_DEVICE_CAP2_CACHE_UNIT          CXL_BITS(3, 0)
#define CXL_DVSEC_DEVICE_CAP2_FALLBACK            CXL_BITS(5, 4)
#define CXL_DVSEC_DEVICE_CAP2_MODIFIED_COMPLETION CXL_BIT(6)
#define CXL_DVSEC_DEVICE_CAP2_NO_CLEAN_WB         CXL_BIT(7)
#define CXL_DVSEC_DEVICE_CAP2_CACHE_SIZE          CXL_BITS(15, 8)

#define CXL_DVSEC_DEVICE_CAP3_HDM_COLD_RESET       CXL_BIT(0)
#define CXL_DVSEC_DEVICE_CAP3_HDM_WARM_RESET       CXL_BIT(1)
#define CXL_DVSEC_DEVICE_CAP3_HDM_HOT_RESET        CXL_BIT(2)
#define CXL_DVSEC_DEVICE_CAP3_HDM_HOT_RESET_CONFIG CXL_BIT(3)
#define CXL_DVSEC_DEVICE_CAP3_P2P_MEM              CXL_BIT(4)

#define CXL_DVSEC_RANGE_VALID             CXL_BIT(0) /* the other fields mean something */
#define CXL_DVSEC_RANGE_ACTIVE            CXL_BIT(1) /* the memory may be used */
#define CXL_DVSEC_RANGE_MEDIA             CXL_BITS(4, 2)
#define CXL_DVSEC_RANGE_MEDIA_VOLATILE    0
#define CXL_DVSEC_RANGE_MEDIA_NONVOLATILE 1
#define CXL_DVSEC_RANGE_MEDIA_CDAT        2 /* CDAT tells */
#define CXL_DVSEC_RANGE_CLASS             CXL_BITS(7, 5)
#define CXL_DVSEC_RANGE_CLASS_MEMORY      0
#define CXL_DVSEC_RANGE_CLASS_STORAGE     1
#define CXL_DVSEC_RANGE_CLASS_CDAT        2
#define CXL_DVSEC_RANGE_INTERLEAVE        CXL_BITS(12, 8)
#define CXL_DVSEC_RANGE_ACTIVE_TIMEOUT    CXL_BITS(15, 13) /* 1 s * 4^n */
#define CXL_DVSEC_RANGE_DEGRADED          CXL_BIT(16)
#define CXL_DVSEC_RANGE_LO_MASK           CXL_BITS(31, 28) /* in the low halves of size and base */

/* --- Port extensions (id 3), CXL 3.1 8.1.5; root and downstream ports ----------------------- */

typedef struct CxlDvsecPort {
	CxlDvsecHeader header;
	le16 status;            /* 0Ah CXL_DVSEC_PORT_STATUS_* */
	le16 ctrl;              /* 0Ch CXL_DVSEC_PORT_CTRL_* */
	uint8_t alt_bus_base;   /* 0Eh */
	uint8_t alt_bus_limit;  /* 0Fh */
	le16 alt_mem_base;      /* 10h */
	le16 alt_mem_limit;     /* 12h */
	le16 alt_pref_base;     /* 14h */
	le16 alt_pref_limit;    /* 16h */
	le32 alt_pref_base_hi;  /* 18h */
	le32 alt_pref_limit_hi; /* 1Ch */
	le32 rcrb_base;         /* 20h */
	le32 rcrb_base_hi;      /* 24h */
} CxlDvsecPort;
CXL_STATIC_ASSERT(sizeof(CxlDvsecPort) == 0x28);
CXL_STATIC_ASSERT(offsetof(CxlDvsecPort, ctrl) == 0x0c);
CXL_STATIC_ASSERT(offsetof(CxlDvsecPort, alt_pref_base) == 0x14);
CXL_STATIC_ASSERT(offsetof(CxlDvsecPort, rcrb_base) == 0x20);

#define CXL_DVSEC_PORT_STATUS_PM_INIT_DONE CXL_BIT(0)
#define CXL_DVSEC_PORT_STATUS_VIRAL        CXL_BIT(14)

#define CXL_DVSEC_PORT_CTRL_UNMASK_SBR          CXL_BIT(0)
#define CXL_DVSEC_PORT_CTRL_UNMASK_LINK_DISABLE CXL_BIT(1)
#define CXL_DVSEC_PORT_CTRL_ALT_MEM             CXL_BIT(2)
#define CXL_DVSEC_PORT_CTRL_ALT_BME             CXL_BIT(3)
#define CXL_DVSEC_PORT_CTRL_VIRAL               CXL_BIT(14)

/* --- Global persistent flush (ids 4 and 5), CXL 3.1 8.1.6 and 8.1.7 ------------------------- */

/* A time: base units of 1 us * 10^scale */
#define CXL_DVSEC_GPF_TIME_BASE  CXL_BITS(3, 0)
#define CXL_DVSEC_GPF_TIME_SCALE CXL_BITS(11, 8)

typedef struct CxlDvsecGpfPort {
	CxlDvsecHeader header;
	uint8_t reserved[2];
	le16 phase1_ctrl; /* 0Ch CXL_DVSEC_GPF_TIME_* */
	le16 phase2_ctrl; /* 0Eh CXL_DVSEC_GPF_TIME_* */
} CxlDvsecGpfPort;
CXL_STATIC_ASSERT(sizeof(CxlDvsecGpfPort) == 0x10);
CXL_STATIC_ASSERT(offsetof(CxlDvsecGpfPort, phase1_ctrl) == 0x0c);

typedef struct CxlDvsecGpfDevice {
	CxlDvsecHeader header;
	le16 phase2_duration; /* 0Ah CXL_DVSEC_GPF_TIME_* */
	le32 phase2_power;    /* 0Ch mW */
} CxlDvsecGpfDevice;
CXL_STATIC_ASSERT(sizeof(CxlDvsecGpfDevice) == 0x10);
CXL_STATIC_ASSERT(offsetof(CxlDvsecGpfDevice, phase2_power) == 0x0c);

/* --- Flex bus port (id 7), CXL 3.1 8.1.8 and 8.2.1.3 ---------------------------------------- */

typedef struct CxlDvsecFlexBus {
	CxlDvsecHeader header;
	le16 cap;         /* 0Ah CXL_DVSEC_FLEX_BUS_* */
	le16 ctrl;        /* 0Ch CXL_DVSEC_FLEX_BUS_* */
	le16 status;      /* 0Eh CXL_DVSEC_FLEX_BUS_* */
	le32 received_ts; /* 10h modified training set data, [23:0] */
	le32 cap2;        /* 14h */
	le32 ctrl2;       /* 18h */
	le32 status2;     /* 1Ch */
} CxlDvsecFlexBus;
CXL_STATIC_ASSERT(sizeof(CxlDvsecFlexBus) == 0x20);
CXL_STATIC_ASSERT(offsetof(CxlDvsecFlexBus, status) == 0x0e);
CXL_STATIC_ASSERT(offsetof(CxlDvsecFlexBus, received_ts) == 0x10);

/* Capable, enable and enabled bits have the same places in cap, ctrl and status. */
#define CXL_DVSEC_FLEX_BUS_CACHE        CXL_BIT(0)
#define CXL_DVSEC_FLEX_BUS_IO           CXL_BIT(1)
#define CXL_DVSEC_FLEX_BUS_MEM          CXL_BIT(2)
#define CXL_DVSEC_FLEX_BUS_68B_VH       CXL_BIT(5) /* 68-byte flit and virtual hierarchy */
#define CXL_DVSEC_FLEX_BUS_MLD          CXL_BIT(6)
#define CXL_DVSEC_FLEX_BUS_LATENCY_256B CXL_BIT(13)
#define CXL_DVSEC_FLEX_BUS_PBR          CXL_BIT(14)

/* --- Register locator (id 8), CXL 3.1 8.1.9 ------------------------------------------------- */

/* One 64 KiB aligned register block in a BAR */
typedef struct CxlDvsecLocatorEntry {
	le32 lo; /* CXL_LOCATOR_BIR, CXL_LOCATOR_ID, CXL_LOCATOR_OFFSET_LO */
	le32 hi; /* offset [63:32] */
} CxlDvsecLocatorEntry;
CXL_STATIC_ASSERT(sizeof(CxlDvsecLocatorEntry) == 8);

/* Followed by CxlDvsecLocatorEntry[]; their number follows from the DVSEC's length */
typedef struct CxlDvsecLocator {
	CxlDvsecHeader header;
	uint8_t reserved[2];
} CxlDvsecLocator;
CXL_STATIC_ASSERT(sizeof(CxlDvsecLocator) == 0x0c);

#define CXL_DVSEC_LOCATOR_ENTRY(n)       (0x0c + 8 * (n))
#define CXL_DVSEC_LOCATOR_LEN(n_entries) CXL_DVSEC_LOCATOR_ENTRY(n_entries)

#define CXL_LOCATOR_BIR       CXL_BITS(2, 0)
#define CXL_LOCATOR_ID        CXL_BITS(15, 8)
#define CXL_LOCATOR_OFFSET_LO CXL_BITS(31, 16) /* in place */
#define CXL_LOCATOR_LO(bir, id, offset)                    \
	(CXL_FIELD_PUT(CXL_LOCATOR_BIR, (uint32_t)(bir)) | \
	 CXL_FIELD_PUT(CXL_LOCATOR_ID, (uint32_t)(id)) |   \
	 ((uint32_t)(offset)&CXL_LOCATOR_OFFSET_LO))

#define CXL_LOCATOR_ID_EMPTY     0
#define CXL_LOCATOR_ID_COMPONENT 1
#define CXL_LOCATOR_ID_BAR_VIRT  2
#define CXL_LOCATOR_ID_DEVICE    3
#define CXL_LOCATOR_ID_CPMU      4
#define CXL_LOCATOR_BLOCK_LEN    0x10000

#endif
