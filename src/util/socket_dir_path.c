/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a pool's directories are, and whether they can be trusted. */
#include "util/socket_dir.h"

#include "util/autofd.h"
#include "util/socket_dir_priv.h"
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET_NAME_MAX (POOL_NAME_MAX + 16) /* a device's name and what the socket is for */

static bool check_name(const char *what, const char *name, size_t max_len, GError **error)
{
	size_t len = strlen(name);
	size_t good_len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				       "0123456789._-");
	g_autofree char *beginning = NULL;
	g_autofree char *shown = NULL;

	if (len > 0 && len <= max_len && good_len == len && name[0] != '.' && name[0] != '-')
		return true;
	beginning = g_strndup(name, 40);
	shown = g_strescape(beginning, NULL);
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
		    "%s \"%s%s\": a name must be 1 to %zu of the characters A-Z a-z 0-9 . _ - and "
		    "must not begin with a dot or dash",
		    what, shown, len > 40 ? "..." : "", max_len);
	return false;
}

bool pool_name_check(const char *what, const char *name, GError **error)
{
	return check_name(what, name, POOL_NAME_MAX, error);
}

void set_errno_error(GError **error, const char *what, const char *failed, int errno_value)
{
	g_set_error(error, G_IO_ERROR, (gint)g_io_error_from_errno(errno_value), "%s: %s: %s", what,
		    failed, g_strerror(errno_value));
}

/* systemd's RuntimeDirectory= and StateDirectory=: a list; of the pool if its name ends one. */
static char *path_from_systemd(const char *variable, const char *pool)
{
	const char *value = g_getenv(variable);
	g_auto(GStrv) paths = g_strsplit(value != NULL ? value : "", ":", -1);

	for (unsigned i = 0; paths[i] != NULL; i++) {
		g_autofree char *last = g_path_get_basename(paths[i]);

		if (g_path_is_absolute(paths[i]) && strcmp(last, pool) == 0)
			return g_strdup(paths[i]);
	}
	return NULL;
}

/* The base directory specification: a relative one is to be ignored. */
static char *path_from_xdg(const char *variable, const char *pool)
{
	const char *base = g_getenv(variable);

	if (base == NULL || !g_path_is_absolute(base))
		return NULL;
	return g_build_filename(base, "softdcd", pool, NULL);
}

char *socket_dir_default_path(const char *pool, GError **error)
{
	char *path;

	if (!pool_name_check("pool", pool, error))
		return NULL;
	path = path_from_systemd("RUNTIME_DIRECTORY", pool);
	if (path == NULL)
		path = path_from_xdg("XDG_RUNTIME_DIR", pool);
	if (path == NULL && geteuid() == 0)
		path = g_build_filename("/run/softdcd", pool, NULL);
	if (path == NULL)
		g_set_error(
			error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
			"pool \"%s\": no place for its sockets: XDG_RUNTIME_DIR is not set; set "
			"it to a directory of yours, such as /run/user/%u",
			pool, (unsigned)geteuid());
	return path;
}

char *state_dir_default_path(const char *pool, GError **error)
{
	char *path;

	if (!pool_name_check("pool", pool, error))
		return NULL;
	path = path_from_systemd("STATE_DIRECTORY", pool);
	if (path == NULL)
		path = path_from_xdg("XDG_STATE_HOME", pool);
	if (path == NULL && geteuid() == 0)
		path = g_build_filename("/var/lib/softdcd", pool, NULL);
	if (path == NULL)
		path = g_build_filename(g_get_home_dir(), ".local/state/softdcd", pool, NULL);
	return path;
}

static bool has_control_socket(const char *dir)
{
	g_autofree char *path = g_build_filename(dir, "qmp.sock", NULL);
	struct stat st;

	return lstat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

char *socket_dir_find(const char *pool, GError **error)
{
	g_autofree char *own = NULL;
	g_autofree char *system = NULL;

	if (!pool_name_check("pool", pool, error))
		return NULL;
	own = path_from_xdg("XDG_RUNTIME_DIR", pool);
	if (own != NULL && has_control_socket(own))
		return g_steal_pointer(&own);
	system = g_build_filename("/run/softdcd", pool, NULL);
	/* Without a place of our own it is the only one where a pool can be: say so, found or not.
	 */
	if (has_control_socket(system) || own == NULL)
		return g_steal_pointer(&system);
	return g_steal_pointer(&own);
}

char *socket_dir_socket_path(const char *dir_path, const char *name, GError **error)
{
	struct sockaddr_un *address = NULL;
	g_autofree char *path = NULL;

	if (!check_name("socket", name, SOCKET_NAME_MAX, error))
		return NULL;
	path = g_build_filename(dir_path, name, NULL);
	if (strlen(path) >= sizeof(address->sun_path)) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_FILENAME_TOO_LONG,
			    "socket %s: %zu bytes; a socket's path has at most %zu: take a shorter "
			    "directory or name",
			    path, strlen(path), sizeof(address->sun_path) - 1);
		return NULL;
	}
	return g_steal_pointer(&path);
}

static bool refuse_dir(const char *path, const char *rule, GError **error)
{
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED, "directory %s: %s", path,
		    rule);
	return false;
}

/* Who may write to it may put another directory in place of ours. */
static bool check_parent(const char *parent, GError **error)
{
	struct stat st;

	if (g_mkdir_with_parents(parent, 0755) != 0) {
		set_errno_error(error, parent, "cannot make the directory", errno);
		return false;
	}
	if (stat(parent, &st) != 0) {
		set_errno_error(error, parent, "cannot look at the directory", errno);
		return false;
	}
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return refuse_dir(parent, "must belong to root or to the user of the pool", error);
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (st.st_mode & S_ISVTX) == 0)
		return refuse_dir(parent, "must not be writable for others", error);
	return true;
}

int own_dir_open(const char *path, GError **error)
{
	g_autofree char *parent = g_path_get_dirname(path);
	AUTOFD int fd = -EBADF;
	struct stat st;

	if (!g_path_is_absolute(path)) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "directory %s: must be an absolute path", path);
		return -1;
	}
	if (!check_parent(parent, error))
		return -1;
	if (mkdir(path, 0700) != 0 && errno != EEXIST) {
		set_errno_error(error, path, "cannot make the directory", errno);
		return -1;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && (errno == ELOOP || errno == ENOTDIR)) {
		refuse_dir(path, "must be a directory, not a file or a symbolic link", error);
		return -1;
	}
	if (fd < 0 || fstat(fd, &st) != 0) {
		set_errno_error(error, path, "cannot open the directory", errno);
		return -1;
	}
	if (st.st_uid != geteuid()) {
		refuse_dir(path, "must belong to the user of the pool", error);
		return -1;
	}
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
		refuse_dir(path, "must not be writable for others; chmod go-w it", error);
		return -1;
	}
	return fd_steal(&fd);
}

bool state_dir_make(const char *path, GError **error)
{
	AUTOFD int fd = own_dir_open(path, error);

	return fd >= 0;
}
