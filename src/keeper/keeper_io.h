/* SPDX-License-Identifier: BSD-3-Clause */
/* A client's connection to its keeper: packets with a deadline. */
#ifndef KEEPER_KEEPER_IO_H
#define KEEPER_KEEPER_IO_H

#include "keeper/keeper_client.h"
#include "keeper/keeper_wire.h"

typedef struct KeeperIo {
	char *path;
	unsigned timeout_ms;
	int sock; /* -1 = not connected */
	uint32_t next_id;
	uint64_t instance; /* of the keeper connected to */
	bool lost;         /* why the last call failed: the keeper has gone; a new one may help */
	bool superseded;
} KeeperIo;

/* One packet from the keeper. The descriptors are the caller's to take, or to close. */
typedef struct KeeperPacket {
	uint8_t bytes[KEEPER_MAX_LEN];
	int fds[KEEPER_MAX_FDS];
	int n_fds;
	KeeperType type;
	uint16_t n;
	uint32_t id;
	KeeperStatus status; /* KEEPER_STATUS */
} KeeperPacket;

void keeper_io_close(KeeperIo *io);
/* Connects and says hello. lost is set if nobody is there to answer. */
bool keeper_io_connect(KeeperIo *io, KeeperRole role, GError **error);
/* Closes the connection if the keeper has, or has said that it will. */
void keeper_io_check(KeeperIo *io);

/*
 * These close the connection when they fail: what was under way is unknown then. A request is BODY
 * behind a header of its own; returns its id, 0 on failure.
 */
uint32_t keeper_io_send(KeeperIo *io, KeeperType type, uint32_t n, const void *body, size_t len,
			const int *fds, GError **error);
/* Nothing is left under way unless the id is this one's. */
bool keeper_io_recv(KeeperIo *io, KeeperPacket *packet, GError **error);
void keeper_packet_close_fds(KeeperPacket *packet);
/* Fails with what the keeper said. */
void keeper_io_protocol_error(KeeperIo *io, const char *what, GError **error);

#endif
