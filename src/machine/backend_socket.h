/* SPDX-License-Identifier: BSD-3-Clause */
/* Both ends of a UNIX stream socket, for a daemon that is yet to be started. */
#ifndef MACHINE_BACKEND_SOCKET_H
#define MACHINE_BACKEND_SOCKET_H

#include <glib.h>
#include <stdbool.h>

/*
 * LISTENING: its end is a listening socket whose first and only connection is ours; its name is
 * gone already, so nobody else can ever connect. Close-on-exec, the caller's.
 */
bool backend_socket_pair(bool listening, int *ret_our_fd, int *ret_its_fd, GError **error);

#endif
