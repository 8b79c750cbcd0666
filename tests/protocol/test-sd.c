/* SPDX-License-Identifier: BSD-3-Clause */
/* What is told to systemd and what is taken from it, over real sockets. */
#include "util/autofd.h"
#include "util/sd_listen.h"
#include "util/sd_notify.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A manager's socket at PATH, or at an abstract name if it begins with "@". */
static int make_manager(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t len = strlen(path);
	int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	g_assert_cmpuint(len, <=, sizeof(address.sun_path));
	memcpy(address.sun_path, path, len);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	g_assert_cmpint(bind(sock, (const struct sockaddr *)&address,
			     (socklen_t)(G_STRUCT_OFFSET(struct sockaddr_un, sun_path) + len)),
			==, 0);
	g_setenv("NOTIFY_SOCKET", path, TRUE);
	return sock;
}

static char *receive(int manager)
{
	char text[4096];
	ssize_t got = recv(manager, text, sizeof(text), 0);

	g_assert_cmpint(got, >, 0);
	return g_strndup(text, (size_t)got);
}

static void expect(int manager, int rc, const char *state)
{
	g_autofree char *text = NULL;

	g_assert_cmpint(rc, ==, 1);
	text = receive(manager);
	g_assert_cmpstr(text, ==, state);
}

static void check_messages(int manager)
{
	g_autofree char *long_text = g_strnfill(5000, 'x');
	g_autofree char *text = NULL;
	guint64 us = 0, now = (guint64)g_get_monotonic_time();

	expect(manager, sd_notify_ready(NULL), "READY=1");
	expect(manager, sd_notify_ready("3 devices"), "READY=1\nSTATUS=3 devices");
	expect(manager, sd_notify_status("%u of %s", 7u, "dev0"), "STATUS=7 of dev0");
	/* Nobody's name makes two assignments of one. */
	expect(manager, sd_notify_status("%s", "a\nMAINPID=1\rb"), "STATUS=a MAINPID=1 b");
	expect(manager, sd_notify_ready("a\nb"), "READY=1\nSTATUS=a b");
	expect(manager, sd_notify_stopping(), "STOPPING=1");
	expect(manager, sd_notify_main_pid(4711), "MAINPID=4711");
	expect(manager, sd_notify_extend_timeout(5000000), "EXTEND_TIMEOUT_USEC=5000000");
	g_assert_cmpint(sd_notify_status("%s", long_text), ==, 1);
	text = receive(manager);
	g_assert_cmpuint(strlen(text), <, 1024);
	g_free(text);
	g_assert_cmpint(sd_notify_reloading(), ==, 1);
	text = receive(manager);
	g_assert_cmpint(sscanf(text, "RELOADING=1\nMONOTONIC_USEC=%" G_GUINT64_FORMAT, &us), ==, 1);
	g_assert_cmpuint(us, >=, now);
	g_assert_cmpuint(us, <=, (guint64)g_get_monotonic_time());
}

