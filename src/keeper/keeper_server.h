/* SPDX-License-Identifier: BSD-3-Clause */
/* The keeper itself: serves its socket until there is no more reason to; libc only. */
#ifndef KEEPER_KEEPER_SERVER_H
#define KEEPER_KEEPER_SERVER_H

#include <stdint.h>

typedef struct KeeperConfig {
	int listen_fd;           /* non-blocking; stays the caller's */
	const char *socket_path; /* absolute; what listen_fd is bound to */
	uint32_t n_max;          /* descriptors held at most */
	/*
	 * With nobody connected: ends after this long if it holds nothing, and after twice as long
	 * if SOCKET_PATH is no longer its socket, since then nobody can ever fetch what it holds.
	 */
	unsigned idle_ms;
} KeeperConfig;

/* Returns 0 when told to end or idle, or -errno. What is held is closed then, and SOCKET_PATH
 * removed if it still is the socket. */
int keeper_server_run(const KeeperConfig *config);

#endif
