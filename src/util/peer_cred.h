/* SPDX-License-Identifier: BSD-3-Clause */
/* Who is at the other end of a UNIX socket; libc only. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* As they were when the peer called connect() or listen(). */
typedef struct PeerCred {
	pid_t pid; /* 0 if it is outside our pid namespace */
	uid_t uid;
	gid_t gid;
} PeerCred;

/* 0 or -errno. */
int peer_cred_get(int sock, PeerCred *ret_cred);
/*
 * A pidfd of the very process that connected, close-on-exec, the caller's; never that of a later
 * process with the same pid. -ENOPROTOOPT before Linux 6.5, -ESRCH or -EINVAL when it is gone.
 */
int peer_cred_pidfd(int sock);
/* Our own uid, or root. */
bool peer_cred_is_trusted(const PeerCred *cred);
