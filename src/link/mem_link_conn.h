/* SPDX-License-Identifier: BSD-3-Clause */
/* One connection of the memory link's server: shared by its receiving and its sending half. */
#ifndef LINK_MEM_LINK_CONN_H
#define LINK_MEM_LINK_CONN_H

#include "link/mem_link_queue.h"
#include "link/mem_link_server.h"

typedef enum MemLinkConnState {
	CONN_WAIT_HELLO,
	CONN_WAIT_HELD,
	CONN_IN_HELLO, /* the hello callback runs: sends are queued until after the welcome */
	CONN_READY,
	CONN_CLOSED, /* only somebody's stack still refers to it */
} MemLinkConnState;

/* A call of the caller's; it has one message or more. */
typedef struct MemLinkRequest {
	GList link; /* in requests, or in answered */
	uint64_t req;
	uint32_t n_open;
	bool failed;
	bool is_certain; /* revoke, drop: confirmed or left open, never false */
} MemLinkRequest;

/*
 * Bounded memory: at most MEM_LINK_MAX_OUTSTANDING messages are unanswered on the wire, of which
 * only an id is kept; what waits is bounded by MEM_LINK_QUEUE_MAX_LEN. What is left grows with the
 * requests that the caller has open, and these it bounds by its deadlines.
 */
typedef struct MemLinkConn {
	int refs;
	MemLinkServer *server;
	int fd;
	MemLinkConnState state;
	bool welcomed;
	bool broken;    /* cannot send: closed from dispatch, never from inside a caller's call */
	bool wants_out; /* waits for the socket to take more */
	bool was_reset;
	MemLinkPeer peer;

	uint8_t session[16];
	uint32_t max_maps;
	uint32_t n_held; /* announced */
	GArray *held;    /* of MemLinkHeld, during hello */
	gint64 hello_deadline;

	uint64_t next_id;
	GHashTable *sent;   /* id -> MemLinkRequest, unanswered */
	MemLinkQueue queue; /* not yet sent */
	GQueue requests;    /* open, oldest first */
	GQueue answered;    /* complete, not yet told */
	gint64 retry_at;    /* 0 = no */

	GSource *source;
	GIOCondition source_condition;
	gint64 source_ready_time;
} MemLinkConn;

/* NULL while nobody is connected and welcome. */
MemLinkConn *mem_link_server_peek_conn(MemLinkServer *server);
void mem_link_server_tell(MemLinkServer *server, uint64_t req, bool ok);
/* Makes the main loop wait for what the connection now waits for. */
void mem_link_conn_update_source(MemLinkConn *conn);
/* One part of a request needs no more waiting; with the last one it moves to answered. */
void mem_link_conn_part_done(MemLinkConn *conn, MemLinkRequest *request);
/* Sends what window and socket allow. */
void mem_link_conn_flush(MemLinkConn *conn);

#endif
