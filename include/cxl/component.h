/* SPDX-License-Identifier: BSD-3-Clause */
/* Component register block (register block id 1): cache/mem capabilities, RAS, HDM decoders. */
#ifndef CXL_COMPONENT_H
#define CXL_COMPONENT_H

#include "cxl/endian.h"

/* CXL 3.1 8.2.3: parts of the 64 KiB block */
#define CXL_COMPONENT_LEN           0x10000
#define CXL_COMPONENT_IO            0x0000
#define CXL_COMPONENT_CACHEMEM      0x1000
#define CXL_COMPONENT_CACHEMEM_LEN  0x1000
#define CXL_COMPONENT_IMPL_SPECIFIC 0x2000
#define CXL_COMPONENT_ARB_MUX       0xe000
#define CXL_COMPONENT_ARB_MUX_LEN   0x400

/*
 * --- Capability array, CXL 3.1 8.2.4 ---
 * A header dword at CXL_COMPONENT_CACHEMEM, then one dword per capability.
 */
#define CXL_CM_ARRAY_ID               CXL_BITS(15, 0) /* CXL_CM_ID_CXL */
#define CXL_CM_ARRAY_VERSION          CXL_BITS(19, 16)
#define CXL_CM_ARRAY_CACHEMEM_VERSION CXL_BITS(23, 20)
#define CXL_CM_ARRAY_COUNT            CXL_BITS(31, 24) /* dwords that follow this one */

#define CXL_CM_CAP_ID      CXL_BITS(15, 0)
#define CXL_CM_CAP_VERSION CXL_BITS(19, 16)
#define CXL_CM_CAP_PTR     CXL_BITS(31, 20) /* byte offset from CXL_COMPONENT_CACHEMEM */

#define CXL_CM_ID_NULL         0x00
#define CXL_CM_ID_CXL          0x01 /* the array itself */
#define CXL_CM_ID_RAS          0x02
#define CXL_CM_ID_SECURITY     0x03
#define CXL_CM_ID_LINK         0x04
#define CXL_CM_ID_HDM          0x05
#define CXL_CM_ID_EXT_SECURITY 0x06
#define CXL_CM_ID_IDE          0x07
#define CXL_CM_ID_SNOOP_FILTER 0x08
#define CXL_CM_ID_TIMEOUT      0x09
#define CXL_CM_ID_EXTENDED     0x0a
#define CXL_CM_ID_BI_ROUTE     0x0b
#define CXL_CM_ID_BI_DECODER   0x0c

#define CXL_CM_ARRAY_VERSION_1    1
#define CXL_CM_CACHEMEM_VERSION_1 1
#define CXL_CM_RAS_VERSION        3
#define CXL_CM_LINK_VERSION       2
#define CXL_CM_HDM_VERSION        3

#define CXL_CM_ARRAY_HEADER(count)                                                     \
	(CXL_CM_ID_CXL | CXL_FIELD_PUT(CXL_CM_ARRAY_VERSION, CXL_CM_ARRAY_VERSION_1) | \
	 CXL_FIELD_PUT(CXL_CM_ARRAY_CACHEMEM_VERSION, CXL_CM_CACHEMEM_VERSION_1) |     \
	 CXL_FIELD_PUT(CXL_CM_ARRAY_COUNT, (uint32_t)(count)))
#define CXL_CM_CAP_HEADER(id, version, ptr)                       \
	(CXL_FIELD_PUT(CXL_CM_CAP_ID, (uint32_t)(id)) |           \
	 CXL_FIELD_PUT(CXL_CM_CAP_VERSION, (uint32_t)(version)) | \
	 CXL_FIELD_PUT(CXL_CM_CAP_PTR, (uint32_t)(ptr)))

/* --- RAS, CXL 3.1 8.2.4.17; offsets from the capability ------------------------------------- */

#define CXL_RAS_UE_STATUS      0x00 /* write one to clear */
#define CXL_RAS_UE_MASK        0x04
#define CXL_RAS_UE_SEVERITY    0x08
#define CXL_RAS_CE_STATUS      0x0c /* write one to clear */
#define CXL_RAS_CE_MASK        0x10
#define CXL_RAS_CAPS_CTRL      0x14
#define CXL_RAS_HEADER_LOG     0x18
#define CXL_RAS_HEADER_LOG_LEN 0x40
#define CXL_RAS_LEN            0x58

