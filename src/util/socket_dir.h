/* SPDX-License-Identifier: BSD-3-Clause */
/* A pool's runtime directory and the listening sockets in it; its default paths. */
#ifndef UTIL_SOCKET_DIR_H
#define UTIL_SOCKET_DIR_H

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

#define POOL_NAME_MAX 64 /* bytes */

/* [A-Za-z0-9._-], 1 to 64 bytes, no leading dot or dash: for pools and devices. */
bool pool_name_check(const char *what, const char *name, GError **error);

/*
 * Where a daemon of this user has its sockets and its state; caller frees. Nothing is created.
 *
 *   runtime: $RUNTIME_DIRECTORY (set by systemd) if its last part is the pool's name;
 *            $XDG_RUNTIME_DIR/softdcd/POOL; root: /run/softdcd/POOL
 *   state:   $STATE_DIRECTORY likewise; $XDG_STATE_HOME/softdcd/POOL; root: /var/lib/softdcd/POOL;
 *            others: ~/.local/state/softdcd/POOL
 */
char *socket_dir_default_path(const char *pool, GError **error);
char *state_dir_default_path(const char *pool, GError **error);
/* For clients: the first of $XDG_RUNTIME_DIR/softdcd/POOL and /run/softdcd/POOL that has a
 * qmp.sock; if none has, socket_dir_default_path(). */
char *socket_dir_find(const char *pool, GError **error);

/* Creates PATH (0700) and its missing parents; refuses one that is a symbolic link, not ours, or
 * writable for others. For the state directory; may be called again. */
bool state_dir_make(const char *path, GError **error);

#define SOCKET_DIR_LOCK "daemon.lock" /* the file that is locked */

/*
 * A directory we hold the lock of: no other daemon can have it open at the same time, and the lock
 * goes with the process, however it ends.
 */
typedef struct SocketDir SocketDir;

/*
 * Creates PATH (absolute) and its missing parents: 0700, or 0750 with GROUP (a name or number, NULL
 * = none). Refuses one that is a symbolic link, not ours, or writable for others, or that another
 * process has locked, naming its pid.
 */
SocketDir *socket_dir_open(const char *path, const char *group, GError **error);
/* Removes the sockets made here that are still ours, and unlocks; not the directory. The listening
 * descriptors are their owners' to close. */
void socket_dir_free(SocketDir *dir);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SocketDir, socket_dir_free)
const char *socket_dir_path(const SocketDir *dir);
/* The group it was opened to; false: none. */
bool socket_dir_group(const SocketDir *dir, gid_t *ret_gid);

/*
 * Listens on NAME (such as "qmp.sock"; 16 bytes more than a pool's name may have) with SOCK_STREAM
 * or SOCK_SEQPACKET; non-blocking, close-on-exec; mode 0600, or 0660 and the directory's group. A
 * stale socket of that name is replaced; one that is served is refused with the pid that serves it,
 * and so is anything that is no socket. Returns the descriptor (the caller's), or -1.
 */
int socket_dir_listen(SocketDir *dir, const char *name, int type, GError **error);
/* The socket's file goes, if it is still the one made here; FD stays the caller's. */
void socket_dir_unlink(SocketDir *dir, const char *name);
/* DIR/NAME, refused when it does not fit a socket address; caller frees. */
char *socket_dir_socket_path(const char *dir_path, const char *name, GError **error);

#endif
