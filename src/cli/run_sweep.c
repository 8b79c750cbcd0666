/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd run: directories that killed machines have left. */
#include "cli/run.h"

#include "util/autofd.h"
#include "util/socket_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Design. A directory has its machine's process in its name, and a file in it that is locked for as
 * long as somebody uses the directory. Both must be gone: the lock alone is not there yet while a
 * machine starts, and a process alone may be one of another namespace of pids. Nothing here follows
 * a symbolic link or touches what belongs to somebody else; what is not ours to remove just stays.
 */

/* 0: NAME is not PREFIX, a number, and nothing or a dash after it. */
static pid_t pid_in(const char *name, const char *prefix)
{
	const char *digits = name + strlen(prefix);
	guint64 pid;
	char *end;

	if (!g_str_has_prefix(name, prefix) || !g_ascii_isdigit(*digits))
		return 0;
	pid = g_ascii_strtoull(digits, &end, 10);
	return (*end == '\0' || *end == '-') && pid <= G_MAXINT32 ? (pid_t)pid : 0;
}

static bool has_ended(pid_t pid)
{
	return kill(pid, 0) != 0 && errno == ESRCH;
}

static int open_own(int parent_fd, const char *name)
{
	AUTOFD int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0 || st.st_uid != geteuid() || (st.st_mode & 022))
		return -EBADF;
	return fd_steal(&fd);
}

/* Its lock is ours now, in RET_FD, or there is none. */
static bool take_lock(int dir_fd, const char *name, int *ret_fd)
{
	AUTOFD int fd = openat(dir_fd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return errno == ENOENT;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || flock(fd, LOCK_EX | LOCK_NB) != 0)
		return false;
	*ret_fd = fd_steal(&fd);
	return true;
}

/* Directories in it stay, and so does it then: none of ours has any. */
static void empty(int dir_fd)
{
	int fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(dir)))
		unlinkat(dir_fd, entry->d_name, 0);
	closedir(dir);
}

static void sweep_one(int parent_fd, const char *name, const char *lock_name)
{
	AUTOFD int dir_fd = open_own(parent_fd, name);
	AUTOFD int lock_fd = -EBADF;

	if (dir_fd < 0 || !take_lock(dir_fd, lock_name, &lock_fd))
		return;
	empty(dir_fd);
	unlinkat(parent_fd, name, AT_REMOVEDIR);
}

void run_sweep(const char *parent, const char *prefix, const char *lock_name)
{
	DIR *dir = opendir(parent);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		pid_t pid = pid_in(entry->d_name, prefix);

		if (pid > 0 && has_ended(pid))
			sweep_one(dirfd(dir), entry->d_name, lock_name);
	}
	if (dir)
		closedir(dir);
}

void run_sweep_all(void)
{
	g_autofree char *runtime = socket_dir_default_path(RUN_POOL_PREFIX "0", NULL);
	g_autofree char *parent = runtime ? g_path_get_dirname(runtime) : NULL;

	if (parent)
		run_sweep(parent, RUN_POOL_PREFIX, SOCKET_DIR_LOCK);
	run_sweep(g_get_tmp_dir(), RUN_DIR_PREFIX, RUN_DIR_LOCK);
}
