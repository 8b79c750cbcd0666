/* SPDX-License-Identifier: BSD-3-Clause */
/* Listening sockets in a directory that one process at a time may use. */
#include "util/socket_dir.h"

#include "util/autofd.h"
#include "util/peer_cred.h"
#include "util/socket_dir_priv.h"
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <grp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define NO_GROUP ((gid_t)-1)
#define BACKLOG  128

typedef struct MadeSocket {
	char *name;
	dev_t dev;
	ino_t ino;
} MadeSocket;

struct SocketDir {
	char *path;
	int fd;
	int lock_fd; /* its lock is what keeps a second daemon, and all races with it, out */
	gid_t group;
	GArray *made; /* of MadeSocket */
};

static void made_socket_clear(gpointer data)
{
	g_free(((MadeSocket *)data)->name);
}

static bool find_group(const char *name, gid_t *ret_gid, GError **error)
{
	g_autofree char *buf = g_malloc(65536);
	struct group entry, *found = NULL;
	guint64 number;
	int rc;

	rc = getgrnam_r(name, &entry, buf, 65536, &found);
	if (found != NULL) {
		*ret_gid = found->gr_gid;
		return true;
	}
	if (g_ascii_string_to_unsigned(name, 10, 0, (guint64)NO_GROUP - 1, &number, NULL)) {
		*ret_gid = (gid_t)number;
		return true;
	}
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND, "group \"%s\": %s", name,
		    rc != 0 ? g_strerror(rc)
			    : "there is none of that name; \"getent group\" lists them");
	return false;
}

static bool set_access(SocketDir *dir, GError **error)
{
	mode_t mode = dir->group != NO_GROUP ? 0750 : 0700;

	if (dir->group != NO_GROUP && fchown(dir->fd, (uid_t)-1, dir->group) != 0) {
		g_set_error(error, G_IO_ERROR, (gint)g_io_error_from_errno(errno),
			    "directory %s: cannot give it to group %u: %s; only root and members "
			    "of a group can",
			    dir->path, (unsigned)dir->group, g_strerror(errno));
		return false;
	}
	if (fchmod(dir->fd, mode) != 0) {
		set_errno_error(error, dir->path, "cannot set the directory's mode", errno);
		return false;
	}
	return true;
}

static void refuse_locked(const SocketDir *dir, GError **error)
{
	char text[24] = { 0 };
	ssize_t got = pread(dir->lock_fd, text, sizeof(text) - 1, 0);
	guint64 pid;

	g_strchomp(text);
	if (got > 0 && g_ascii_string_to_unsigned(text, 10, 1, INT32_MAX, &pid, NULL))
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_BUSY,
			    "directory %s: in use by the process %u: a pool has one daemon; stop "
			    "that one, or give this pool another name",
			    dir->path, (unsigned)pid);
	else
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_BUSY,
			    "directory %s: in use by another process: a pool has one daemon",
			    dir->path);
}

static bool lock_dir(SocketDir *dir, GError **error)
{
	char text[24];
	int len;

	dir->lock_fd = openat(dir->fd, SOCKET_DIR_LOCK, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
			      0600);
	if (dir->lock_fd < 0) {
		set_errno_error(error, dir->path, "cannot open " SOCKET_DIR_LOCK " in it", errno);
		return false;
	}
	if (flock(dir->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno == EWOULDBLOCK)
			refuse_locked(dir, error);
		else
			set_errno_error(error, dir->path, "cannot lock " SOCKET_DIR_LOCK " in it",
					errno);
		return false;
	}
	len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	/* Only for the text of another one's refusal. */
	if (ftruncate(dir->lock_fd, 0) != 0 || pwrite(dir->lock_fd, text, (size_t)len, 0) != len)
		g_debug("%s/%s: cannot write the pid: %s", dir->path, SOCKET_DIR_LOCK,
			g_strerror(errno));
	return true;
}

SocketDir *socket_dir_open(const char *path, const char *group, GError **error)
{
	g_autoptr(SocketDir) dir = g_new0(SocketDir, 1);

	dir->path = g_strdup(path);
	dir->lock_fd = -EBADF;
	dir->group = NO_GROUP;
	dir->made = g_array_new(FALSE, FALSE, sizeof(MadeSocket));
	g_array_set_clear_func(dir->made, made_socket_clear);
	dir->fd = -EBADF;
	if (group != NULL && !find_group(group, &dir->group, error))
		return NULL;
	dir->fd = own_dir_open(path, error);
	/* Locked before it is changed: what a running daemon has set stays. */
	if (dir->fd < 0 || !lock_dir(dir, error) || !set_access(dir, error))
		return NULL;
	return g_steal_pointer(&dir);
}

