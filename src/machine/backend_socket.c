/* SPDX-License-Identifier: BSD-3-Clause */
/* Both ends of a UNIX stream socket, for a daemon that is yet to be started. */
#include "machine/backend_socket.h"

#include "util/autofd.h"

#include <errno.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static int listen_and_connect(const char *path, int its_fd, int our_fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (g_strlcpy(address.sun_path, path, sizeof(address.sun_path)) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	if (bind(its_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(its_fd, 1) < 0 ||
	    connect(our_fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return 0;
}

/* In a folder that only we may enter, and which is gone at once. */
static int pair_by_name(int its_fd, int our_fd)
{
	g_autofree char *dir = g_dir_make_tmp("softdcd-XXXXXX", NULL);
	g_autofree char *path = NULL;
	int rc;

	if (dir == NULL)
		return -errno;
	path = g_build_filename(dir, "socket", NULL);
	rc = listen_and_connect(path, its_fd, our_fd);
	(void)g_unlink(path);
	(void)g_rmdir(dir);
	return rc;
}

bool backend_socket_pair(bool listening, int *ret_our_fd, int *ret_its_fd, GError **error)
{
	AUTOFD int our_fd = -EBADF;
	AUTOFD int its_fd = -EBADF;
	int pair[2];
	int rc = 0;

	if (listening) {
		our_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		its_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		rc = our_fd < 0 || its_fd < 0 ? -errno : pair_by_name(its_fd, our_fd);
	} else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0) {
		our_fd = pair[0];
		its_fd = pair[1];
	} else {
		rc = -errno;
	}
	if (rc < 0) {
		g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-rc),
			    "cannot make a socket for a daemon in %s: %s", g_get_tmp_dir(),
			    g_strerror(-rc));
		return false;
	}
	*ret_our_fd = fd_steal(&our_fd);
	*ret_its_fd = fd_steal(&its_fd);
	return true;
}
