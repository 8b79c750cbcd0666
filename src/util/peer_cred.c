/* SPDX-License-Identifier: BSD-3-Clause */
/* Asks the kernel for a UNIX socket's peer. */
#include "util/peer_cred.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Linux 6.5; not in the C library of Debian 12. */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

int peer_cred_get(int sock, PeerCred *ret_cred)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
		return -errno;
	*ret_cred = (PeerCred){ .pid = cred.pid, .uid = cred.uid, .gid = cred.gid };
	return 0;
}

int peer_cred_pidfd(int sock)
{
	int pidfd = -1;
	socklen_t len = sizeof(pidfd);

	if (getsockopt(sock, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) != 0)
		return -errno;
	if (pidfd < 0)
		return -ESRCH;
	/* The kernel sets it; said again, since a leak of it would hold a process's identity. */
	(void)fcntl(pidfd, F_SETFD, FD_CLOEXEC);
	return pidfd;
}

bool peer_cred_is_trusted(const PeerCred *cred)
{
	return cred->uid == geteuid() || cred->uid == 0;
}