#define CXL_RAS_UE_CACHE_DATA_PARITY CXL_BIT(0)
#define CXL_RAS_UE_CACHE_ADDR_PARITY CXL_BIT(1)
#define CXL_RAS_UE_CACHE_BE_PARITY   CXL_BIT(2)
#define CXL_RAS_UE_CACHE_DATA_ECC    CXL_BIT(3)
#define CXL_RAS_UE_MEM_DATA_PARITY   CXL_BIT(4)
#define CXL_RAS_UE_MEM_ADDR_PARITY   CXL_BIT(5)
#define CXL_RAS_UE_MEM_BE_PARITY     CXL_BIT(6)
#define CXL_RAS_UE_MEM_DATA_ECC      CXL_BIT(7)
#define CXL_RAS_UE_REINIT_THRESHOLD  CXL_BIT(8)
#define CXL_RAS_UE_RSVD_ENCODING     CXL_BIT(9)
#define CXL_RAS_UE_POISON_RECEIVED   CXL_BIT(10)
#define CXL_RAS_UE_RECEIVER_OVERFLOW CXL_BIT(11)
#define CXL_RAS_UE_INTERNAL          CXL_BIT(14)
#define CXL_RAS_UE_IDE_TX            CXL_BIT(15)
#define CXL_RAS_UE_IDE_RX            CXL_BIT(16)
#define CXL_RAS_UE_ALL               (CXL_BITS(16, 14) | CXL_BITS(11, 0))

#define CXL_RAS_CE_CACHE_DATA_ECC  CXL_BIT(0)
#define CXL_RAS_CE_MEM_DATA_ECC    CXL_BIT(1)
#define CXL_RAS_CE_CRC_THRESHOLD   CXL_BIT(2)
#define CXL_RAS_CE_RETRY_THRESHOLD CXL_BIT(3)
#define CXL_RAS_CE_CACHE_POISON    CXL_BIT(4)
#define CXL_RAS_CE_MEM_POISON      CXL_BIT(5)
#define CXL_RAS_CE_PHYSICAL        CXL_BIT(6)
#define CXL_RAS_CE_ALL             CXL_BITS(6, 0)

#define CXL_RAS_FIRST_ERROR      CXL_BITS(5, 0)
#define CXL_RAS_MULTIPLE_HEADERS CXL_BIT(9)
#define CXL_RAS_POISON_ENABLED   CXL_BIT(13)

/* --- HDM decoders, CXL 3.1 8.2.4.20; offsets from the capability ---------------------------- */

#define CXL_HDM_CAP             0x00 /* RO */
#define CXL_HDM_CTRL            0x04 /* global control */
#define CXL_HDM_LEN(n_decoders) (0x10 + 0x20 * (n_decoders))

/* Registers of decoder n, numbered from 0 */
#define CXL_HDM_DECODER(n)     (0x10 + 0x20 * (n))
#define CXL_HDM_DECODER_STRIDE 0x20
#define CXL_HDM_BASE_LO(n)     (CXL_HDM_DECODER(n) + 0x00)
#define CXL_HDM_BASE_HI(n)     (CXL_HDM_DECODER(n) + 0x04)
#define CXL_HDM_SIZE_LO(n)     (CXL_HDM_DECODER(n) + 0x08)
#define CXL_HDM_SIZE_HI(n)     (CXL_HDM_DECODER(n) + 0x0c)
#define CXL_HDM_DEC_CTRL(n)    (CXL_HDM_DECODER(n) + 0x10)
#define CXL_HDM_TARGET_LO(n)   (CXL_HDM_DECODER(n) + 0x14) /* host bridge, switch: port numbers */
#define CXL_HDM_TARGET_HI(n)   (CXL_HDM_DECODER(n) + 0x18)
#define CXL_HDM_SKIP_LO(n)     (CXL_HDM_DECODER(n) + 0x14) /* endpoint: bytes of DPA passed over */
#define CXL_HDM_SKIP_HI(n)     (CXL_HDM_DECODER(n) + 0x18)

