/* SPDX-License-Identifier: BSD-3-Clause */
/* Locks, reads and writes a ledger's mark. */
#include "ledger/ledger_mark.h"
#include "ledger/ledger_error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Fixed width, so that a write always replaces the whole of it. */
#define MARK_FORMAT "commits %020" PRIu64 " pid %010ld\n"
#define MARK_LEN    44

static ssize_t write_mark(const LedgerMark *mark, uint64_t n_commits)
{
	char text[MARK_LEN + 1];

	g_snprintf(text, sizeof(text), MARK_FORMAT, n_commits, (long)getpid());
	return pwrite(mark->fd, text, MARK_LEN, 0);
}

/* The file is not ours alone to trust: it may have been cut or edited. */
static bool read_mark(const char *path, int fd, uint64_t *ret_n_commits, long *ret_pid,
		      GError **error)
{
	char text[MARK_LEN + 1], again[MARK_LEN + 1];
	ssize_t n = pread(fd, text, sizeof(text), 0);

	*ret_n_commits = 0;
	*ret_pid = 0;
	if (n < 0)
		return ledger_fail_errno(error, path, "read the mark of", errno);
	if (n == 0)
		return true;
	text[n < MARK_LEN ? n : MARK_LEN] = '\0';
	if (n == MARK_LEN &&
	    sscanf(text, "commits %20" SCNu64 " pid %10ld", ret_n_commits, ret_pid) == 2) {
		g_snprintf(again, sizeof(again), MARK_FORMAT, *ret_n_commits, *ret_pid);
		if (g_str_equal(text, again))
			return true;
	}
	return ledger_fail_damaged(error, path, "its mark %s.mark has been altered", path);
}

static bool check_mark(const char *path, int fd, GError **error)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return ledger_fail_errno(error, path, "read the mark of", errno);
	if (S_ISREG(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 022))
		return true;
	g_set_error(error, LEDGER_ERROR, LEDGER_ERROR_ACCESS,
		    "%s.mark must be a regular file of uid %u that nobody else may write; chown %u "
		    "and chmod 0600 it",
		    path, (unsigned)geteuid(), (unsigned)geteuid());
	return false;
}

static bool lock_mark(const char *path, int fd, GError **error)
{
	uint64_t n_commits;
	long pid = 0;

	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return true;
	if (errno != EWOULDBLOCK)
		return ledger_fail_errno(error, path, "lock", errno);
	if (read_mark(path, fd, &n_commits, &pid, NULL) && pid > 0)
		g_set_error(
			error, LEDGER_ERROR, LEDGER_ERROR_IN_USE,
			"ledger %s is in use by another softdcd, process %ld; end that first, or "
			"choose another state directory",
			path, pid);
	else
		g_set_error(error, LEDGER_ERROR, LEDGER_ERROR_IN_USE,
			    "ledger %s is in use by another softdcd; end that first, or choose "
			    "another state directory",
			    path);
	return false;
}

bool ledger_mark_open(const char *path, LedgerMark *ret_mark, GError **error)
{
	g_autofree char *mark_path = g_strconcat(path, ".mark", NULL);
	LedgerMark mark = {
		.fd = open(mark_path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600),
	};
	long pid;

	if (mark.fd < 0)
		return ledger_fail_errno(error, path, "open the mark of", errno);
	if (!check_mark(path, mark.fd, error) || !lock_mark(path, mark.fd, error) ||
	    !read_mark(path, mark.fd, &mark.n_commits, &pid, error)) {
		close(mark.fd);
		return false;
	}
	*ret_mark = mark;
	return true;
}

bool ledger_mark_reset(LedgerMark *mark, const char *path, GError **error)
{
	ssize_t n = write_mark(mark, 0);

	if (n != MARK_LEN || fsync(mark->fd) != 0)
		return ledger_fail_errno(error, path, "write the mark of",
					 n >= 0 && n != MARK_LEN ? ENOSPC : errno);
	mark->n_commits = 0;
	return true;
}

void ledger_mark_set(LedgerMark *mark, uint64_t n_commits)
{
	if (write_mark(mark, n_commits) == MARK_LEN)
		mark->n_commits = n_commits;
}

void ledger_mark_close(LedgerMark *mark)
{
	if (mark->fd >= 0)
		close(mark->fd);
	mark->fd = -EBADF;
}
