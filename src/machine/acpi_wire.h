/* SPDX-License-Identifier: BSD-3-Clause */
/* ACPI 6.5 and CXL 3.1 tables as they lie in memory. */
#ifndef MACHINE_ACPI_WIRE_H
#define MACHINE_ACPI_WIRE_H

#include "cxl/endian.h"

#include <stddef.h>

/* 5.2.5.3: RSDP, revision 2 */
typedef struct AcpiRsdp {
	char signature[8]; /* "RSD PTR " */
	uint8_t checksum;  /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	le32 rsdt;
	le32 length;
	le64 xsdt;
	uint8_t extended_checksum; /* of all */
	uint8_t reserved[3];
} AcpiRsdp;
CXL_STATIC_ASSERT(sizeof(AcpiRsdp) == 36);
#define ACPI_RSDP_V1_LEN 20

/* 5.2.6: begins every table but the RSDP */
typedef struct AcpiHeader {
	char signature[4];
	le32 length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	le32 oem_revision;
	char creator_id[4];
	le32 creator_revision;
} AcpiHeader;
CXL_STATIC_ASSERT(sizeof(AcpiHeader) == 36);

/* 5.2.3.2: generic address structure */
typedef struct AcpiGas {
	uint8_t space;
	uint8_t bit_width;
	uint8_t bit_offset;
	uint8_t access_len;
	le64 address;
} AcpiGas;
CXL_STATIC_ASSERT(sizeof(AcpiGas) == 12);
#define ACPI_GAS_IO   1
#define ACPI_GAS_BYTE 1 /* access_len */

/* 5.2.9: FADT; what a hardware-reduced machine leaves zero has no name here */
typedef struct AcpiFadt {
	AcpiHeader header;
	le32 facs;
	le32 dsdt;
	uint8_t fixed_hardware[65];
	le16 boot_arch;
	uint8_t reserved;
	le32 flags;
	AcpiGas reset;
	uint8_t reset_value;
	le16 arm_boot_arch;
	uint8_t minor_revision;
	le64 x_facs;
	le64 x_dsdt;
	AcpiGas fixed_blocks[8];
	AcpiGas sleep_control;
	AcpiGas sleep_status;
	le64 hypervisor_id;
} AcpiFadt;
CXL_STATIC_ASSERT(sizeof(AcpiFadt) == 276);
CXL_STATIC_ASSERT(offsetof(AcpiFadt, boot_arch) == 109);
CXL_STATIC_ASSERT(offsetof(AcpiFadt, reset) == 116);
CXL_STATIC_ASSERT(offsetof(AcpiFadt, x_dsdt) == 140);
CXL_STATIC_ASSERT(offsetof(AcpiFadt, sleep_control) == 244);

#define ACPI_FADT_BOOT_NO_VGA      CXL_BIT(2)
#define ACPI_FADT_BOOT_NO_CMOS_RTC CXL_BIT(5)
#define ACPI_FADT_WBINVD           CXL_BIT(0)
#define ACPI_FADT_NO_POWER_BUTTON  CXL_BIT(4) /* fixed; it is a device */
#define ACPI_FADT_NO_SLEEP_BUTTON  CXL_BIT(5)
#define ACPI_FADT_RESET_REGISTER   CXL_BIT(10)
#define ACPI_FADT_HW_REDUCED       CXL_BIT(20)

/* 5.2.12: MADT and its structures */
typedef struct AcpiMadt {
	AcpiHeader header;
	le32 lapic;
	le32 flags; /* bit 0: there is a pair of 8259 too */
} AcpiMadt;
CXL_STATIC_ASSERT(sizeof(AcpiMadt) == 44);

typedef struct AcpiMadtLapic {
	uint8_t type; /* 0 */
	uint8_t length;
	uint8_t uid;
	uint8_t apic_id;
	le32 flags;
} AcpiMadtLapic;
CXL_STATIC_ASSERT(sizeof(AcpiMadtLapic) == 8);

typedef struct AcpiMadtIoapic {
	uint8_t type; /* 1 */
	uint8_t length;
	uint8_t id;
	uint8_t reserved;
	le32 address;
	le32 gsi_base;
} AcpiMadtIoapic;
CXL_STATIC_ASSERT(sizeof(AcpiMadtIoapic) == 12);

/* PCI firmware 3.3, 4.1.2: MCFG with one allocation */
typedef struct AcpiMcfg {
	AcpiHeader header;
	uint8_t reserved[8];
	le64 base;
	le16 segment;
	uint8_t bus_first;
	uint8_t bus_last;
	uint8_t reserved2[4];
} AcpiMcfg;
CXL_STATIC_ASSERT(sizeof(AcpiMcfg) == 60);

