/* SPDX-License-Identifier: BSD-3-Clause */
/* vfio-user server: protocol 0.0 for a PCI function without DMA, one client at a time. */
#ifndef LINK_VFU_SERVER_H
#define LINK_VFU_SERVER_H

#include "link/socket_peer.h"

#include <gio/gio.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Never blocks and never trusts the client: malformed framing closes the connection, malformed
 * content is answered EINVAL. Runs on the GMainContext given; every call from its thread.
 *
 * A client has 5 s (vfu_server_set_stall_timeout) for its VERSION, for each message it began and
 * for taking each reply; else it is closed. While it does not take a reply nothing more is read
 * from it, so that what a connection holds is bounded by one message and one reply.
 */
typedef struct VfuServer VfuServer;

#define VFU_MAX_SPARSE 4
typedef struct VfuRegion {
	uint64_t len; /* 0 = absent */
	bool writable;
	int fd; /* borrowed; -1 = not mappable */
	uint64_t fd_offset;
	unsigned n_sparse; /* with fd: the mappable areas, page aligned; 0 = all of it */
	struct {
		uint64_t offset, len;
	} sparse[VFU_MAX_SPARSE];
} VfuRegion;

typedef SocketPeer VfuPeer; /* its pidfd is the server's */

/* All are needed unless said otherwise. None may free the server; vfu_server_disconnect() and
 * _irq() are fine. */
typedef struct VfuServerOps {
	/*
	 * INDEX < 9: BARs 0-5, 6 ROM, 7 config, 8 VGA. Absent regions: len 0. Asked after
	 * connected(), after reset() and whenever the client asks; between these nothing changes.
	 */
	void (*region_info)(void *opaque, unsigned index, VfuRegion *ret);
	/* Offset and count lie inside the region, count is not 0. 0 or -errno. */
	int (*region_read)(void *opaque, unsigned index, uint64_t offset, void *buf,
			   uint32_t count);
	int (*region_write)(void *opaque, unsigned index, uint64_t offset, const void *buf,
			    uint32_t count);
	uint32_t (*n_irqs)(void *opaque, unsigned index); /* index 0..4; asked after connected() */
	void (*reset)(void *opaque);
	/* The client has bound or unbound interrupts; may be NULL. */
	void (*irqs_changed)(void *opaque);
	/* A client sent a good VERSION; the reply is not sent yet. False refuses it. */
	bool (*connected)(void *opaque, const VfuPeer *peer);
	/* Once for each connected() that said true. May attach the next client or free. */
	void (*disconnected)(void *opaque);
} VfuServerOps;

VfuServer *vfu_server_new(GMainContext *context, const VfuServerOps *ops, void *opaque);
void vfu_server_free(VfuServer *server); /* closes everything; calls disconnected() if needed */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfuServer, vfu_server_free)
/* Serves connections on a listening socket; a second client is accepted and closed. Owns FD. */
void vfu_server_listen(VfuServer *server, int fd);
/* Serves one connected socket (a socketpair end). False if a client is there already. Owns FD. */
bool vfu_server_attach(VfuServer *server, int fd);
bool vfu_server_is_connected(const VfuServer *server);
void vfu_server_disconnect(VfuServer *server);
/*
 * Holds what the client asks next until it is said that it goes on. What has been read is answered
 * then; the client's patience is the bound. A new client begins without.
 */
void vfu_server_hold(VfuServer *server, bool holds);
/* Signals the eventfd bound to this interrupt, if any. Never blocks. */
void vfu_server_irq(VfuServer *server, unsigned index, unsigned vector);

/* Messages handled since the server was made, of all its clients; those only half there are not. */
uint64_t vfu_server_n_messages(const VfuServer *server);

void vfu_server_set_stall_timeout(VfuServer *server, unsigned ms);
#endif
