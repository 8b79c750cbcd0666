/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages with descriptors on their way into a non-blocking SEQPACKET socket. */
#ifndef LINK_MEM_LINK_QUEUE_H
#define LINK_MEM_LINK_QUEUE_H

#include "link/mem_link_wire.h"
#include <glib.h>

/*
 * Keeps order, holds what the socket does not take yet. A message that goes out at once uses its
 * caller's descriptors; one that has to wait gets copies, shared with its neighbour in the queue
 * where both came from the same descriptor: a request of 65,536 maps of one file costs one.
 */
typedef struct MemLinkQueue {
	GQueue messages;
	size_t len; /* bytes of memory in it */
} MemLinkQueue;

/* Passing this many bytes means that the peer is stuck. */
#define MEM_LINK_QUEUE_MAX_LEN ((size_t)16 << 20)

/* Makes sure that the longest message fits into the socket at all, whatever the system's default.
 */
void mem_link_socket_widen(int sock);

typedef struct MemLinkOutFd MemLinkOutFd;

typedef struct MemLinkMessage {
	void *owner; /* the caller's */
	uint64_t id;
	size_t len;
	unsigned n_fds;
	int fds[MEM_LINK_MAX_PREPARE]; /* borrowed from the caller, or from OWNED */
	MemLinkOutFd *owned[MEM_LINK_MAX_PREPARE];
	uint8_t bytes[];
} MemLinkMessage;

MemLinkMessage *mem_link_message_new(size_t len);
void mem_link_message_free(MemLinkMessage *message);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MemLinkMessage, mem_link_message_free)
/* 0; -EAGAIN: try again when the socket is writable; -ETOOMANYREFS: a moment later; or -errno. */
int mem_link_message_send(const MemLinkMessage *message, int sock);

/* Appends a message and makes it own its descriptors. Takes MESSAGE unless it fails: -ENOBUFS when
 * the queue is full, -errno when a descriptor cannot be copied. */
int mem_link_queue_push(MemLinkQueue *queue, MemLinkMessage *message);
MemLinkMessage *mem_link_queue_peek(const MemLinkQueue *queue);
MemLinkMessage *mem_link_queue_pop(MemLinkQueue *queue);
void mem_link_queue_clear(MemLinkQueue *queue);

#endif
