/* SPDX-License-Identifier: BSD-3-Clause */
/* PCI Express configuration space as a CXL function uses it: headers, capabilities, AER, DOE. */

/* Names differ from those of <linux/pci_regs.h>, so that a file may include both. */
#ifndef CXL_PCI_H
#define CXL_PCI_H

#include "cxl/endian.h"

#define PCI_CONFIG_LEN              0x1000
#define PCI_CONFIG_CONVENTIONAL_LEN 0x100

/* --- Header, types 0 and 1; PCIe 6.0 7.5.1 -------------------------------------------------- */

#define PCI_CFG_VENDOR_ID     0x00
#define PCI_CFG_DEVICE_ID     0x02
#define PCI_CFG_COMMAND       0x04
#define PCI_CFG_STATUS        0x06
#define PCI_CFG_REVISION      0x08
#define PCI_CFG_CLASS         0x09 /* three bytes: interface, subclass, class */
#define PCI_CFG_CACHE_LINE    0x0c
#define PCI_CFG_LATENCY_TIMER 0x0d
#define PCI_CFG_HEADER_TYPE   0x0e
#define PCI_CFG_BIST          0x0f
#define PCI_CFG_BAR(n)        (0x10 + 4 * (n))
#define PCI_CFG_CAP_PTR       0x34
#define PCI_CFG_INT_LINE      0x3c
#define PCI_CFG_INT_PIN       0x3d

/* Type 0 only */
#define PCI_CFG0_N_BARS           6
#define PCI_CFG0_SUBSYS_VENDOR_ID 0x2c
#define PCI_CFG0_SUBSYS_ID        0x2e
#define PCI_CFG0_ROM              0x30

/* Type 1 only */
#define PCI_CFG1_N_BARS            2
#define PCI_CFG1_PRIMARY_BUS       0x18
#define PCI_CFG1_SECONDARY_BUS     0x19
#define PCI_CFG1_SUBORDINATE_BUS   0x1a
#define PCI_CFG1_SECONDARY_LATENCY 0x1b
#define PCI_CFG1_IO_BASE           0x1c
#define PCI_CFG1_IO_LIMIT          0x1d
#define PCI_CFG1_SECONDARY_STATUS  0x1e
#define PCI_CFG1_MEM_BASE          0x20
#define PCI_CFG1_MEM_LIMIT         0x22
#define PCI_CFG1_PREF_BASE         0x24
#define PCI_CFG1_PREF_LIMIT        0x26
#define PCI_CFG1_PREF_BASE_HI      0x28
#define PCI_CFG1_PREF_LIMIT_HI     0x2c
#define PCI_CFG1_IO_BASE_HI        0x30
#define PCI_CFG1_IO_LIMIT_HI       0x32
#define PCI_CFG1_ROM               0x38
#define PCI_CFG1_BRIDGE_CTRL       0x3e

#define PCI_CMD_IO           CXL_BIT(0)
#define PCI_CMD_MEM          CXL_BIT(1)
#define PCI_CMD_MASTER       CXL_BIT(2)
#define PCI_CMD_PARITY       CXL_BIT(6)
#define PCI_CMD_SERR         CXL_BIT(8)
#define PCI_CMD_INTX_DISABLE CXL_BIT(10)

#define PCI_STA_INTX                  CXL_BIT(3)
#define PCI_STA_CAP_LIST              CXL_BIT(4)
#define PCI_STA_PARITY_MASTER         CXL_BIT(8)
#define PCI_STA_TARGET_ABORT_SIGNALED CXL_BIT(11)
#define PCI_STA_TARGET_ABORT_RECEIVED CXL_BIT(12)
#define PCI_STA_MASTER_ABORT_RECEIVED CXL_BIT(13)
#define PCI_STA_SERR_SIGNALED         CXL_BIT(14)
#define PCI_STA_PARITY_DETECTED       CXL_BIT(15)
#define PCI_STA_WRITE_CLEAR \
	(CXL_BITS(15, 11) | PCI_STA_PARITY_MASTER) /* bits that a written 1 clears */

#define PCI_HDR_TYPE           CXL_BITS(6, 0)
#define PCI_HDR_TYPE_0         0
#define PCI_HDR_TYPE_1         1
#define PCI_HDR_MULTI_FUNCTION CXL_BIT(7)

#define PCI_BAR_IO       CXL_BIT(0)
#define PCI_BAR_TYPE     CXL_BITS(2, 1)
#define PCI_BAR_TYPE_32  0
#define PCI_BAR_TYPE_64  2
#define PCI_BAR_MEM_64   CXL_BIT(2) /* a 64-bit memory BAR, not prefetchable */
#define PCI_BAR_PREFETCH CXL_BIT(3)
#define PCI_BAR_FLAGS    CXL_BITS(3, 0) /* low bits of a memory BAR that are not address */

