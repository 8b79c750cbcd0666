/* SPDX-License-Identifier: BSD-3-Clause */
/* What a vfio-user client learns about the device when it connects. */
#ifndef LINK_VFU_CLIENT_SETUP_H
#define LINK_VFU_CLIENT_SETUP_H

#include "link/vfu_client.h"
#include "link/vfu_client_conn.h"
#include "link/vfu_replay.h"

/* What a server may claim to have. */
#define VFU_CLIENT_MAX_REGIONS 100u
#define VFU_CLIENT_MAX_IRQS    50u
#define VFU_CLIENT_MAX_AREAS   64u

typedef struct VfuMapping {
	uint64_t offset, len; /* in the region */
	uint8_t *hva;
} VfuMapping;

typedef struct VfuClientRegion {
	uint64_t len;
	bool writable;
	GArray *mappings; /* of VfuMapping; NULL = none */
} VfuClientRegion;

/* All but conn and what is said to be atomic is constant once vfu_client_new() has returned. */
struct VfuClient {
	VfuClientConn conn;
	uint32_t max_data;
	uint32_t max_fds; /* the server takes with one message */
	unsigned n_regions;
	VfuClientRegion regions[VFU_CLIENT_MAX_REGIONS];
	unsigned n_irqs;
	uint32_t irq_counts[VFU_CLIENT_MAX_IRQS];
	VfuReplay *replay;
	int owes_reset; /* atomic: the device has missed one */
	int keeps_bars; /* atomic: the replay wants more than configuration space */
};

bool vfu_client_setup(VfuClient *client, GError **error);
void vfu_client_unmap(VfuClient *client);

#endif
