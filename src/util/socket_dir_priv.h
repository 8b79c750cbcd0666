/* SPDX-License-Identifier: BSD-3-Clause */
/* What the paths and the sockets of a runtime directory share. */
#ifndef UTIL_SOCKET_DIR_PRIV_H
#define UTIL_SOCKET_DIR_PRIV_H

#include "util/socket_dir.h"

/* Makes (0700) and opens a directory of ours; -1 and an error when it is not fit to be trusted. */
int own_dir_open(const char *path, GError **error);

/* "what: rule: what the system says". */
void set_errno_error(GError **error, const char *what, const char *failed, int errno_value);

#endif