#define PCI_BRIDGE_PARITY    CXL_BIT(0)
#define PCI_BRIDGE_SERR      CXL_BIT(1)
#define PCI_BRIDGE_BUS_RESET CXL_BIT(6)
#define PCI_BRIDGE_WINDOW_64 1 /* low nibble of the prefetchable base and limit */

/* Class codes, as the 24-bit number class, subclass, interface */
#define PCI_CLASS_CXL_MEMDEV  0x050210
#define PCI_CLASS_HOST_BRIDGE 0x060000
#define PCI_CLASS_BRIDGE      0x060400

#define PCI_VENDOR_PCISIG 0x0001
#define PCI_VENDOR_CXL    0x1e98

/* --- Capabilities --------------------------------------------------------------------------- */

/* Every capability: id at +0, offset of the next at +1 (0 = last) */
#define PCI_CAP_PM   0x01
#define PCI_CAP_MSI  0x05
#define PCI_CAP_PCIE 0x10
#define PCI_CAP_MSIX 0x11
#define PCI_CAP_AF   0x13

/* PCI Express capability, PCIe 6.0 7.5.3; offsets from the capability */
#define PCI_PCIE_LEN     0x3c
#define PCI_PCIE_CAPS    0x02
#define PCI_PCIE_DEVCAP  0x04
#define PCI_PCIE_DEVCTL  0x08
#define PCI_PCIE_DEVSTA  0x0a
#define PCI_PCIE_LNKCAP  0x0c
#define PCI_PCIE_LNKCTL  0x10
#define PCI_PCIE_LNKSTA  0x12
#define PCI_PCIE_SLTCAP  0x14
#define PCI_PCIE_SLTCTL  0x18
#define PCI_PCIE_SLTSTA  0x1a
#define PCI_PCIE_ROOTCTL 0x1c
#define PCI_PCIE_ROOTCAP 0x1e
#define PCI_PCIE_ROOTSTA 0x20
#define PCI_PCIE_DEVCAP2 0x24
#define PCI_PCIE_DEVCTL2 0x28
#define PCI_PCIE_DEVSTA2 0x2a
#define PCI_PCIE_LNKCAP2 0x2c
#define PCI_PCIE_LNKCTL2 0x30
#define PCI_PCIE_LNKSTA2 0x32
#define PCI_PCIE_SLTCAP2 0x34
#define PCI_PCIE_SLTCTL2 0x38
#define PCI_PCIE_SLTSTA2 0x3a

#define PCI_PCIE_CAPS_VERSION     CXL_BITS(3, 0)
#define PCI_PCIE_CAPS_VERSION_2   2
#define PCI_PCIE_CAPS_TYPE        CXL_BITS(7, 4)
#define PCI_PCIE_TYPE_ENDPOINT    0
#define PCI_PCIE_TYPE_ROOT_PORT   4
#define PCI_PCIE_TYPE_UPSTREAM    5
#define PCI_PCIE_TYPE_DOWNSTREAM  6
#define PCI_PCIE_TYPE_RC_ENDPOINT 9
#define PCI_PCIE_CAPS_SLOT        CXL_BIT(8)
#define PCI_PCIE_CAPS_INT_MSG     CXL_BITS(13, 9)

#define PCI_PCIE_DEVCAP_MPS     CXL_BITS(2, 0) /* 128 bytes << n */
#define PCI_PCIE_DEVCAP_EXT_TAG CXL_BIT(5)
#define PCI_PCIE_DEVCAP_RBER    CXL_BIT(15)
#define PCI_PCIE_DEVCAP_FLR     CXL_BIT(28)

#define PCI_PCIE_DEVCTL_CERE     CXL_BIT(0)
#define PCI_PCIE_DEVCTL_NFERE    CXL_BIT(1)
#define PCI_PCIE_DEVCTL_FERE     CXL_BIT(2)
#define PCI_PCIE_DEVCTL_URRE     CXL_BIT(3)
#define PCI_PCIE_DEVCTL_RELAXED  CXL_BIT(4)
#define PCI_PCIE_DEVCTL_MPS      CXL_BITS(7, 5)
#define PCI_PCIE_DEVCTL_EXT_TAG  CXL_BIT(8)
#define PCI_PCIE_DEVCTL_NO_SNOOP CXL_BIT(11)
#define PCI_PCIE_DEVCTL_MRRS     CXL_BITS(14, 12)
#define PCI_PCIE_DEVCTL_FLR      CXL_BIT(15) /* initiates a function level reset; reads 0 */

