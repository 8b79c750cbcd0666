/* SPDX-License-Identifier: BSD-3-Clause */
/* A device's trace and what it says of itself for queries. */
#ifndef POOL_POOL_TRACE_H
#define POOL_POOL_TRACE_H

#include "pool/pool.h"
#include "trace/trace_ring.h"

/* ---- on the pool's thread ---- */

/* Whatever device and host say to each other goes into RING, of which a reference is taken; instead
 * of another one. NULL ends it. */
void pool_device_set_trace(PoolDevice *device, TraceRing *ring);

typedef enum PoolLinkState {
	POOL_LINK_NONE,         /* no host */
	POOL_LINK_AWAITED,      /* its host of before a restart has not come back yet */
	POOL_LINK_CONTROL_ONLY, /* registers only: nothing is mapped */
	POOL_LINK_UP,
	POOL_LINK_LOST, /* the registers are in use, the memory link they had is gone */
} PoolLinkState;
const char *pool_link_state_name(PoolLinkState state);

typedef struct PoolDeviceInfo {
	PoolLinkState link;
	bool resumed;        /* the host goes on with registers of before a restart */
	uint64_t n_messages; /* of vfio-user, handled since the daemon started */
	DeviceInfo endpoint; /* decoders, event logs, mailbox */
} PoolDeviceInfo;
void pool_device_get_info(PoolDevice *device, PoolDeviceInfo *ret);

#endif
