/* SPDX-License-Identifier: BSD-3-Clause */
/* Appends to the audit log; begins a new file when one is full. */
#include "ledger/audit_priv.h"
#include "util/autofd.h"

#include <fcntl.h>
#include <gio/gio.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_MAX_LEN (UINT64_C(16) << 20)
#define DEFAULT_N_OLD   8u

struct AuditWriter {
	char *dir;
	char *path;
	uint64_t max_len;
	unsigned n_old;
	int fd;
	uint64_t len;
	bool torn;  /* the file ends within a line */
	bool dirty; /* something was written since the last sync */
};

char *audit_path(const char *dir, unsigned index)
{
	g_autofree char *leaf = index ? g_strdup_printf(AUDIT_FILE ".%u", index) : NULL;

	return g_build_filename(dir, leaf ? leaf : AUDIT_FILE, NULL);
}

static bool fail(GError **error, int errnum, const char *verb, const char *path, const char *cure)
{
	g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errnum),
		    "cannot %s audit log %s: %s%s", verb, path, g_strerror(errnum), cure);
	return false;
}

static const char *cure_of(int errnum)
{
	switch (errnum) {
	case ENOSPC:
	case EDQUOT:
		return "; free space on its file system";
	case EACCES:
	case EPERM:
	case EROFS:
		return "; the state directory must be writable by softdcd";
	case ELOOP:
		return "; it must not be a symbolic link";
	default:
		return "";
	}
}

/* Somebody else's file, or one others may write to, records nothing. */
static bool check_file(AuditWriter *writer, GError **error)
{
	struct stat st;
	char last;

	if (fstat(writer->fd, &st) != 0)
		return fail(error, errno, "read", writer->path, "");
	if (!S_ISREG(st.st_mode)) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_REGULAR_FILE,
			    "audit log %s is not a regular file; move it away", writer->path);
		return false;
	}
	if (st.st_uid != geteuid() || (st.st_mode & 022)) {
		g_set_error(
			error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED,
			"audit log %s has owner %u and mode %04o, but only uid %u may write it; "
			"chown %u and chmod 0600 it, or move it away",
			writer->path, (unsigned)st.st_uid, (unsigned)st.st_mode & 07777,
			(unsigned)geteuid(), (unsigned)geteuid());
		return false;
	}
	writer->len = (uint64_t)st.st_size;
	if (writer->len > 0) {
		if (pread(writer->fd, &last, 1, st.st_size - 1) != 1)
			return fail(error, errno, "read", writer->path, "");
		writer->torn = last != '\n';
	}
	return true;
}

static bool sync_dir(const char *dir)
{
	AUTOFD int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 && fsync(fd) == 0;
}

AuditWriter *audit_writer_new(const AuditConfig *config, GError **error)
{
	AuditWriter *writer = g_new0(AuditWriter, 1);

	writer->dir = g_strdup(config->dir);
	writer->path = audit_path(config->dir, 0);
	writer->max_len = config->max_len ? config->max_len : DEFAULT_MAX_LEN;
	writer->n_old = config->n_old ? MIN(config->n_old, AUDIT_MAX_OLD) : DEFAULT_N_OLD;
	/* Not to hang on a FIFO somebody put there. */
	writer->fd = open(writer->path,
			  O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (writer->fd < 0)
		fail(error, errno, "open", writer->path, cure_of(errno));
	else if (check_file(writer, error) && sync_dir(writer->dir))
		return writer;
	else if (error && !*error)
		fail(error, errno, "sync", writer->path, cure_of(errno));
	audit_writer_free(writer);
	return NULL;
}

void audit_writer_free(AuditWriter *writer)
{
	if (!writer)
		return;
	if (writer->fd >= 0) {
		audit_writer_sync(writer, NULL);
		close(writer->fd);
	}
	g_free(writer->path);
	g_free(writer->dir);
	g_free(writer);
}

/*
 * The next file is made first: where that fails, the present one goes on. A crash between the
 * renames leaves a number out, which the reader does not mind.
 */
static void rotate(AuditWriter *writer)
{
	g_autofree char *fresh_path = g_strconcat(writer->path, ".new", NULL);
	AUTOFD int fresh = open(
		fresh_path, O_RDWR | O_APPEND | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fresh < 0)
		return;
	fdatasync(writer->fd);
	for (unsigned i = writer->n_old; i > 0; i--) {
		g_autofree char *from = audit_path(writer->dir, i - 1);
		g_autofree char *to = audit_path(writer->dir, i);

		rename(from, to);
	}
	if (rename(fresh_path, writer->path) != 0)
		return;
	sync_dir(writer->dir);
	close(writer->fd);
	writer->fd = fd_steal(&fresh);
	writer->len = 0;
	writer->torn = false;
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

bool audit_writer_append(AuditWriter *writer, const char *lines, size_t len, GError **error)
{
	int result = 0;

	if (len == 0)
		return true;
	if (writer->len > 0 && writer->len + len > writer->max_len)
		rotate(writer);
	if (writer->torn) {
		result = write_all(writer->fd, "\n", 1);
		if (result == 0) {
			writer->torn = false;
			writer->len++;
		}
	}
	if (result == 0)
		result = write_all(writer->fd, lines, len);
	if (result == 0) {
		writer->len += len;
		writer->dirty = true;
		return true;
	}
	/* What did get in is taken out again, so that the lines can be tried once more. */
	if (ftruncate(writer->fd, (off_t)writer->len) != 0) {
		struct stat st;

		writer->torn = true;
		if (fstat(writer->fd, &st) == 0)
			writer->len = (uint64_t)st.st_size;
	}
	return fail(error, -result, "write", writer->path, cure_of(-result));
}

bool audit_writer_sync(AuditWriter *writer, GError **error)
{
	if (!writer->dirty)
		return true;
	if (fdatasync(writer->fd) != 0)
		return fail(error, errno, "sync", writer->path, cure_of(errno));
	writer->dirty = false;
	return true;
}