static void test_notify(void)
{
	g_autofree char *dir = g_dir_make_tmp("softdcd-sd-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(dir, "notify", NULL);
	g_autofree char *abstract = g_strdup_printf("@softdcd-test-%d", (int)getpid());
	AUTOFD int by_path = make_manager(path);
	AUTOFD int by_name = -EBADF;

	check_messages(by_path);
	by_name = make_manager(abstract);
	check_messages(by_name);
	g_unsetenv("NOTIFY_SOCKET");
	unlink(path);
	rmdir(dir);
}

static void test_notify_refused(void)
{
	g_autofree char *longest = g_strnfill(109, 'x');

	g_unsetenv("NOTIFY_SOCKET");
	g_assert_cmpint(sd_notify_ready("nobody asked"), ==, 0);
	g_setenv("NOTIFY_SOCKET", "", TRUE);
	g_assert_cmpint(sd_notify_ready("nobody asked"), ==, 0);
	g_setenv("NOTIFY_SOCKET", "/", TRUE);
	g_assert_cmpint(sd_notify_stopping(), ==, -EAFNOSUPPORT);
	g_setenv("NOTIFY_SOCKET", "vsock:2:1", TRUE);
	g_assert_cmpint(sd_notify_stopping(), ==, -EAFNOSUPPORT);
	longest[0] = '/';
	g_setenv("NOTIFY_SOCKET", longest, TRUE);
	g_assert_cmpint(sd_notify_stopping(), ==, -E2BIG);
	longest[108] = '\0';
	g_setenv("NOTIFY_SOCKET", longest, TRUE);
	g_assert_cmpint(sd_notify_stopping(), ==, -ENOENT);
	g_unsetenv("NOTIFY_SOCKET");
}

typedef struct ListenCase {
	const char *pid; /* "me" = the child's */
	const char *n, *names;
	unsigned n_open; /* sockets from descriptor 3 on */
	int n_taken;     /* -1 = refused */
	const char *rule;
} ListenCase;

static const ListenCase listen_cases[] = {
	{ NULL, NULL, NULL, 0, 0, NULL },
	{ "me", "2", "qmp:other", 2, 2, NULL },
	{ "me", "2", NULL, 2, 2, NULL },
	{ "me", "0", "", 0, 0, NULL },
	{ "1", "2", "qmp:other", 2, 0, NULL }, /* left in the environment, for another one */
	{ NULL, "2", "qmp:other", 2, 0, NULL },
	{ "me", NULL, NULL, 2, 0, NULL },
	{ "me", "2", "qmp", 2, -1, "one name for each" },
	{ "me", "1", "qmp:other", 2, -1, "one name for each" },
	{ "me", "3", NULL, 2, -1, "fewer descriptors" },
	{ "me", "257", NULL, 2, -1, "from 0 to 256" },
	{ "me", "-1", NULL, 2, -1, "from 0 to 256" },
	{ "me", "2x", NULL, 2, -1, "from 0 to 256" },
	{ "me", "18446744073709551617", NULL, 2, -1, "from 0 to 256" },
	{ "x", "2", NULL, 2, -1, "no process id" },
	{ "0", "2", NULL, 2, -1, "no process id" },
};

static void set_or_unset(const char *name, const char *value)
{
	if (value != NULL)
		g_setenv(name, value, TRUE);
	else
		g_unsetenv(name);
}

static void check_taken(GArray *fds, const ListenCase *c)
{
	g_assert_cmpuint(fds->len, ==, (unsigned)c->n_taken);
	for (unsigned i = 0; i < fds->len; i++) {
		SdListenFd *item = &g_array_index(fds, SdListenFd, i);
		const char *const names[] = { "qmp", "other" };

		g_assert_cmpint(item->fd, ==, 3 + (int)i);
		g_assert_cmpint(fcntl(item->fd, F_GETFD), ==, FD_CLOEXEC);
		g_assert_cmpstr(item->name, ==, c->names != NULL ? names[i] : "unknown");
	}
	g_array_unref(fds);
	for (int i = 0; i < c->n_taken; i++)
		g_assert_cmpint(fcntl(3 + i, F_GETFD), ==, -1);
}

/* In a child, whose descriptors 3 and up are to spare. */
static _Noreturn void run_listen_case(const ListenCase *c)
{
	g_autofree char *pid = g_strdup_printf("%d", (int)getpid());
	g_autoptr(GError) error = NULL;
	GArray *fds;

	close_range(3, ~0u, 0);
	for (unsigned i = 0; i < c->n_open; i++)
		g_assert_cmpint(socket(AF_UNIX, SOCK_STREAM, 0), ==, 3 + (int)i);
	set_or_unset("LISTEN_PID", g_strcmp0(c->pid, "me") == 0 ? pid : c->pid);
	set_or_unset("LISTEN_FDS", c->n);
	set_or_unset("LISTEN_FDNAMES", c->names);
	fds = sd_listen_take(&error);
	g_assert_null(g_getenv("LISTEN_PID"));
	g_assert_null(g_getenv("LISTEN_FDS"));
	g_assert_null(g_getenv("LISTEN_FDNAMES"));
	if (c->n_taken < 0) {
		g_assert_null(fds);
		g_assert_nonnull(strstr(error->message, c->rule));
		for (unsigned i = 0; i < c->n_open; i++)
			g_assert_cmpint(fcntl(3 + (int)i, F_GETFD), >=, 0);
	} else {
		g_assert_no_error(error);
		check_taken(fds, c);
	}
	_exit(0);
}

static void test_listen(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(listen_cases); i++) {
		pid_t pid = fork();
		int status;

		g_assert_cmpint(pid, >=, 0);
		if (pid == 0)
			run_listen_case(&listen_cases[i]);
		g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
		if (status != 0)
			g_test_message("case %u", i);
		g_assert_cmpint(status, ==, 0);
	}
}

static void add(GArray *fds, const char *name, int fd)
{
	SdListenFd item = { .fd = fd, .name = g_strdup(name) };

	g_array_append_val(fds, item);
}

static void clear(void *data)
{
	SdListenFd *item = data;

	if (item->fd >= 0)
		close(item->fd);
	g_free(item->name);
}

static int make_socket(int domain, int type, bool listens)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int sock = socket(domain, type | SOCK_CLOEXEC, 0);

	g_assert_cmpint(sock, >=, 0);
	/* Only a family: the kernel chooses an abstract name. */
	if (listens && domain == AF_UNIX)
		g_assert_cmpint(bind(sock, (const struct sockaddr *)&address, sizeof(sa_family_t)),
				==, 0);
	if (listens)
		g_assert_cmpint(listen(sock, 1), ==, 0);
	return sock;
}

static void test_steal(void)
{
	static const char *const wrong[] = { "packets", "connected", "file" };
	g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(SdListenFd));
	g_autoptr(GError) error = NULL;
	int qmp = make_socket(AF_UNIX, SOCK_STREAM, true);
	int fd;

	g_array_set_clear_func(fds, clear);
	add(fds, "qmp", qmp);
	add(fds, "packets", make_socket(AF_UNIX, SOCK_SEQPACKET, true));
	add(fds, "connected", make_socket(AF_UNIX, SOCK_STREAM, false));
	add(fds, "file", open("/dev/null", O_RDONLY | O_CLOEXEC));
	g_assert_cmpint(sd_listen_steal(fds, "nothing", SOCK_STREAM, &error), ==, -1);
	g_assert_no_error(error);
	for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
		g_assert_cmpint(sd_listen_steal(fds, wrong[i], SOCK_STREAM, &error), ==, -1);
		g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
		g_assert_nonnull(strstr(error->message, wrong[i]));
		g_clear_error(&error);
	}
	fd = sd_listen_steal(fds, "qmp", SOCK_STREAM, &error);
	g_assert_no_error(error);
	g_assert_cmpint(fd, ==, qmp);
	g_assert_cmpint(fcntl(fd, F_GETFL) & O_NONBLOCK, !=, 0);
	/* Once. */
	g_assert_cmpint(sd_listen_steal(fds, "qmp", SOCK_STREAM, &error), ==, -1);
	g_assert_no_error(error);
	close(fd);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/sd/notify", test_notify);
	g_test_add_func("/protocol/sd/notify-refused", test_notify_refused);
	g_test_add_func("/protocol/sd/listen", test_listen);
	g_test_add_func("/protocol/sd/steal", test_steal);
	return g_test_run();
}