/* True if the file is the very socket that was made here. */
static bool is_still_ours(const SocketDir *dir, const MadeSocket *made)
{
	struct stat st;

	return fstatat(dir->fd, made->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_dev == made->dev && st.st_ino == made->ino;
}

static void unlink_made(SocketDir *dir, guint i)
{
	MadeSocket *made = &g_array_index(dir->made, MadeSocket, i);

	if (is_still_ours(dir, made))
		unlinkat(dir->fd, made->name, 0);
	g_array_remove_index_fast(dir->made, i);
}

void socket_dir_free(SocketDir *dir)
{
	if (dir == NULL)
		return;
	while (dir->made->len > 0)
		unlink_made(dir, dir->made->len - 1);
	g_array_unref(dir->made);
	/* The lock's file stays: a daemon that is just opening it would lock one without a name. */
	if (dir->lock_fd >= 0)
		close(dir->lock_fd);
	if (dir->fd >= 0)
		close(dir->fd);
	g_free(dir->path);
	g_free(dir);
}

const char *socket_dir_path(const SocketDir *dir)
{
	return dir->path;
}

bool socket_dir_group(const SocketDir *dir, gid_t *ret_gid)
{
	if (dir->group == NO_GROUP)
		return false;
	*ret_gid = dir->group;
	return true;
}

void socket_dir_unlink(SocketDir *dir, const char *name)
{
	for (guint i = dir->made->len; i-- > 0;) {
		if (strcmp(g_array_index(dir->made, MadeSocket, i).name, name) == 0)
			unlink_made(dir, i);
	}
}

/* Whether anybody listens; their pid, 0 if it cannot be told. Errors: neither can be told. */
static bool find_server(const struct sockaddr_un *address, bool *ret_served, pid_t *ret_pid,
			GError **error)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };

	for (unsigned i = 0; i < G_N_ELEMENTS(types); i++) {
		AUTOFD int sock = socket(AF_UNIX, types[i] | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		PeerCred cred = { 0 };

		if (sock < 0)
			break;
		if (connect(sock, (const struct sockaddr *)address, sizeof(*address)) == 0) {
			(void)peer_cred_get(sock, &cred);
			*ret_pid = cred.pid;
			*ret_served = true;
			return true;
		}
		if (errno == EPROTOTYPE)
			continue;      /* served, with another type */
		if (errno == EAGAIN) { /* served, by one who does not accept */
			*ret_pid = 0;
			*ret_served = true;
			return true;
		}
		if (errno == ECONNREFUSED || errno == ENOENT) {
			*ret_served = false;
			return true;
		}
		break;
	}
	set_errno_error(error, address->sun_path, "cannot find out whether the socket is served",
			errno);
	return false;
}

/* What is left of a daemon that was killed goes; everything else in the way is refused. */
static bool make_room(SocketDir *dir, const char *name, const struct sockaddr_un *address,
		      GError **error)
{
	g_autofree char *by = NULL;
	struct stat st;
	bool served;
	pid_t pid;

	if (fstatat(dir->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
		if (errno == ENOENT)
			return true;
		set_errno_error(error, address->sun_path, "cannot look at it", errno);
		return false;
	}
	if (!S_ISSOCK(st.st_mode)) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_EXISTS,
			    "socket %s: a file that is no socket is in the way; remove it",
			    address->sun_path);
		return false;
	}
	if (!find_server(address, &served, &pid, error))
		return false;
	if (!served) {
		if (unlinkat(dir->fd, name, 0) == 0 || errno == ENOENT)
			return true;
		set_errno_error(error, address->sun_path, "cannot remove the stale socket", errno);
		return false;
	}
	by = pid > 0 ? g_strdup_printf("the process %d", (int)pid) : g_strdup("another process");
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE, "socket %s: already served by %s",
		    address->sun_path, by);
	return false;
}

/* From bind() on the file exists; it is open to its owner only until it is to the group. */
static bool bind_and_listen(SocketDir *dir, int sock, const char *name,
			    const struct sockaddr_un *address, GError **error)
{
	mode_t mode = dir->group != NO_GROUP ? 0660 : 0600;
	MadeSocket made;
	struct stat st;

	if (fchmod(sock, 0600) != 0 ||
	    bind(sock, (const struct sockaddr *)address, sizeof(*address)) != 0) {
		set_errno_error(error, address->sun_path, "cannot make the socket", errno);
		return false;
	}
	if (fstatat(dir->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
		set_errno_error(error, address->sun_path, "cannot look at the socket", errno);
		return false;
	}
	made = (MadeSocket){ .name = g_strdup(name), .dev = st.st_dev, .ino = st.st_ino };
	g_array_append_val(dir->made, made);
	if ((dir->group != NO_GROUP &&
	     fchownat(dir->fd, name, (uid_t)-1, dir->group, AT_SYMLINK_NOFOLLOW) != 0) ||
	    fchmodat(dir->fd, name, mode, 0) != 0 || listen(sock, BACKLOG) != 0) {
		set_errno_error(error, address->sun_path, "cannot open the socket to others",
				errno);
		unlink_made(dir, dir->made->len - 1);
		return false;
	}
	return true;
}

int socket_dir_listen(SocketDir *dir, const char *name, int type, GError **error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	g_autofree char *path = socket_dir_socket_path(dir->path, name, error);
	AUTOFD int sock = -EBADF;

	if (path == NULL)
		return -1;
	strcpy(address.sun_path, path); /* its length has been checked */
	if (!make_room(dir, name, &address, error))
		return -1;
	sock = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock < 0) {
		set_errno_error(error, path, "cannot make a socket", errno);
		return -1;
	}
	if (!bind_and_listen(dir, sock, name, &address, error))
		return -1;
	return fd_steal(&sock);
}
