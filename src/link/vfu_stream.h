/* SPDX-License-Identifier: BSD-3-Clause */
/* A vfio-user server's socket: whole messages and their descriptors in, replies out. */
#ifndef LINK_VFU_STREAM_H
#define LINK_VFU_STREAM_H

#include "link/vfu_server.h"
#include "link/vfu_wire.h"

/* Knows nothing of contents but the header's size; never waits, whatever the socket's flags are. */
typedef struct VfuStream {
	int fd;

	uint8_t *rx; /* VFU_MAX_MESSAGE bytes */
	uint32_t rx_start, rx_end;
	int fds[VFU_MAX_FDS];
	unsigned n_fds;

	uint8_t *tx;               /* VFU_MAX_MESSAGE bytes */
	uint32_t tx_start, tx_end; /* the part of a reply that did not fit the socket */
	int tx_fd;                 /* to go with its first byte; ours */
} VfuStream;

enum vfu_step {
	VFU_STEP_CLOSE,
	VFU_STEP_WAIT,
	VFU_STEP_DONE,
};

/* Takes FD; false: it does not, for want of memory. */
bool vfu_stream_init(VfuStream *stream, int fd);
/* Of one that was initialized; closes all descriptors. */
void vfu_stream_clear(VfuStream *stream);

/* Bytes of messages that have come and were not taken. */
static inline uint32_t vfu_stream_n_received(const VfuStream *stream)
{
	return stream->rx_end - stream->rx_start;
}

/* The next message's header, as soon as it is there as a whole; else NULL. */
const VfuHeader *vfu_stream_header(const VfuStream *stream);
/* Whether all of it has come that its header says. */
bool vfu_stream_has_message(const VfuStream *stream);
/*
 * Takes that message, whose header must have been found valid. It stays where it is until more is
 * received; the first *RET_N_FDS of stream->fds are its, and the caller's to close.
 */
const uint8_t *vfu_stream_take(VfuStream *stream, unsigned *ret_n_fds);
/* Receives what is there. Not while there is a whole message, nor after a header that is invalid.
 */
enum vfu_step vfu_stream_receive(VfuStream *stream);

/* Whether part of a reply has not gone yet: no other must be sent then. */
static inline bool vfu_stream_has_reply(const VfuStream *stream)
{
	return stream->tx_end > stream->tx_start;
}

/* Sends LEN bytes from the start of tx, or what the socket takes of it; FD is borrowed, -1 = none.
 * False: the connection is broken.
 */
bool vfu_stream_send(VfuStream *stream, uint32_t len, int fd);
/* Sends the rest of a reply, or more of it. */
bool vfu_stream_flush(VfuStream *stream);

#endif
