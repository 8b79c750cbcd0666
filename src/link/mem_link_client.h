/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory link, host side: a thread of its own that carries out what the device asks. */
#ifndef LINK_MEM_LINK_CLIENT_H
#define LINK_MEM_LINK_CLIENT_H

#include "link/mem_link_wire.h"
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Ops run on the link's thread, which never waits for the vfio-user socket. The device is not
 * trusted: lengths, alignment, ids, fd counts, file size and seals are checked before an op runs. A
 * device that breaks a rule is left at once: closed() runs, the thread ends.
 */
typedef struct MemLinkClient MemLinkClient;

typedef struct MemLinkClientMap {
	uint64_t id, dpa, len, offset, incarnation;
	bool writable;
	int fd; /* the op takes ownership when it returns 0 */
} MemLinkClientMap;

typedef struct MemLinkClientDecoder {
	unsigned index;
	bool committed;
	uint64_t hpa, len, dpa;
	uint32_t granularity;
	unsigned ways;
} MemLinkClientDecoder;

/*
 * Each returns 0 or -errno (the device sees only failure). revoke and drop return when the memory
 * can no longer be reached by anybody on this side, and the device closes the link if they fail.
 */
typedef struct MemLinkClientOps {
	int (*prepare)(void *opaque, const MemLinkClientMap *map);
	/* All or nothing. Each id is known, prepared and not yet exposed. */
	int (*expose)(void *opaque, const uint64_t *ids, size_t n);
	/* The range is held, prepared or exposed, throughout. Other parts of the map stay. */
	int (*revoke)(void *opaque, uint64_t map_id, uint64_t dpa, uint64_t len);
	/* The map's end, at most once for each that was prepared or held: the device said so, all
	 * of it has been revoked, or the device is gone before it was exposed. */
	int (*drop)(void *opaque, uint64_t map_id);
	/* Not committed: only the index is set. */
	int (*decoder)(void *opaque, const MemLinkClientDecoder *decoder);
	/* The device is gone; what is exposed stays. The last op; mem_link_client_free() does not
	 * cause it. Must not free the client. */
	void (*closed)(void *opaque);
} MemLinkClientOps;

/*
 * Sends hello and waits (timeout_ms) for the device's welcome. Owns FD (also on failure). MAX_MAPS
 * counts pieces: a map with a hole revoked from its middle is two. Errors are G_IO_ERROR:
 * TIMED_OUT, CONNECTION_CLOSED, PERMISSION_DENIED, BUSY, NOT_SUPPORTED (version), INVALID_DATA.
 */
MemLinkClient *mem_link_client_new(int fd, const uint8_t session[16], uint32_t max_maps,
				   const MemLinkHeld *held, uint32_t n_held,
				   const MemLinkClientOps *ops, void *opaque, unsigned timeout_ms,
				   GError **error);
/* Stops and joins the thread; waits for an op that runs. */
void mem_link_client_free(MemLinkClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MemLinkClient, mem_link_client_free)
/*
 * Does the thread's work on the calling thread until FD is readable (1), TIMEOUT_US has passed (0)
 * or the link is over (-ENOTCONN). For a thread that waits for something the device can do only
 * when its requests are answered: it is awake, the link's thread would have to be woken. Ops are
 * called from here as they are from there.
 */
int mem_link_client_help(MemLinkClient *client, int fd, uint64_t timeout_us);
bool mem_link_client_is_connected(MemLinkClient *client);
/*
 * Tells the device how many accesses to its window have met no memory, in all since the host began.
 * From any thread; never waits: false if it could not be sent now.
 */
bool mem_link_client_tell_misses(MemLinkClient *client, uint64_t reads, uint64_t writes);

#endif