/* 5.2.16: SRAT and its structures */
typedef struct AcpiSrat {
	AcpiHeader header;
	le32 reserved_1; /* must be 1 */
	uint8_t reserved[8];
} AcpiSrat;
CXL_STATIC_ASSERT(sizeof(AcpiSrat) == 48);

typedef struct AcpiSratLapic {
	uint8_t type; /* 0 */
	uint8_t length;
	uint8_t domain_low;
	uint8_t apic_id;
	le32 flags;
	uint8_t sapic_eid;
	uint8_t domain_high[3];
	le32 clock_domain;
} AcpiSratLapic;
CXL_STATIC_ASSERT(sizeof(AcpiSratLapic) == 16);

typedef struct AcpiSratMemory {
	uint8_t type; /* 1 */
	uint8_t length;
	le32 domain;
	uint8_t reserved[2];
	le64 base;
	le64 len;
	uint8_t reserved2[4];
	le32 flags;
	uint8_t reserved3[8];
} AcpiSratMemory;
CXL_STATIC_ASSERT(sizeof(AcpiSratMemory) == 40);

typedef struct AcpiSratPort {
	uint8_t type; /* 6: generic port */
	uint8_t length;
	uint8_t reserved;
	uint8_t handle_type; /* 0: ACPI */
	le32 domain;
	char hid[8];
	le32 uid;
	uint8_t reserved2[4];
	le32 flags;
	uint8_t reserved3[4];
} AcpiSratPort;
CXL_STATIC_ASSERT(sizeof(AcpiSratPort) == 32);
#define ACPI_ENABLED CXL_BIT(0) /* of MADT's and SRAT's structures */

/* 5.2.28: HMAT and its structures */
typedef struct AcpiHmat {
	AcpiHeader header;
	uint8_t reserved[4];
} AcpiHmat;
CXL_STATIC_ASSERT(sizeof(AcpiHmat) == 40);

typedef struct AcpiHmatDomain {
	le16 type; /* 0 */
	uint8_t reserved[2];
	le32 length;
	le16 flags;
	uint8_t reserved2[2];
	le32 initiator_domain;
	le32 memory_domain;
	uint8_t reserved3[20];
} AcpiHmatDomain;
CXL_STATIC_ASSERT(sizeof(AcpiHmatDomain) == 40);
#define ACPI_HMAT_INITIATOR_VALID CXL_BIT(0)

/* Followed by initiators and targets, le32 each, then one le16 for each pair. */
typedef struct AcpiHmatLocality {
	le16 type; /* 1 */
	uint8_t reserved[2];
	le32 length;
	uint8_t flags;
	uint8_t data_type;
	uint8_t min_transfer;
	uint8_t reserved2;
	le32 n_initiators;
	le32 n_targets;
	uint8_t reserved3[4];
	le64 base_unit; /* of the matrix, in picoseconds or MB/s */
} AcpiHmatLocality;
CXL_STATIC_ASSERT(sizeof(AcpiHmatLocality) == 32);
#define ACPI_HMAT_ACCESS_LATENCY   0
#define ACPI_HMAT_ACCESS_BANDWIDTH 3

/* CXL 3.1, 9.18.1: CEDT and its structures */
typedef struct AcpiCedtBridge {
	uint8_t type; /* 0: CHBS */
	uint8_t reserved;
	le16 length;
	le32 uid;
	le32 version; /* 1: CXL 2.0 and later */
	uint8_t reserved2[4];
	le64 base;
	le64 len;
} AcpiCedtBridge;
CXL_STATIC_ASSERT(sizeof(AcpiCedtBridge) == 32);

/* Followed by one le32 for each target. */
typedef struct AcpiCedtWindow {
	uint8_t type; /* 1: CFMWS */
	uint8_t reserved;
	le16 length;
	uint8_t reserved2[4];
	le64 base;
	le64 len;
	uint8_t ways;       /* encoded */
	uint8_t arithmetic; /* 0: modulo */
	uint8_t reserved3[2];
	le32 granularity; /* encoded */
	le16 restrictions;
	le16 qtg_id;
} AcpiCedtWindow;
CXL_STATIC_ASSERT(sizeof(AcpiCedtWindow) == 36);
CXL_STATIC_ASSERT(offsetof(AcpiCedtWindow, restrictions) == 32);

#endif
