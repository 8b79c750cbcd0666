/* SPDX-License-Identifier: BSD-3-Clause */
/* vfio-user 0.0 messages as they are on the wire. */

/*
 * The protocol text says "host byte order"; both ends are on one machine, and softdcd runs on
 * little-endian ones only (x86-64, arm64), so the little-endian types describe it exactly.
 * Every message is a VfuHeader and a payload; header.size counts both.
 */
#ifndef LINK_VFU_WIRE_H
#define LINK_VFU_WIRE_H

#include "cxl/endian.h"

#define VFU_MAX_DATA    (1u << 20)           /* bytes moved by one REGION_READ or REGION_WRITE */
#define VFU_MAX_MESSAGE (VFU_MAX_DATA + 32u) /* WRITE: header, VfuRegionAccess, data */
#define VFU_MAX_JSON    4096u                /* capabilities of VERSION, with the NUL */
#define VFU_MAX_FDS     8u                   /* descriptors with one message to the server */

enum vfu_command {
	VFU_VERSION = 1,
	VFU_DMA_MAP = 2,
	VFU_DMA_UNMAP = 3,
	VFU_DEVICE_GET_INFO = 4,
	VFU_DEVICE_GET_REGION_INFO = 5,
	VFU_DEVICE_GET_REGION_IO_FDS = 6,
	VFU_DEVICE_GET_IRQ_INFO = 7,
	VFU_DEVICE_SET_IRQS = 8,
	VFU_REGION_READ = 9,
	VFU_REGION_WRITE = 10,
	VFU_DMA_READ = 11, /* 11, 12: server to client; we never send them */
	VFU_DMA_WRITE = 12,
	VFU_DEVICE_RESET = 13,
	VFU_REGION_WRITE_MULTI = 15,
	VFU_DEVICE_FEATURE = 16,
	VFU_MIG_DATA_READ = 17,
	VFU_MIG_DATA_WRITE = 18,
};

#define VFU_FLAGS_TYPE     CXL_BITS(3, 0)
#define VFU_TYPE_COMMAND   0u
#define VFU_TYPE_REPLY     1u
#define VFU_FLAGS_NO_REPLY CXL_BIT(4)
#define VFU_FLAGS_ERROR    CXL_BIT(5)

typedef struct VfuHeader {
	le16 id; /* chosen by the sender, echoed, not unique */
	le16 command;
	le32 size;
	le32 flags;
	le32 error; /* positive errno; means something only in a reply with VFU_FLAGS_ERROR */
} VfuHeader;
CXL_STATIC_ASSERT(sizeof(VfuHeader) == 16);
CXL_STATIC_ASSERT(offsetof(VfuHeader, error) == 12);

typedef struct VfuVersion {
	le16 major;
	le16 minor;
	/* then optionally JSON text and a NUL */
} VfuVersion;
CXL_STATIC_ASSERT(sizeof(VfuVersion) == 4);

#define VFU_DMA_READABLE CXL_BIT(0)
#define VFU_DMA_FLAGS    CXL_BITS(3, 0) /* the text has two, libvfio-user adds two */

typedef struct VfuDmaMap {
	le32 argsz;
	le32 flags;
	le64 offset; /* in the descriptor that may come along */
	le64 address;
	le64 len;
} VfuDmaMap;
CXL_STATIC_ASSERT(sizeof(VfuDmaMap) == 32);

#define VFU_DMA_UNMAP_ALL CXL_BIT(1)

typedef struct VfuDmaUnmap {
	le32 argsz;
	le32 flags;
	le64 address;
	le64 len;
} VfuDmaUnmap;
CXL_STATIC_ASSERT(sizeof(VfuDmaUnmap) == 24);

#define VFU_DEVICE_RESETS CXL_BIT(0)
#define VFU_DEVICE_PCI    CXL_BIT(1)

typedef struct VfuDeviceInfo {
	le32 argsz;
	le32 flags;
	le32 n_regions;
	le32 n_irqs;
} VfuDeviceInfo;
CXL_STATIC_ASSERT(sizeof(VfuDeviceInfo) == 16);

#define VFU_REGION_IS_READABLE CXL_BIT(0)
#define VFU_REGION_IS_WRITABLE CXL_BIT(1)
#define VFU_REGION_IS_MAPPABLE CXL_BIT(2)
#define VFU_REGION_HAS_CAPS    CXL_BIT(3)

typedef struct VfuRegionInfo {
	le32 argsz; /* of this struct and the capabilities behind it */
	le32 flags;
	le32 index;
	le32 cap_offset; /* of the first capability, from the start of this struct */
	le64 len;
	le64 offset; /* of the region in its descriptor */
} VfuRegionInfo;
CXL_STATIC_ASSERT(sizeof(VfuRegionInfo) == 32);

#define VFU_CAP_SPARSE_MMAP 1u

typedef struct VfuCap {
	le16 id;
	le16 version;
	le32 next; /* from the start of VfuRegionInfo; 0 ends the chain */
} VfuCap;
CXL_STATIC_ASSERT(sizeof(VfuCap) == 8);

typedef struct VfuCapSparse {
	VfuCap cap;
	le32 n_areas;
	le32 reserved;
	/* then n_areas of VfuSparseArea */
} VfuCapSparse;
CXL_STATIC_ASSERT(sizeof(VfuCapSparse) == 16);

typedef struct VfuSparseArea {
	le64 offset; /* in the region */
	le64 len;
} VfuSparseArea;
CXL_STATIC_ASSERT(sizeof(VfuSparseArea) == 16);

typedef struct VfuRegionIoFds {
	le32 argsz;
	le32 flags;
	le32 index;
	le32 count;
} VfuRegionIoFds;
CXL_STATIC_ASSERT(sizeof(VfuRegionIoFds) == 16);

#define VFU_IRQ_IS_EVENTFD CXL_BIT(0)

typedef struct VfuIrqInfo {
	le32 argsz;
	le32 flags;
	le32 index;
	le32 count;
} VfuIrqInfo;
CXL_STATIC_ASSERT(sizeof(VfuIrqInfo) == 16);

/* Exactly one DATA and one ACTION bit. */
#define VFU_IRQ_DATA_NONE      CXL_BIT(0)
#define VFU_IRQ_DATA_BOOL      CXL_BIT(1)
#define VFU_IRQ_DATA_EVENTFD   CXL_BIT(2)
#define VFU_IRQ_ACTION_MASK    CXL_BIT(3)
#define VFU_IRQ_ACTION_UNMASK  CXL_BIT(4)
#define VFU_IRQ_ACTION_TRIGGER CXL_BIT(5)

typedef struct VfuIrqSet {
	le32 argsz; /* counts the bytes of DATA_BOOL, never descriptors */
	le32 flags;
	le32 index;
	le32 start;
	le32 count;
} VfuIrqSet;
CXL_STATIC_ASSERT(sizeof(VfuIrqSet) == 20);

typedef struct VfuRegionAccess {
	le64 offset;
	le32 region;
	le32 count;
	/* then, in a WRITE and in the reply to a READ, count bytes */
} VfuRegionAccess;
CXL_STATIC_ASSERT(sizeof(VfuRegionAccess) == 16);

/* Region and interrupt numbers of a PCI function. */
#define VFU_N_REGIONS     9u
#define VFU_REGION_CONFIG 7u
#define VFU_N_IRQ_INDEXES 5u
#define VFU_IRQ_MSIX      2u
#define VFU_IRQ_ERR       3u

/* "REGION_READ"; "?" for a number that the protocol does not have. For messages to operators. */
const char *vfu_command_name(unsigned command);

#endif