#define CXL_HDM_MAX_DECODERS 32
#define CXL_HDM_MAX_TARGETS  8
#define CXL_HDM_ALIGN        (UINT64_C(256) << 20) /* of base, size and skip */
#define CXL_HDM_ADDR_LO_MASK CXL_BITS(31, 28)      /* bits that exist in the low halves */

#define CXL_HDM_CAP_COUNT            CXL_BITS(3, 0) /* code, see cxl_hdm_count_decode */
#define CXL_HDM_CAP_TARGETS          CXL_BITS(7, 4)
#define CXL_HDM_CAP_INTERLEAVE_11_8  CXL_BIT(8)
#define CXL_HDM_CAP_INTERLEAVE_14_12 CXL_BIT(9)
#define CXL_HDM_CAP_POISON_ON_ERROR  CXL_BIT(10)
#define CXL_HDM_CAP_WAYS_3_6_12      CXL_BIT(11)
#define CXL_HDM_CAP_WAYS_16          CXL_BIT(12)
#define CXL_HDM_CAP_UIO              CXL_BIT(13)
#define CXL_HDM_CAP_UIO_COUNT        CXL_BITS(19, 16)
#define CXL_HDM_CAP_MEMDATA_NXM      CXL_BIT(20)
#define CXL_HDM_CAP_COHERENCY        CXL_BITS(22, 21)

#define CXL_HDM_CTRL_POISON_ON_ERROR CXL_BIT(0)
#define CXL_HDM_CTRL_ENABLE          CXL_BIT(1)

#define CXL_HDM_DEC_IG        CXL_BITS(3, 0) /* code, see cxl_ig_decode */
#define CXL_HDM_DEC_IW        CXL_BITS(7, 4) /* code, see cxl_iw_decode */
#define CXL_HDM_DEC_LOCK      CXL_BIT(8)     /* lock on commit */
#define CXL_HDM_DEC_COMMIT    CXL_BIT(9)
#define CXL_HDM_DEC_COMMITTED CXL_BIT(10) /* RO */
#define CXL_HDM_DEC_ERROR     CXL_BIT(11) /* RO */
#define CXL_HDM_DEC_HOST_ONLY CXL_BIT(12) /* target is HDM-H, as a type 3 device's */
#define CXL_HDM_DEC_BI        CXL_BIT(13)
#define CXL_HDM_DEC_UIO       CXL_BIT(14)
#define CXL_HDM_DEC_UIG       CXL_BITS(19, 16)
#define CXL_HDM_DEC_UIW       CXL_BITS(23, 20)
#define CXL_HDM_DEC_ISP       CXL_BITS(27, 24)

/* Number of decoders for a count code, 0 if the code is invalid */
static inline unsigned cxl_hdm_count_decode(unsigned code)
{
	if (code == 0)
		return 1;
	if (code <= 8)
		return 2 * code;
	if (code <= 12)
		return 4 * (code - 4);
	return 0;
}

/* Count code of exactly @n_decoders, -1 if there is none */
static inline int cxl_hdm_count_encode(unsigned n_decoders)
{
	for (unsigned code = 0; code <= 12; code++) {
		if (cxl_hdm_count_decode(code) == n_decoders)
			return (int)code;
	}
	return -1;
}

/* Interleave ways for an IW code (also CFMWS ENIW), 0 if the code is invalid */
static inline unsigned cxl_iw_decode(unsigned code)
{
	if (code <= 4)
		return 1u << code;
	if (code >= 8 && code <= 10)
		return 3u << (code - 8);
	return 0;
}

/* IW code of @ways, -1 if there is none */
static inline int cxl_iw_encode(unsigned ways)
{
	for (unsigned code = 0; code <= 10; code++) {
		if (ways != 0 && cxl_iw_decode(code) == ways)
			return (int)code;
	}
	return -1;
}

/* Interleave granularity in bytes for an IG code (also CFMWS HBIG), 0 if the code is invalid */
static inline uint32_t cxl_ig_decode(unsigned code)
{
	return code <= 6 ? UINT32_C(256) << code : 0;
}

/* IG code of a granularity in bytes, -1 if there is none */
static inline int cxl_ig_encode(uint32_t granularity)
{
	for (unsigned code = 0; code <= 6; code++) {
		if (cxl_ig_decode(code) == granularity)
			return (int)code;
	}
	return -1;
}

#endif
