/* SPDX-License-Identifier: BSD-3-Clause */
/* A descriptor of a regular file that nobody who holds it can turn into a writable one. */
#ifndef CAPACITY_READONLY_FD_H
#define CAPACITY_READONLY_FD_H

#include <glib.h>

/*
 * FD is open on the file at the absolute PATH. Returns a new close-on-exec descriptor, or -1 with
 * an error if this system offers no way to guarantee it.
 */
int readonly_fd_open(int fd, const char *path, GError **error);

#endif
