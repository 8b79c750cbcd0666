/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads what sd_listen_fds(3) describes. */
#include "util/sd_listen.h"

#include "util/autofd.h"
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST_FD 3
#define MAX_FDS  256

static const char *const variables[] = { "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES" };

static void listen_fd_clear(gpointer data)
{
	SdListenFd *item = data;

	if (item->fd >= 0)
		close(item->fd);
	g_free(item->name);
}

static gboolean refuse(GError **error, const char *name, const char *value, const char *rule)
{
	g_autofree char *shown = g_strescape(value, NULL);

	g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "inherited sockets: %s=%s: %s",
		    name, shown, rule);
	return FALSE;
}

/* The count, or 0 when what is there is not for us: another pid's, left in the environment. */
static gboolean read_count(const char *pid_text, const char *count_text, guint64 *ret_n,
			   GError **error)
{
	guint64 pid;

	*ret_n = 0;
	if (pid_text == NULL || count_text == NULL)
		return TRUE;
	if (!g_ascii_string_to_unsigned(pid_text, 10, 1, INT32_MAX, &pid, NULL))
		return refuse(error, "LISTEN_PID", pid_text, "is no process id");
	if (pid != (guint64)getpid())
		return TRUE;
	if (!g_ascii_string_to_unsigned(count_text, 10, 0, MAX_FDS, ret_n, NULL))
		return refuse(error, "LISTEN_FDS", count_text, "must be a number from 0 to 256");
	return TRUE;
}

static GArray *take(const char *pid_text, const char *count_text, const char *names_text,
		    GError **error)
{
	g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(SdListenFd));
	g_auto(GStrv) names = NULL;
	guint64 n;

	if (!read_count(pid_text, count_text, &n, error))
		return NULL;
	if (names_text != NULL && n > 0) {
		names = g_strsplit(names_text, ":", -1);
		if (g_strv_length(names) != n) {
			refuse(error, "LISTEN_FDNAMES", names_text,
			       "must have one name for each of LISTEN_FDS");
			return NULL;
		}
	}
	for (guint64 i = 0; i < n; i++) {
		int fd = FIRST_FD + (int)i;
		int flags = fcntl(fd, F_GETFD);

		if (flags < 0 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0) {
			refuse(error, "LISTEN_FDS", count_text,
			       "fewer descriptors than that are open");
			return NULL;
		}
	}
	/* Only now, so that a refusal closes nothing. */
	g_array_set_clear_func(fds, listen_fd_clear);
	for (guint64 i = 0; i < n; i++) {
		SdListenFd item = {
			.fd = FIRST_FD + (int)i,
			.name = g_strdup(names != NULL ? names[i] : "unknown"),
		};

		g_array_append_val(fds, item);
	}
	return g_steal_pointer(&fds);
}

GArray *sd_listen_take(GError **error)
{
	g_autofree char *pid_text = g_strdup(g_getenv("LISTEN_PID"));
	g_autofree char *count_text = g_strdup(g_getenv("LISTEN_FDS"));
	g_autofree char *names_text = g_strdup(g_getenv("LISTEN_FDNAMES"));

	for (guint i = 0; i < G_N_ELEMENTS(variables); i++)
		g_unsetenv(variables[i]);
	return take(pid_text, count_text, names_text, error);
}

static int get_int(int fd, int option)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 ? value : -1;
}

int sd_listen_steal(GArray *fds, const char *name, int type, GError **error)
{
	for (guint i = 0; i < fds->len; i++) {
		SdListenFd *item = &g_array_index(fds, SdListenFd, i);

		if (item->fd < 0 || strcmp(item->name, name) != 0)
			continue;
		if (get_int(item->fd, SO_DOMAIN) != AF_UNIX || get_int(item->fd, SO_TYPE) != type ||
		    get_int(item->fd, SO_ACCEPTCONN) != 1) {
			g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
				    "inherited socket \"%s\" (fd %d): must be a listening UNIX %s "
				    "socket",
				    name, item->fd,
				    type == SOCK_STREAM ? "stream" : "sequential-packet");
			return -1;
		}
		if (!g_unix_set_fd_nonblocking(item->fd, TRUE, error))
			return -1;
		return fd_steal(&item->fd);
	}
	return -1;
}
