/* SPDX-License-Identifier: BSD-3-Clause */
/* Connecting to a UNIX socket by path, in bounded time. */
#include "link/unix_connect.h"

#include "util/autofd.h"

#include <gio/gio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

static int connect_socket(const char *path, int type, unsigned timeout_ms)
{
	/* Also bounds connect(), which waits while the server's backlog is full. */
	struct timeval timeout = {
		.tv_sec = timeout_ms / 1000,
		.tv_usec = timeout_ms % 1000 * 1000,
	};
	struct timeval forever = { 0 };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	AUTOFD int fd = -EBADF;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &forever, sizeof(forever)) < 0)
		return -errno;
	return fd_steal(&fd);
}

int unix_connect(const char *path, int type, unsigned timeout_ms, GError **error)
{
	int fd = connect_socket(path, type, timeout_ms);

	if (fd < 0)
		g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-fd),
			    "cannot connect to %s: %s", path, g_strerror(-fd));
	return fd;
}
