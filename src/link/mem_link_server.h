/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory link, device side: hands mappings of backend memory to the host and takes them back. */
#ifndef LINK_MEM_LINK_SERVER_H
#define LINK_MEM_LINK_SERVER_H

#include "link/mem_link_wire.h"
#include "link/socket_peer.h"
#include <gio/gio.h>
#include <stdbool.h>
#include <sys/types.h>

/*
 * SOCK_SEQPACKET, one host at a time, all calls from the GMainContext's thread, never blocks.
 * Requests are pipelined and carried out in order; each is answered by ops->done() exactly once,
 * from the main loop. When the connection ends, open prepare, expose and decoder requests are
 * answered false; open revoke and drop requests are NOT answered (nobody confirmed them); then
 * ops->closed() tells. A host that answers for unknown ids, twice, says that it failed to revoke or
 * drop, or sends a malformed message or descriptors is disconnected.
 *
 * Callbacks may call back into the server, also to disconnect or free it.
 */
typedef struct MemLinkServer MemLinkServer;

typedef SocketPeer MemLinkPeer; /* its pidfd is the server's */

typedef struct MemLinkHello {
	uint8_t session[16];
	uint32_t max_maps;
	const MemLinkHeld *held; /* as on the wire */
	uint32_t n_held;
} MemLinkHello;

typedef struct MemLinkServerOps {
	/*
	 * The first message of a connection. Checked: count, alignment, no wrap; whether the held
	 * maps exist or overlap is not. Requests made from in here are sent once it has returned
	 * true. False refuses the host: it is told so and the connection closed, without closed().
	 */
	bool (*hello)(void *opaque, const MemLinkHello *hello, const MemLinkPeer *peer);
	void (*done)(void *opaque, uint64_t req, bool ok);
	/* Once for every hello that returned true, except when the server is freed. */
	void (*closed)(void *opaque);
	/* Accesses to the device's window that met no memory, by the host's own count since it
	 * began. May be NULL. */
	void (*misses)(void *opaque, uint64_t reads, uint64_t writes);
} MemLinkServerOps;

typedef struct MemLinkMap {
	uint64_t id, dpa, len, offset, incarnation;
	int fd; /* borrowed */
	bool writable;
} MemLinkMap;

typedef struct MemLinkPart {
	uint64_t map_id, dpa, len;
} MemLinkPart;

typedef struct MemLinkDecoderState {
	unsigned index;
	bool committed;
	uint64_t hpa, len, dpa;
	uint32_t granularity;
	unsigned ways;
} MemLinkDecoderState;

MemLinkServer *mem_link_server_new(GMainContext *context, const MemLinkServerOps *ops,
				   void *opaque);
/* Closes everything; no callback runs any more. */
void mem_link_server_free(MemLinkServer *server);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MemLinkServer, mem_link_server_free)
/* Owns FD, instead of one it listened on before. A host that comes while another one is connected
 * is told that the device is busy; one that does not say hello within a second is closed. */
void mem_link_server_listen(MemLinkServer *server, int fd);
/* One connected socket, with all the time it likes for hello; owns FD. False while another host is
 * connected or its end is being told. */
bool mem_link_server_attach(MemLinkServer *server, int fd);
bool mem_link_server_is_connected(const MemLinkServer *server); /* and said hello */
/* Calls done() and closed() before it returns. */
void mem_link_server_disconnect(MemLinkServer *server);

/*
 * REQ is the caller's, echoed in done(). Not connected: prepare, expose, decoder answer false at
 * once; revoke and drop stay unanswered. N may be large: it is split into several messages, of
 * which the host may have carried out some when the answer is false. Descriptors are needed for the
 * length of the call only. What a silent host leaves queued is bounded: at 16 MiB it is closed.
 */
void mem_link_server_prepare(MemLinkServer *server, uint64_t req, const MemLinkMap *maps, size_t n);
void mem_link_server_expose(MemLinkServer *server, uint64_t req, const uint64_t *ids, size_t n);
void mem_link_server_revoke(MemLinkServer *server, uint64_t req, const MemLinkPart *parts,
			    size_t n);
void mem_link_server_drop(MemLinkServer *server, uint64_t req, const uint64_t *ids, size_t n);
void mem_link_server_decoder(MemLinkServer *server, uint64_t req,
			     const MemLinkDecoderState *decoder);

#endif
