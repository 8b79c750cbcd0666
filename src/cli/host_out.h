/* SPDX-License-Identifier: BSD-3-Clause */
/* Lines for stdout, written by a thread of their own, so that a slow reader stops nobody else. */
#ifndef CLI_HOST_OUT_H
#define CLI_HOST_OUT_H

#include <glib.h>

/*
 * Up to 16 MiB wait for the reader; with more, host_out_line() waits too. A reader that has gone is
 * nobody to work for: the process gets SIGTERM, once and not at the end, and what follows is
 * dropped.
 */
typedef struct HostOut HostOut;

HostOut *host_out_new(int fd); /* borrowed */
/* Owns LINE, which ends with a newline. */
void host_out_line(HostOut *out, char *line);
/* Returns when all is written. */
void host_out_free(HostOut *out);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostOut, host_out_free)

#endif
