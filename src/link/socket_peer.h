/* SPDX-License-Identifier: BSD-3-Clause */
/* Which process is at the other end of a UNIX socket: told apart even when its pid is used again.
 */
#ifndef LINK_SOCKET_PEER_H
#define LINK_SOCKET_PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Resolved when the socket is accepted, not when the peer first speaks: until then the process that
 * connected may have ended and another one have got its pid. The pidfd is the kernel's word
 * (SO_PEERPIDFD, Linux 6.5) where it has one; else it is opened by pid, and whoever has the pid at
 * accept counts as the peer.
 */
typedef struct SocketPeer {
	pid_t pid; /* SO_PEERCRED; 0 = unknown */
	uid_t uid;
	gid_t gid;
	int pidfd;           /* -1 = the process had ended already, or cannot be watched */
	uint64_t start_time; /* socket_peer_start_time(); 0 without a pidfd */
} SocketPeer;

/* Always fills in RET; false if the socket has no credentials. */
bool socket_peer_get(int fd, SocketPeer *ret);
void socket_peer_clear(SocketPeer *peer); /* closes the pidfd */

/*
 * When the process began: clock ticks since boot in the low 40 bits, above them a number that
 * changes with each boot. Never the same for two processes of one pid, and below 2^63. 0 if there
 * is no such process.
 */
uint64_t socket_peer_start_time(pid_t pid);
/* A pidfd of the process with this pid and start time; -1 if it has ended. */
int socket_peer_open(pid_t pid, uint64_t start_time);

#endif
