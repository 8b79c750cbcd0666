/* SPDX-License-Identifier: BSD-3-Clause */
/* What a vfio-user server keeps about one client, and the handling of whole messages. */
#ifndef LINK_VFU_SESSION_H
#define LINK_VFU_SESSION_H

#include "link/vfu_irq.h"
#include "link/vfu_server.h"
#include "link/vfu_wire.h"

/* Knows no socket: bytes and descriptors in, bytes and at most one descriptor out. */
typedef struct VfuSession {
	const VfuServerOps *ops;
	void *opaque;
	VfuPeer peer;   /* its pidfd is the connection's */
	bool connected; /* VERSION is done and ops->connected() said yes */
	uint32_t max_data;
	bool takes_fds; /* the client can receive a descriptor */
	struct {
		uint64_t len;
		bool writable;
	} regions[VFU_N_REGIONS]; /* as ops->region_info() last said */
	VfuIrqTable irqs;
} VfuSession;

typedef struct VfuReply {
	uint8_t *payload; /* room for VFU_MAX_MESSAGE less a header */
	uint32_t payload_len;
	int fd; /* borrowed, -1 = none */
} VfuReply;

typedef struct VfuRequest {
	const VfuHeader *header;
	const uint8_t *payload;
	uint32_t payload_len;
	int *fds; /* a handler puts -1 where it keeps one */
	unsigned n_fds;
} VfuRequest;

enum vfu_verdict {
	VFU_GO_ON,
	VFU_CLOSE, /* after the reply, if there is one */
};

void vfu_session_init(VfuSession *session, const VfuServerOps *ops, void *opaque,
		      VfuNotifier *notifier, const VfuPeer *peer);
/* Forgets the client; tells ops->disconnected() if connected. */
void vfu_session_clear(VfuSession *session);

/* False: the stream can no longer be trusted, close it. Looks at the 16 bytes only. */
bool vfu_session_accepts_header(const VfuSession *session, const VfuHeader *header);

/*
 * Handles one message of exactly header.size bytes that was accepted by the above. Takes all FDS.
 * OUT holds VFU_MAX_MESSAGE bytes; *ret_len is the length of the reply in it, 0 for none; *ret_fd
 * goes with it, borrowed, -1 = none.
 */
enum vfu_verdict vfu_session_handle(VfuSession *session, const uint8_t *msg, int *fds,
				    unsigned n_fds, uint8_t *out, uint32_t *ret_len, int *ret_fd);

#endif