#define PCI_PCIE_DEVSTA_CORRECTABLE CXL_BIT(0)
#define PCI_PCIE_DEVSTA_NONFATAL    CXL_BIT(1)
#define PCI_PCIE_DEVSTA_FATAL       CXL_BIT(2)
#define PCI_PCIE_DEVSTA_UR          CXL_BIT(3)
#define PCI_PCIE_DEVSTA_AUX         CXL_BIT(4)
#define PCI_PCIE_DEVSTA_PENDING     CXL_BIT(5)
#define PCI_PCIE_DEVSTA_WRITE_CLEAR CXL_BITS(3, 0)

#define PCI_PCIE_LNKCAP_SPEED         CXL_BITS(3, 0) /* PCI_PCIE_SPEED_* */
#define PCI_PCIE_LNKCAP_WIDTH         CXL_BITS(9, 4) /* lanes */
#define PCI_PCIE_LNKCAP_ASPM          CXL_BITS(11, 10)
#define PCI_PCIE_LNKCAP_DLLLARC       CXL_BIT(20)
#define PCI_PCIE_LNKCAP_ASPM_OPTIONAL CXL_BIT(22)
#define PCI_PCIE_LNKCAP_PORT          CXL_BITS(31, 24) /* port number, as in HDM target lists */

#define PCI_PCIE_LNKCTL_ASPM         CXL_BITS(1, 0)
#define PCI_PCIE_LNKCTL_DISABLE      CXL_BIT(4)
#define PCI_PCIE_LNKCTL_RETRAIN      CXL_BIT(5)
#define PCI_PCIE_LNKCTL_COMMON_CLOCK CXL_BIT(6)

#define PCI_PCIE_LNKSTA_SPEED      CXL_BITS(3, 0)
#define PCI_PCIE_LNKSTA_WIDTH      CXL_BITS(9, 4)
#define PCI_PCIE_LNKSTA_TRAINING   CXL_BIT(11)
#define PCI_PCIE_LNKSTA_SLOT_CLOCK CXL_BIT(12)
#define PCI_PCIE_LNKSTA_DLLLA      CXL_BIT(13)

#define PCI_PCIE_LNKCAP2_SPEEDS CXL_BITS(7, 1) /* bit n: PCI_PCIE_SPEED n */
#define PCI_PCIE_LNKCTL2_TARGET CXL_BITS(3, 0)
#define PCI_PCIE_LNKSTA2_FLIT   CXL_BIT(10)

#define PCI_PCIE_SPEED_2_5 1
#define PCI_PCIE_SPEED_5   2
#define PCI_PCIE_SPEED_8   3
#define PCI_PCIE_SPEED_16  4
#define PCI_PCIE_SPEED_32  5
#define PCI_PCIE_SPEED_64  6

/* Advanced features of conventional functions, PCI ECN "Advanced Capabilities"; offsets as above */
#define PCI_AF_LEN      0x06
#define PCI_AF_CAP_LEN  0x02
#define PCI_AF_CAPS     0x03
#define PCI_AF_CTRL     0x04
#define PCI_AF_CAPS_TP  CXL_BIT(0) /* transactions pending are told, has to be there for FLR */
#define PCI_AF_CAPS_FLR CXL_BIT(1)
#define PCI_AF_CTRL_FLR CXL_BIT(0) /* initiates a function level reset; reads 0 */

/* MSI-X capability, PCIe 6.0 7.7.2; offsets from the capability */
#define PCI_MSIX_CAP_LEN   0x0c
#define PCI_MSIX_CTRL      0x02
#define PCI_MSIX_TABLE_REG 0x04
#define PCI_MSIX_PBA_REG   0x08

#define PCI_MSIX_CTRL_SIZE     CXL_BITS(10, 0) /* number of vectors - 1 */
#define PCI_MSIX_CTRL_MASK_ALL CXL_BIT(14)
#define PCI_MSIX_CTRL_ENABLE   CXL_BIT(15)
#define PCI_MSIX_BIR           CXL_BITS(2, 0)  /* of PCI_MSIX_TABLE_REG and PCI_MSIX_PBA_REG */
#define PCI_MSIX_OFFSET        CXL_BITS(31, 3) /* in place: the masked value is in bytes */

typedef struct PciMsixEntry {
	le32 msg_lo;
	le32 msg_hi;
	le32 data;
	le32 ctrl; /* PCI_MSIX_ENTRY_MASKED */
} PciMsixEntry;
CXL_STATIC_ASSERT(sizeof(PciMsixEntry) == 0x10);

