/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost-user messages as they are on the wire, as far as this front end sends them. */
#ifndef MACHINE_VHOST_USER_WIRE_H
#define MACHINE_VHOST_USER_WIRE_H

#include "cxl/endian.h"

/*
 * From the vhost-user protocol specification ("Front-end message types", "Communication"). Numbers
 * are in the host's byte order there; a KVM machine of this kind runs on x86-64 only, so that is
 * little-endian.
 */
enum vhost_user_request {
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_GET_MAX_MEM_SLOTS = 36,
	VHOST_USER_ADD_MEM_REG = 37,
	VHOST_USER_REM_MEM_REG = 38,
};

/* Feature bits that are the connection's own and not the guest's */
#define VHOST_F_LOG_ALL                CXL_BIT64(26)
#define VHOST_USER_F_PROTOCOL_FEATURES CXL_BIT64(30)

#define VHOST_USER_PROTOCOL_F_MQ                  CXL_BIT64(0)
#define VHOST_USER_PROTOCOL_F_REPLY_ACK           CXL_BIT64(3)
#define VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS CXL_BIT64(15)

/* Header: flags */
#define VHOST_USER_VERSION_MASK 0x3u
#define VHOST_USER_VERSION      0x1u
#define VHOST_USER_IS_REPLY     0x4u
#define VHOST_USER_NEED_REPLY   0x8u

typedef struct VhostUserHeader {
	le32 request;
	le32 flags;
	le32 len; /* of the payload */
} VhostUserHeader;
CXL_STATIC_ASSERT(sizeof(VhostUserHeader) == 12);

/* "Memory region description" */
typedef struct VhostUserWireRegion {
	le64 gpa;
	le64 len;
	le64 hva;    /* ours: what ring addresses are given in */
	le64 offset; /* in the file that comes with it */
} VhostUserWireRegion;
CXL_STATIC_ASSERT(sizeof(VhostUserWireRegion) == 32);

/* "Single memory region description" */
typedef struct VhostUserOneRegion {
	le64 padding;
	VhostUserWireRegion region;
} VhostUserOneRegion;
CXL_STATIC_ASSERT(sizeof(VhostUserOneRegion) == 40);

#define VHOST_USER_TABLE_MAX 8 /* one descriptor each */

/* "Multiple memory regions description"; sent as long as it is filled */
typedef struct VhostUserTable {
	le32 n;
	le32 padding;
	VhostUserWireRegion regions[VHOST_USER_TABLE_MAX];
} VhostUserTable;
CXL_STATIC_ASSERT(sizeof(VhostUserTable) == 8 + VHOST_USER_TABLE_MAX * 32);

/* "Vring state description" */
typedef struct VhostUserRingState {
	le32 index;
	le32 value;
} VhostUserRingState;
CXL_STATIC_ASSERT(sizeof(VhostUserRingState) == 8);

/* "Vring address description" */
typedef struct VhostUserRingAddress {
	le32 index;
	le32 flags;
	le64 desc_hva;
	le64 used_hva;
	le64 avail_hva;
	le64 log;
} VhostUserRingAddress;
CXL_STATIC_ASSERT(sizeof(VhostUserRingAddress) == 40);

/* The u64 of KICK and CALL: ring index, and whether no descriptor comes with it */
#define VHOST_USER_RING_NO_FD CXL_BIT64(8)

#endif
