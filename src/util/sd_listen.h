/* SPDX-License-Identifier: BSD-3-Clause */
/* Listening sockets inherited from systemd (LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES). */
#ifndef UTIL_SD_LISTEN_H
#define UTIL_SD_LISTEN_H

#include <glib.h>
#include <stdbool.h>

typedef struct SdListenFd {
	int fd;
	char *name; /* FileDescriptorName=, "unknown" when none was given */
} SdListenFd;

/*
 * Takes what was passed to this process, of which there may be nothing: an array of SdListenFd,
 * the caller's, whose unref closes every fd that has not been set to -1. All are close-on-exec. The
 * variables are unset in any case, so call it early and with one thread. NULL and an error when
 * they are there for us and senseless; then nothing is closed.
 */
GArray *sd_listen_take(GError **error);
/* Takes the first one named NAME out of the array's hands, if it is a listening UNIX socket of TYPE
 * (SOCK_STREAM, ...). Returns it, non-blocking, or -1: without error if there is none so named. */
int sd_listen_steal(GArray *fds, const char *name, int type, GError **error);

#endif