#define PCI_MSIX_ENTRY_LEN    0x10
#define PCI_MSIX_ENTRY_MASKED CXL_BIT(0)

/* --- Extended capabilities ------------------------------------------------------------------ */

#define PCI_EXTCAP_FIRST   0x100
#define PCI_EXTCAP_ID      CXL_BITS(15, 0)
#define PCI_EXTCAP_VERSION CXL_BITS(19, 16)
#define PCI_EXTCAP_NEXT    CXL_BITS(31, 20) /* offset in configuration space, 0 = last */
#define PCI_EXTCAP_HEADER(id, version, next)                      \
	(CXL_FIELD_PUT(PCI_EXTCAP_ID, (uint32_t)(id)) |           \
	 CXL_FIELD_PUT(PCI_EXTCAP_VERSION, (uint32_t)(version)) | \
	 CXL_FIELD_PUT(PCI_EXTCAP_NEXT, (uint32_t)(next)))

#define PCI_EXTCAP_AER   0x0001
#define PCI_EXTCAP_DSN   0x0003
#define PCI_EXTCAP_ACS   0x000d
#define PCI_EXTCAP_DVSEC 0x0023
#define PCI_EXTCAP_DOE   0x002e

#define PCI_AER_VERSION   2
#define PCI_DSN_VERSION   1
#define PCI_DVSEC_VERSION 1
#define PCI_DOE_VERSION   1 /* from 2 on, discovery requests carry a version too */

/* Device serial number, PCIe 6.0 7.9.3 */
#define PCI_DSN_LO  0x04
#define PCI_DSN_HI  0x08
#define PCI_DSN_LEN 0x0c

/* Advanced error reporting, PCIe 6.0 7.8.4; offsets from the capability */
#define PCI_AER_LEN          0x48
#define PCI_AER_UE_STATUS    0x04
#define PCI_AER_UE_MASK      0x08
#define PCI_AER_UE_SEVERITY  0x0c
#define PCI_AER_CE_STATUS    0x10
#define PCI_AER_CE_MASK      0x14
#define PCI_AER_CAPS_CTRL    0x18
#define PCI_AER_HEADER_LOG   0x1c /* 16 bytes */
#define PCI_AER_ROOT_CMD     0x2c /* the root registers exist in root ports only */
#define PCI_AER_ROOT_STATUS  0x30
#define PCI_AER_ERROR_SOURCE 0x34
#define PCI_AER_PREFIX_LOG   0x38 /* 16 bytes */

#define PCI_AER_UE_DATA_LINK         CXL_BIT(4)
#define PCI_AER_UE_SURPRISE_DOWN     CXL_BIT(5)
#define PCI_AER_UE_POISONED_TLP      CXL_BIT(12)
#define PCI_AER_UE_FLOW_CONTROL      CXL_BIT(13)
#define PCI_AER_UE_TIMEOUT           CXL_BIT(14)
#define PCI_AER_UE_COMPLETER_ABORT   CXL_BIT(15)
#define PCI_AER_UE_UNEXPECTED        CXL_BIT(16)
#define PCI_AER_UE_RECEIVER_OVERFLOW CXL_BIT(17)
#define PCI_AER_UE_MALFORMED         CXL_BIT(18)
#define PCI_AER_UE_ECRC              CXL_BIT(19)
#define PCI_AER_UE_UNSUPPORTED       CXL_BIT(20)
#define PCI_AER_UE_INTERNAL          CXL_BIT(22) /* also uncorrectable CXL.cachemem errors */
#define PCI_AER_UE_ALL               (CXL_BITS(5, 4) | CXL_BITS(20, 12) | PCI_AER_UE_INTERNAL)
#define PCI_AER_UE_MASK_DEFAULT      PCI_AER_UE_INTERNAL
#define PCI_AER_UE_SEVERITY_DEFAULT                                                \
	(CXL_BITS(5, 4) | PCI_AER_UE_FLOW_CONTROL | PCI_AER_UE_RECEIVER_OVERFLOW | \
	 PCI_AER_UE_MALFORMED | PCI_AER_UE_INTERNAL)

