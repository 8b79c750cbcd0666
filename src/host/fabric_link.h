/* SPDX-License-Identifier: BSD-3-Clause */
/* A memory link that does to a fabric's endpoint what the device asks. */
#ifndef HOST_FABRIC_LINK_H
#define HOST_FABRIC_LINK_H

#include "fabric/fabric.h"
#include "link/mem_link_client.h"

typedef struct FabricLink FabricLink;

/* From the link's thread; either may be NULL. */
typedef struct FabricLinkOps {
	/* What is exposed has changed. */
	void (*changed)(void *opaque);
	/* The device is gone. What is mapped stays mapped: the memory is ours until the device
	 * takes it back. Must not free the link. */
	void (*closed)(void *opaque);
} FabricLinkOps;

/*
 * Says hello with what EP holds. Owns FD (also on failure); EP outlives it. MAX_MAPS and errors as
 * for mem_link_client_new(). What the device had prepared and not exposed over a link before is to
 * be dropped first.
 */
FabricLink *fabric_link_new(FabricEndpoint *ep, int fd, const uint8_t session[16],
			    uint32_t max_maps, const FabricLinkOps *ops, void *opaque,
			    unsigned timeout_ms, GError **error);
void fabric_link_free(FabricLink *link);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FabricLink, fabric_link_free)

bool fabric_link_is_connected(FabricLink *link);
/* As mem_link_client_tell_misses(). */
bool fabric_link_tell_misses(FabricLink *link, uint64_t reads, uint64_t writes);
/* As mem_link_client_help(). */
int fabric_link_help(FabricLink *link, int fd, uint64_t timeout_us);

#endif
