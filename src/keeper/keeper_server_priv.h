/* SPDX-License-Identifier: BSD-3-Clause */
/* One connection of the keeper: shared by the loop and by what answers requests. */
#ifndef KEEPER_KEEPER_SERVER_PRIV_H
#define KEEPER_KEEPER_SERVER_PRIV_H

#include "keeper/keeper_server.h"
#include "keeper/keeper_table.h"
#include "keeper/keeper_wire.h"
#include <stdbool.h>
#include <sys/types.h>

#define KEEPER_MAX_CONNS 8

typedef enum KeeperConnState {
	CONN_NONE, /* a free slot */
	CONN_NEW,  /* has not said hello */
	CONN_OWNER,
	CONN_OBSERVER,
} KeeperConnState;

/* Bounded: a connection is not read while an answer to it waits for room in its socket. */
typedef struct KeeperConn {
	KeeperConnState state;
	int fd;
	uint64_t since_ms;

	union {
		KeeperStatus status;
		KeeperWelcome welcome;
	} out;
	size_t out_len;   /* 0 = nothing waits */
	bool last_answer; /* close once it is out */

	bool streams; /* a LIST or FETCH is being answered */
	bool with_fds;
	uint32_t stream_id, stream_next;
	bool stuck; /* the kernel takes no more descriptors under way: try again soon */
} KeeperConn;

typedef struct KeeperServer {
	KeeperConfig config;
	KeeperTable table;
	KeeperConn conns[KEEPER_MAX_CONNS];
	uint64_t instance;
	dev_t socket_dev;
	ino_t socket_ino;
	unsigned n_misses; /* how often in a row the socket was not found at its path */
	bool accept_pauses;
	bool ends;
} KeeperServer;

void keeper_conn_close(KeeperConn *conn);
/* Handles one packet; owns the descriptors that came with it. */
void keeper_conn_request(KeeperServer *server, KeeperConn *conn, const uint8_t *packet, size_t len,
			 int *fds, int n_fds);
/* Sends what waits, as far as the socket takes it. */
void keeper_conn_flush(KeeperServer *server, KeeperConn *conn);
/* Ends a connection with a reason, if there is room for it. */
void keeper_conn_dismiss(KeeperServer *server, KeeperConn *conn, KeeperRc rc);

#endif
