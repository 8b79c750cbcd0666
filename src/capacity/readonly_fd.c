/* SPDX-License-Identifier: BSD-3-Clause */
/* A descriptor of a regular file that nobody who holds it can turn into a writable one. */

/*
 * Design. O_RDONLY alone promises nothing: its holder opens /proc/self/fd/N again, for writing, and
 * only the inode's mode stands in the way, which neither root nor the owner needs to heed. What
 * does hold is the mount the descriptor was opened through: we clone a private read-only mount of
 * just this file, open the file in it and dissolve the mount again. The open file keeps it; opening
 * through it for writing is EROFS for everybody, and since it is in no namespace any more, nobody
 * can change its flags either (with the mount still open, root could: so it is closed first).
 *
 * Cloning a mount needs CAP_SYS_ADMIN. Without it a child makes itself a user and a mount namespace
 * and passes the descriptor back. What a holder may do by the file's *path* is for the file's owner
 * to decide and not changed by any of this.
 */

#include "capacity/readonly_fd.h"
#include "util/autofd.h"
#include "util/fdpass.h"
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* glibc 2.36 has these, but the kernel's header and glibc's cannot both be included. */
#define RO_OPEN_TREE_CLONE   1u
#define RO_OPEN_TREE_CLOEXEC ((unsigned)O_CLOEXEC)
#define RO_ATTR_RDONLY       UINT64_C(1)

struct ro_mount_attr {
	uint64_t attr_set, attr_clr, propagation, userns_fd;
};

static int open_through_proc(int fd, int flags)
{
	char link[40];
	int opened;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	opened = open(link, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return opened < 0 ? -errno : opened;
}

/* Either of FD (this mount namespace's) or PATH. Async-signal-safe: also runs in a forked child. */
static int open_in_own_mount(int fd, const char *path)
{
	struct ro_mount_attr attr = { .attr_set = RO_ATTR_RDONLY };
	AUTOFD int tree = (int)syscall(SYS_open_tree, path ? AT_FDCWD : fd, path ? path : "",
				       RO_OPEN_TREE_CLONE | RO_OPEN_TREE_CLOEXEC |
					       (path ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH));

	if (tree < 0)
		return -errno;
	if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) != 0)
		return -errno;
	return open_through_proc(tree, O_RDONLY);
}

static _Noreturn void namespace_child(int sock, const char *path)
{
	int fd, result = 0;
	struct iovec iov = { .iov_base = &result, .iov_len = sizeof(result) };

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
		result = -errno;
		fdpass_send(sock, &iov, 1, NULL, 0, 0);
		_exit(1);
	}
	fd = open_in_own_mount(-1, path);
	if (fd < 0)
		result = fd;
	fdpass_send(sock, &iov, 1, &fd, fd < 0 ? 0 : 1, 0);
	_exit(fd < 0);
}

static int open_in_namespace(const char *path)
{
	int socks[2], n_fds = 0, fd = -EBADF, result = -EIO;
	struct iovec iov = { .iov_base = &result, .iov_len = sizeof(result) };
	ssize_t got;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) != 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		namespace_child(socks[1], path);
	close(socks[1]);
	if (pid < 0) {
		close(socks[0]);
		return -EAGAIN;
	}
	got = fdpass_recv(socks[0], iov.iov_base, iov.iov_len, &fd, 1, &n_fds, 0);
	close(socks[0]);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (got == sizeof(result) && result == 0 && n_fds == 1)
		return fd;
	if (n_fds == 1)
		close(fd);
	return got == sizeof(result) && result < 0 ? result : -EIO;
}

/* Not believed but tried: same file, and not even we can open it for writing through RO. */
static bool is_proof(int fd, int ro)
{
	struct stat want, have;
	AUTOFD int rw = open_through_proc(ro, O_RDWR);

	return rw == -EROFS && fstat(fd, &want) == 0 && fstat(ro, &have) == 0 &&
	       want.st_dev == have.st_dev && want.st_ino == have.st_ino;
}

int readonly_fd_open(int fd, const char *path, GError **error)
{
	struct statvfs vfs;
	AUTOFD int ro = open_in_own_mount(fd, NULL);

	if (ro < 0)
		ro = open_in_namespace(path);
	if (ro < 0 && fstatvfs(fd, &vfs) == 0 && (vfs.f_flag & ST_RDONLY))
		ro = open_through_proc(fd, O_RDONLY);
	if (ro >= 0 && is_proof(fd, ro))
		return fd_steal(&ro);
	g_set_error(
		error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED,
		"%s: cannot make a descriptor that stays read-only in a host's hands%s%s; run with "
		"CAP_SYS_ADMIN, allow user namespaces, or put the file on a read-only mount",
		path, ro < 0 ? ": " : "", ro < 0 ? g_strerror(-ro) : "");
	return -1;
}
