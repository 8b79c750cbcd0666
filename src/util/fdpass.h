/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages with file descriptors over AF_UNIX sockets, from peers that may be hostile. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#define FDPASS_MAX 253 /* the kernel's SCM_MAX_FD */

/*
 * Returns the bytes sent or -errno. The descriptors stay the caller's. On a stream socket fewer
 * bytes than asked may be sent; the descriptors have then gone with the first of them.
 */
ssize_t fdpass_send(int sock, const struct iovec *iov, int n_iov, const int *fds, int n_fds,
		    int flags);

/*
 * For who calls recvmsg() itself: appends the descriptors of what it has returned to fds, of which
 * *n_fds are in use. Those above max_fds are closed. Whether none was, nor lost by the kernel.
 */
bool fdpass_take(struct msghdr *msg, int *fds, unsigned max_fds, unsigned *n_fds);

/*
 * Returns the bytes received (0 at the end) or -errno. Up to max_fds descriptors, close-on-exec,
 * become the caller's. More than that or a cut control message is -EPROTO, a packet larger than
 * buf is -EMSGSIZE: nothing the peer sent is then left open, or in fds. Do not pass MSG_PEEK.
 */
ssize_t fdpass_recv(int sock, void *buf, size_t len, int *fds, int max_fds, int *ret_n_fds,
		    int flags);