#define PCI_AER_CE_RECEIVER        CXL_BIT(0)
#define PCI_AER_CE_BAD_TLP         CXL_BIT(6)
#define PCI_AER_CE_BAD_DLLP        CXL_BIT(7)
#define PCI_AER_CE_REPLAY_ROLLOVER CXL_BIT(8)
#define PCI_AER_CE_REPLAY_TIMEOUT  CXL_BIT(12)
#define PCI_AER_CE_ADVISORY        CXL_BIT(13)
#define PCI_AER_CE_INTERNAL        CXL_BIT(14) /* also correctable CXL.cachemem errors */
#define PCI_AER_CE_HEADER_OVERFLOW CXL_BIT(15)
#define PCI_AER_CE_ALL             (PCI_AER_CE_RECEIVER | CXL_BITS(8, 6) | CXL_BITS(15, 12))
#define PCI_AER_CE_MASK_DEFAULT \
	(PCI_AER_CE_ADVISORY | PCI_AER_CE_INTERNAL | PCI_AER_CE_HEADER_OVERFLOW)

#define PCI_AER_FIRST_ERROR CXL_BITS(4, 0)

#define PCI_AER_ROOT_CMD_CE          CXL_BIT(0)
#define PCI_AER_ROOT_CMD_NONFATAL    CXL_BIT(1)
#define PCI_AER_ROOT_CMD_FATAL       CXL_BIT(2)
#define PCI_AER_ROOT_STA_CE          CXL_BIT(0)
#define PCI_AER_ROOT_STA_CE_MULTIPLE CXL_BIT(1)
#define PCI_AER_ROOT_STA_UE          CXL_BIT(2)
#define PCI_AER_ROOT_STA_UE_MULTIPLE CXL_BIT(3)
#define PCI_AER_ROOT_STA_FIRST_FATAL CXL_BIT(4)
#define PCI_AER_ROOT_STA_NONFATAL    CXL_BIT(5)
#define PCI_AER_ROOT_STA_FATAL       CXL_BIT(6)
#define PCI_AER_ROOT_STA_INT_MSG     CXL_BITS(31, 27)

/* --- Data object exchange, PCIe 6.0 6.30 and 7.9.24; offsets from the capability ------------ */

#define PCI_DOE_LEN        0x18
#define PCI_DOE_REG_CAP    0x04
#define PCI_DOE_REG_CTRL   0x08
#define PCI_DOE_REG_STATUS 0x0c
#define PCI_DOE_REG_WRITE  0x10
#define PCI_DOE_REG_READ   0x14 /* shows the current dword; writing any value moves to the next */

#define PCI_DOE_CAPS_INT       CXL_BIT(0)
#define PCI_DOE_CAPS_INT_MSG   CXL_BITS(11, 1)
#define PCI_DOE_CONTROL_ABORT  CXL_BIT(0)
#define PCI_DOE_CONTROL_INT_EN CXL_BIT(1)
#define PCI_DOE_CONTROL_GO     CXL_BIT(31)
#define PCI_DOE_STA_BUSY       CXL_BIT(0)
#define PCI_DOE_STA_INT        CXL_BIT(1) /* write one to clear */
#define PCI_DOE_STA_ERROR      CXL_BIT(2)
#define PCI_DOE_STA_READY      CXL_BIT(31)

/* Two dwords in front of every object, request and response */
typedef struct PciDoeHeader {
	le16 vendor_id;
	uint8_t type;
	uint8_t reserved;
	le32 len; /* PCI_DOE_OBJECT_LEN */
} PciDoeHeader;
CXL_STATIC_ASSERT(sizeof(PciDoeHeader) == 8);

/* The same as masks of dword 0 and dword 1, for those who read the mailbox dword by dword */
#define PCI_DOE_OBJECT_VENDOR     CXL_BITS(15, 0)
#define PCI_DOE_OBJECT_TYPE       CXL_BITS(23, 16)
#define PCI_DOE_OBJECT_LEN        CXL_BITS(17, 0) /* dwords with the header; 0 stands for 2^18 */
#define PCI_DOE_OBJECT_MAX_DWORDS (UINT32_C(1) << 18)
#define PCI_DOE_HEADER_DWORDS     2

/* Discovery: vendor PCI_VENDOR_PCISIG; one payload dword each way */
#define PCI_DOE_TYPE_DISCOVERY        0
#define PCI_DOE_DISCOVERY_DWORDS      3 /* request and response with the header */
#define PCI_DOE_DISCOVERY_REQ_INDEX   CXL_BITS(7, 0)
#define PCI_DOE_DISCOVERY_REQ_VERSION CXL_BITS(15, 8)
#define PCI_DOE_DISCOVERY_RSP_VENDOR  CXL_BITS(15, 0)
#define PCI_DOE_DISCOVERY_RSP_TYPE    CXL_BITS(23, 16)
#define PCI_DOE_DISCOVERY_RSP_NEXT    CXL_BITS(31, 24) /* 0 = this was the last */

#endif
