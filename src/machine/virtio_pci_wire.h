/* SPDX-License-Identifier: BSD-3-Clause */
/* What virtio 1.2 says of registers and capabilities on PCI (4.1) and of the devices we have. */
#ifndef MACHINE_VIRTIO_PCI_WIRE_H
#define MACHINE_VIRTIO_PCI_WIRE_H

#include "cxl/endian.h"

#define VIRTIO_PCI_VENDOR   0x1af4
#define VIRTIO_PCI_DEVICE_0 0x1040 /* plus the device's type */

/* 4.1.4: vendor-specific capability */
typedef struct VirtioPciCap {
	uint8_t id, next, len;
	uint8_t type; /* enum virtio_pci_cap_type */
	uint8_t bar;
	uint8_t number;
	uint8_t padding[2];
	le32 offset;
	le32 length;
} VirtioPciCap;
CXL_STATIC_ASSERT(sizeof(VirtioPciCap) == 16);

/* 4.1.4.4 */
typedef struct VirtioPciNotifyCap {
	VirtioPciCap cap;
	le32 multiplier; /* bytes from one queue's register to the next one's */
} VirtioPciNotifyCap;
CXL_STATIC_ASSERT(sizeof(VirtioPciNotifyCap) == 20);

enum virtio_pci_cap_type {
	VIRTIO_PCI_CAP_COMMON = 1,
	VIRTIO_PCI_CAP_NOTIFY = 2,
	VIRTIO_PCI_CAP_ISR = 3,
	VIRTIO_PCI_CAP_DEVICE = 4,
};

/* 4.1.4.3: common configuration */
typedef struct VirtioPciCommon {
	le32 device_feature_select;
	le32 device_feature;
	le32 driver_feature_select;
	le32 driver_feature;
	le16 config_vector;
	le16 n_queues;
	uint8_t status;
	uint8_t generation;
	le16 queue_select;
	le16 queue_size;
	le16 queue_vector;
	le16 queue_enable;
	le16 queue_notify_off;
	le64 queue_desc;
	le64 queue_avail;
	le64 queue_used;
} VirtioPciCommon;
CXL_STATIC_ASSERT(sizeof(VirtioPciCommon) == 0x38);

#define VIRTIO_NO_VECTOR 0xffffu

/* 2.1: device status */
#define VIRTIO_STATUS_ACKNOWLEDGE 0x01u
#define VIRTIO_STATUS_DRIVER      0x02u
#define VIRTIO_STATUS_DRIVER_OK   0x04u
#define VIRTIO_STATUS_FEATURES_OK 0x08u
#define VIRTIO_STATUS_NEEDS_RESET 0x40u
#define VIRTIO_STATUS_FAILED      0x80u

/* 6: feature bits of every device */
#define VIRTIO_F_INDIRECT_DESC CXL_BIT64(28)
#define VIRTIO_F_EVENT_IDX     CXL_BIT64(29)
#define VIRTIO_F_VERSION_1     CXL_BIT64(32)

/* 5.1: network */
#define VIRTIO_TYPE_NET             1
#define VIRTIO_NET_F_CSUM           CXL_BIT64(0)
#define VIRTIO_NET_F_GUEST_CSUM     CXL_BIT64(1)
#define VIRTIO_NET_F_MAC            CXL_BIT64(5)
#define VIRTIO_NET_F_OFFLOADS       CXL_BITS64(14, 7) /* segmentation, both ways */
#define VIRTIO_NET_F_MERGED_BUFFERS CXL_BIT64(15)
#define VIRTIO_NET_F_STATUS         CXL_BIT64(16)
#define VIRTIO_NET_S_LINK_UP        0x1u

typedef struct VirtioNetSpace {
	uint8_t mac[6];
	le16 status;
} VirtioNetSpace;
CXL_STATIC_ASSERT(sizeof(VirtioNetSpace) == 8);

/* 5.11: file system */
#define VIRTIO_TYPE_FS    26
#define VIRTIO_FS_TAG_LEN 36

typedef struct VirtioFsSpace {
	uint8_t tag[VIRTIO_FS_TAG_LEN]; /* padded with zeros */
	le32 n_request_queues;
} VirtioFsSpace;
CXL_STATIC_ASSERT(sizeof(VirtioFsSpace) == 40);

#endif
