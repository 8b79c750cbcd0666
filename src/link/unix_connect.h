/* SPDX-License-Identifier: BSD-3-Clause */
/* Connecting to a UNIX socket by path, in bounded time. */
#ifndef LINK_UNIX_CONNECT_H
#define LINK_UNIX_CONNECT_H

#include <glib.h>

/*
 * TYPE is SOCK_STREAM or SOCK_SEQPACKET. A blocking, close-on-exec socket, or -errno: -ENOENT and
 * -ECONNREFUSED mean that nobody serves it, -ETIMEDOUT that its queue was full all the time. The
 * same as G_IO_ERROR, which names the path.
 */
int unix_connect(const char *path, int type, unsigned timeout_ms, GError **error);

#endif
