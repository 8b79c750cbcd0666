/* SPDX-License-Identifier: BSD-3-Clause */
/* A small file whose contents change as a whole, for what must outlive a killed process. */
#ifndef POOL_SESSION_FILE_H
#define POOL_SESSION_FILE_H

#include <glib.h>
#include <stdbool.h>

/*
 * Design. What is written is there for the next process as soon as the call returns, however this
 * one ends: the page cache belongs to the kernel. It is not synced, so it does not outlive the
 * machine, which is why it belongs on a file system in memory; there no call here waits for a disk.
 * Two places are written in turn, each with number and checksum: a write that was cut leaves the
 * one before.
 */
typedef struct SessionFile SessionFile;

#define SESSION_FILE_MAX_LEN 65536u /* bytes of contents, with a header of 32 */

/* Made with mode 0600 if it is not there. Refuses what is not a regular file of this user. */
SessionFile *session_file_open(const char *path, GError **error);
void session_file_close(SessionFile *file); /* the file stays */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SessionFile, session_file_close)
/* What was last written whole; NULL = nothing. Caller frees. */
GBytes *session_file_read(SessionFile *file);
/* False with errno; then what was there before is there still. */
bool session_file_write(SessionFile *file, const void *data, size_t len);
/* The file goes; nothing is written any more. */
void session_file_remove(SessionFile *file);

#endif
