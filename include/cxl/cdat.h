/* SPDX-License-Identifier: BSD-3-Clause */
/* Coherent Device Attribute Table and the DOE protocol that reads it. */

/* Layouts are those of the CDAT specification 1.04; the DOE protocol is CXL 3.1 8.1.11. */
#ifndef CXL_CDAT_H
#define CXL_CDAT_H

#include "cxl/endian.h"

/* --- Table access object: vendor PCI_VENDOR_CXL (pci.h), type CXL_DOE_TYPE_CDAT ------------- */

#define CXL_DOE_TYPE_COMPLIANCE 0
#define CXL_DOE_TYPE_CDAT       2

/* The payload dword of a request; of a response too, which has the table data after it */
typedef struct CxlCdatDoeDword {
	uint8_t code;       /* CXL_CDAT_DOE_READ */
	uint8_t table_type; /* CXL_CDAT_DOE_TABLE_CDAT */
	le16 entry_handle;  /* wanted; in a response the next one or CXL_CDAT_DOE_LAST */
} CxlCdatDoeDword;
CXL_STATIC_ASSERT(sizeof(CxlCdatDoeDword) == 4);

#define CXL_CDAT_DOE_CODE           CXL_BITS(7, 0)
#define CXL_CDAT_DOE_TABLE_TYPE     CXL_BITS(15, 8)
#define CXL_CDAT_DOE_HANDLE         CXL_BITS(31, 16)
#define CXL_CDAT_DOE_READ           0 /* in a response: the answer to a read */
#define CXL_CDAT_DOE_TABLE_CDAT     0
#define CXL_CDAT_DOE_LAST           0xffff
#define CXL_CDAT_DOE_REQUEST_DWORDS 3 /* with the object header */

/* --- Table ---------------------------------------------------------------------------------- */

/* Entry 0. All bytes of the table, this header included, add up to 0 modulo 256. */
typedef struct CxlCdatHeader {
	le32 len; /* whole table */
	uint8_t revision;
	uint8_t checksum;
	uint8_t reserved[6];
	le32 sequence;
} CxlCdatHeader;
CXL_STATIC_ASSERT(sizeof(CxlCdatHeader) == 0x10);
CXL_STATIC_ASSERT(offsetof(CxlCdatHeader, sequence) == 0x0c);

#define CXL_CDAT_REVISION 1

/* What every other entry begins with */
typedef struct CxlCdatEntry {
	uint8_t type; /* CXL_CDAT_TYPE_* */
	uint8_t reserved;
	le16 len;
} CxlCdatEntry;
CXL_STATIC_ASSERT(sizeof(CxlCdatEntry) == 4);

#define CXL_CDAT_TYPE_DSMAS   0
#define CXL_CDAT_TYPE_DSLBIS  1
#define CXL_CDAT_TYPE_DSMSCIS 2
#define CXL_CDAT_TYPE_DSIS    3
#define CXL_CDAT_TYPE_DSEMTS  4
#define CXL_CDAT_TYPE_SSLBIS  5

/* A range of DPA with one set of properties */
typedef struct CxlCdatDsmas {
	CxlCdatEntry entry;
	uint8_t handle; /* unique in the table */
	uint8_t flags;  /* CXL_DSMAS_* */
	uint8_t reserved[2];
	le64 dpa;
	le64 len;
} CxlCdatDsmas;
CXL_STATIC_ASSERT(sizeof(CxlCdatDsmas) == 0x18);
CXL_STATIC_ASSERT(offsetof(CxlCdatDsmas, dpa) == 8);

#define CXL_DSMAS_NONVOLATILE      CXL_BIT(2)
#define CXL_DSMAS_SHAREABLE        CXL_BIT(3)
#define CXL_DSMAS_HW_COHERENT      CXL_BIT(4)
#define CXL_DSMAS_DYNAMIC_CAPACITY CXL_BIT(5)
#define CXL_DSMAS_READ_ONLY        CXL_BIT(6)

/* Latency or bandwidth of a DSMAS range: entry[0] * base_unit, in ps or MB/s */
typedef struct CxlCdatDslbis {
	CxlCdatEntry entry;
	uint8_t handle;    /* of the DSMAS */
	uint8_t flags;     /* 0 = memory */
	uint8_t data_type; /* CXL_CDAT_DATA_* */
	uint8_t reserved1;
	le64 base_unit;
	le16 value[3]; /* only the first is used for memory */
	uint8_t reserved2[2];
} CxlCdatDslbis;
CXL_STATIC_ASSERT(sizeof(CxlCdatDslbis) == 0x18);
CXL_STATIC_ASSERT(offsetof(CxlCdatDslbis, base_unit) == 8);
CXL_STATIC_ASSERT(offsetof(CxlCdatDslbis, value) == 0x10);

#define CXL_CDAT_DATA_ACCESS_LATENCY   0
#define CXL_CDAT_DATA_READ_LATENCY     1
#define CXL_CDAT_DATA_WRITE_LATENCY    2
#define CXL_CDAT_DATA_ACCESS_BANDWIDTH 3
#define CXL_CDAT_DATA_READ_BANDWIDTH   4
#define CXL_CDAT_DATA_WRITE_BANDWIDTH  5

/* Which EFI memory type a part of a DSMAS range should get */
typedef struct CxlCdatDsemts {
	CxlCdatEntry entry;
	uint8_t handle;   /* of the DSMAS */
	uint8_t efi_type; /* CXL_DSEMTS_* */
	uint8_t reserved[2];
	le64 offset; /* from the start of the DSMAS range */
	le64 len;
} CxlCdatDsemts;
CXL_STATIC_ASSERT(sizeof(CxlCdatDsemts) == 0x18);
CXL_STATIC_ASSERT(offsetof(CxlCdatDsemts, offset) == 8);

#define CXL_DSEMTS_CONVENTIONAL                  0
#define CXL_DSEMTS_CONVENTIONAL_SPECIFIC_PURPOSE 1
#define CXL_DSEMTS_RESERVED                      2

/* Latency or bandwidth through a switch; followed by CxlCdatSslbisPath until the length ends */
typedef struct CxlCdatSslbis {
	CxlCdatEntry entry;
	uint8_t data_type; /* CXL_CDAT_DATA_* */
	uint8_t reserved[3];
	le64 base_unit;
} CxlCdatSslbis;
CXL_STATIC_ASSERT(sizeof(CxlCdatSslbis) == 0x10);
CXL_STATIC_ASSERT(offsetof(CxlCdatSslbis, base_unit) == 8);

typedef struct CxlCdatSslbisPath {
	le16 port_x; /* port number or CXL_SSLBIS_* */
	le16 port_y;
	le16 value;
	uint8_t reserved[2];
} CxlCdatSslbisPath;
CXL_STATIC_ASSERT(sizeof(CxlCdatSslbisPath) == 8);

#define CXL_SSLBIS_UPSTREAM 0x0100
#define CXL_SSLBIS_ANY      0xffff

#endif
