/* SPDX-License-Identifier: BSD-3-Clause */
/* Runtime directories and their sockets: who may have one, races, what a killed daemon leaves. */
#include "util/autofd.h"
#include "util/nofile.h"
#include "util/peer_cred.h"
#include "util/socket_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS 60000

typedef struct Fixture {
	char *base, *path;
	mode_t umask;
} Fixture;

static void setup(Fixture *fix, gconstpointer data)
{
	g_autoptr(GError) error = NULL;

	fix->base = g_dir_make_tmp("softdcd-dir-XXXXXX", &error);
	g_assert_no_error(error);
	fix->path = g_build_filename(fix->base, "run", "softdcd", "pool", NULL);
	fix->umask = umask(0); /* modes are not left to it */
}

static void remove_tree(const char *path)
{
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	const char *name;

	while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
		g_autofree char *child = g_build_filename(path, name, NULL);

		if (g_file_test(child, G_FILE_TEST_IS_DIR) &&
		    !g_file_test(child, G_FILE_TEST_IS_SYMLINK))
			remove_tree(child);
		else
			g_assert_cmpint(unlink(child), ==, 0);
	}
	g_assert_cmpint(rmdir(path), ==, 0);
}

static void teardown(Fixture *fix, gconstpointer data)
{
	umask(fix->umask);
	remove_tree(fix->base);
	g_free(fix->base);
	g_free(fix->path);
}

static SocketDir *open_dir(const Fixture *fix)
{
	g_autoptr(GError) error = NULL;
	SocketDir *dir = socket_dir_open(fix->path, NULL, &error);

	g_assert_no_error(error);
	return dir;
}

static int listen_on(SocketDir *dir, const char *name)
{
	g_autoptr(GError) error = NULL;
	int fd = socket_dir_listen(dir, name, SOCK_STREAM, &error);

	g_assert_no_error(error);
	return fd;
}

static unsigned mode_of(const char *dir, const char *name)
{
	g_autofree char *path = g_build_filename(dir, name, NULL);
	struct stat st;

	g_assert_cmpint(lstat(path, &st), ==, 0);
	return st.st_mode & 07777;
}

static bool exists(const Fixture *fix, const char *name)
{
	g_autofree char *path = g_build_filename(fix->path, name, NULL);
	struct stat st;

	return lstat(path, &st) == 0;
}

static int connect_to(const Fixture *fix, const char *name, int type)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	g_autofree char *path = g_build_filename(fix->path, name, NULL);
	AUTOFD int sock = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
	if (connect(sock, (const struct sockaddr *)&address, sizeof(address)) != 0)
		return -errno;
	return fd_steal(&sock);
}

static void expect_refused(const char *path, const char *group, const char *rule)
{
	g_autoptr(GError) error = NULL;

	g_assert_null(socket_dir_open(path, group, &error));
	g_assert_nonnull(error);
	g_test_message("%s", error->message);
	g_assert_nonnull(strstr(error->message, rule));
}

static void test_create(Fixture *fix, gconstpointer data)
{
	g_autofree char *parent = g_path_get_dirname(fix->path);
	SocketDir *dir = open_dir(fix);
	int fd = listen_on(dir, "qmp.sock");
	int packets = socket_dir_listen(dir, "dev0.mem", SOCK_SEQPACKET, NULL);
	int client;

	g_assert_cmpint(packets, >=, 0);
	g_assert_cmpstr(socket_dir_path(dir), ==, fix->path);
	g_assert_cmpuint(mode_of(fix->path, "."), ==, 0700);
	g_assert_cmpuint(mode_of(parent, "."), ==, 0755);
	g_assert_cmpuint(mode_of(fix->path, "qmp.sock"), ==, 0600);
	g_assert_cmpuint(mode_of(fix->path, "dev0.mem"), ==, 0600);
	g_assert_cmpint(fcntl(fd, F_GETFD) & FD_CLOEXEC, !=, 0);
	g_assert_cmpint(fcntl(fd, F_GETFL) & O_NONBLOCK, !=, 0);
	client = connect_to(fix, "qmp.sock", SOCK_STREAM);
	g_assert_cmpint(client, >=, 0);
	close(client);
	socket_dir_unlink(dir, "dev0.mem");
	g_assert_false(exists(fix, "dev0.mem"));
	g_assert_true(exists(fix, "qmp.sock"));
	socket_dir_unlink(dir, "nothing");
	socket_dir_free(dir);
	g_assert_false(exists(fix, "qmp.sock"));
	close(packets);
	close(fd);
	/* And again in the same directory. */
	dir = open_dir(fix);
	close(listen_on(dir, "qmp.sock"));
	socket_dir_free(dir);
}

static void test_group(Fixture *fix, gconstpointer data)
{
	g_autofree char *group = g_strdup_printf("%u", (unsigned)getegid());
	g_autofree char *path = g_build_filename(fix->path, "qmp.sock", NULL);
	g_autoptr(GError) error = NULL;
	SocketDir *dir;
	struct stat st;

	if (geteuid() == 0)
		strcpy(group = g_realloc(group, 8), "65534");
	dir = socket_dir_open(fix->path, group, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(mode_of(fix->path, "."), ==, 0750);
	close(listen_on(dir, "qmp.sock"));
	g_assert_cmpuint(mode_of(fix->path, "qmp.sock"), ==, 0660);
	g_assert_cmpint(stat(path, &st), ==, 0);
	g_assert_cmpuint(st.st_gid, ==, (unsigned)g_ascii_strtoull(group, NULL, 10));
	socket_dir_free(dir);

	expect_refused(fix->path, "no-such-group", "group \"no-such-group\": there is none");
	expect_refused(fix->path, "-1", "group \"-1\": there is none");
	/* Without a group it is the owner's alone again. */
	dir = open_dir(fix);
	g_assert_cmpuint(mode_of(fix->path, "."), ==, 0700);
	socket_dir_free(dir);
}

static void test_untrusted(Fixture *fix, gconstpointer data)
{
	g_autofree char *parent = g_path_get_dirname(fix->path);
	g_autofree char *elsewhere = g_build_filename(fix->base, "elsewhere", NULL);

	socket_dir_free(open_dir(fix));
	g_assert_cmpint(chmod(fix->path, 0770), ==, 0);
	expect_refused(fix->path, NULL, "chmod go-w");
	g_assert_cmpint(chmod(fix->path, 0700), ==, 0);
	g_assert_cmpint(chmod(parent, 0777), ==, 0);
	expect_refused(fix->path, NULL, "must not be writable for others");
	g_assert_cmpint(chmod(parent, 01777), ==, 0); /* as /tmp is */
	socket_dir_free(open_dir(fix));
	if (geteuid() == 0) {
		g_assert_cmpint(chown(fix->path, 65534, 65534), ==, 0);
		expect_refused(fix->path, NULL, "must belong to the user of the pool");
		g_assert_cmpint(chown(fix->path, 0, 0), ==, 0);
		g_assert_cmpint(chown(parent, 65534, 65534), ==, 0);
		expect_refused(fix->path, NULL, "must belong to root or");
		g_assert_cmpint(chown(parent, 0, 0), ==, 0);
	}
	g_assert_cmpint(rename(fix->path, elsewhere), ==, 0);
	g_assert_cmpint(symlink(elsewhere, fix->path), ==, 0);
	expect_refused(fix->path, NULL, "symbolic link");
	g_assert_false(state_dir_make(fix->path, NULL));
	g_assert_cmpint(unlink(fix->path), ==, 0);
	g_assert_true(g_file_set_contents(fix->path, "", 0, NULL));
	expect_refused(fix->path, NULL, "must be a directory");
	expect_refused("run/pool", NULL, "absolute");
	g_assert_cmpint(unlink(fix->path), ==, 0);
	g_assert_true(state_dir_make(fix->path, NULL));
	g_assert_true(state_dir_make(fix->path, NULL));
	g_assert_cmpuint(mode_of(fix->path, "."), ==, 0700);
}

static void test_names(Fixture *fix, gconstpointer data)
{
	static const char *const bad[] = { "",    ".",     "..",       ".hidden", "a/b", "a b",
					   "a\n", "-flag", "\xc3\xa4", "a:b",     "../x" };
	g_autofree char *longest = g_strnfill(POOL_NAME_MAX, 'x');
	g_autofree char *longer = g_strnfill(POOL_NAME_MAX + 1, 'x');
	g_autoptr(GError) error = NULL;
	SocketDir *dir = open_dir(fix);

	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_assert_false(pool_name_check("pool", bad[i], NULL));
		g_assert_cmpint(socket_dir_listen(dir, bad[i], SOCK_STREAM, NULL), ==, -1);
		g_assert_null(socket_dir_default_path(bad[i], NULL));
		g_assert_null(state_dir_default_path(bad[i], NULL));
		g_assert_null(socket_dir_find(bad[i], NULL));
	}
	g_assert_true(pool_name_check("pool", longest, NULL));
	g_assert_true(pool_name_check("pool", "A-z_0.9", NULL));
	g_assert_false(pool_name_check("device", longer, &error));
	g_assert_nonnull(strstr(error->message, "device \"xxxx"));
	g_assert_nonnull(strstr(error->message, "1 to 64"));
	socket_dir_free(dir);
}

static void test_long_path(Fixture *fix, gconstpointer data)
{
	g_autofree char *deep = g_build_filename(fix->base,
						 "0123456789012345678901234567890123456789",
						 "0123456789012345678901234567890123456789", NULL);
	g_autoptr(GError) error = NULL;
	SocketDir *dir = socket_dir_open(deep, NULL, &error);
	g_autofree char *name = NULL;
	int fd;

	g_assert_no_error(error);
	/* As long as it may be, then one byte more. */
	name = g_strnfill(107 - strlen(deep) - 1, 'n');
	fd = listen_on(dir, name);
	close(fd);
	name = g_realloc(name, strlen(name) + 2);
	strcat(name, "n");
	g_assert_cmpint(socket_dir_listen(dir, name, SOCK_STREAM, &error), ==, -1);
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_FILENAME_TOO_LONG);
	g_assert_nonnull(strstr(error->message, "at most 107"));
	socket_dir_free(dir);
}

/* What a killed daemon leaves is replaced; what somebody serves, of any type, is not. */
static void test_in_the_way(Fixture *fix, gconstpointer data)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };
	g_autofree char *me = g_strdup_printf("already served by the process %d", (int)getpid());
	g_autofree char *path = g_build_filename(fix->path, "qmp.sock", NULL);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	SocketDir *dir = open_dir(fix);

	g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
	for (unsigned i = 0; i < G_N_ELEMENTS(types); i++) {
		bool answers = types[i] != SOCK_DGRAM; /* has credentials of who listens */
		g_autoptr(GError) error = NULL;
		int other = socket(AF_UNIX, types[i] | SOCK_CLOEXEC, 0);
		int fd;

		g_assert_cmpint(bind(other, (const struct sockaddr *)&address, sizeof(address)), ==,
				0);
		if (answers)
			g_assert_cmpint(listen(other, 1), ==, 0);
		g_assert_cmpint(socket_dir_listen(dir, "qmp.sock", SOCK_STREAM, &error), ==, -1);
		g_assert_error(error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE);
		g_assert_nonnull(strstr(error->message, answers ? me : "another process"));
		g_assert_true(exists(fix, "qmp.sock"));
		close(other);
		fd = listen_on(dir, "qmp.sock");
		close(fd);
		socket_dir_unlink(dir, "qmp.sock");
	}
	g_assert_true(g_file_set_contents(path, "x", 1, NULL));
	{
		g_autoptr(GError) error = NULL;

		g_assert_cmpint(socket_dir_listen(dir, "qmp.sock", SOCK_STREAM, &error), ==, -1);
		g_assert_nonnull(strstr(error->message, "no socket is in the way"));
	}
	socket_dir_free(dir);
	g_assert_true(exists(fix, "qmp.sock"));
}

/* One whose queue of connections is full is alive too. */
static void test_busy_server(Fixture *fix, gconstpointer data)
{
	g_autofree char *path = g_build_filename(fix->path, "qmp.sock", NULL);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	SocketDir *dir = open_dir(fix);
	g_autoptr(GError) error = NULL;
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int clients[16];
	unsigned n = 0;

	g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
	g_assert_cmpint(bind(server, (const struct sockaddr *)&address, sizeof(address)), ==, 0);
	g_assert_cmpint(listen(server, 0), ==, 0);
	while (n < G_N_ELEMENTS(clients)) {
		clients[n] = connect_to(fix, "qmp.sock", SOCK_STREAM | SOCK_NONBLOCK);
		if (clients[n] < 0)
			break;
		n++;
	}
	g_assert_cmpuint(n, <, G_N_ELEMENTS(clients));
	g_assert_cmpint(socket_dir_listen(dir, "qmp.sock", SOCK_STREAM, &error), ==, -1);
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE);
	while (n > 0)
		close(clients[--n]);
	close(server);
	socket_dir_free(dir);
	unlink(path);
}

/* A socket that is no longer ours is not ours to remove. */
static void test_replaced(Fixture *fix, gconstpointer data)
{
	g_autofree char *path = g_build_filename(fix->path, "qmp.sock", NULL);
	SocketDir *dir = open_dir(fix);
	int fd = listen_on(dir, "qmp.sock");

	g_assert_cmpint(unlink(path), ==, 0);
	g_assert_true(g_file_set_contents(path, "x", 1, NULL));
	socket_dir_unlink(dir, "qmp.sock");
	socket_dir_free(dir);
	g_assert_true(exists(fix, "qmp.sock"));
	close(fd);
}

/* In a child: opens and listens, says how it went, and stays until it is killed. */
static pid_t start_daemon(const Fixture *fix, int go_fd, int said_fd)
{
	pid_t pid = fork();
	char said = 'n';
	SocketDir *dir;

	g_assert_cmpint(pid, >=, 0);
	if (pid > 0)
		return pid;
	if (go_fd >= 0) {
		struct pollfd polled = { .fd = go_fd, .events = POLLIN };

		poll(&polled, 1, WAIT_MS);
	}
	dir = socket_dir_open(fix->path, NULL, NULL);
	if (dir != NULL)
		said = socket_dir_listen(dir, "qmp.sock", SOCK_STREAM, NULL) >= 0 ? 'y' : 'l';
	if (write(said_fd, &said, 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static char read_said(int fd)
{
	struct pollfd polled = { .fd = fd, .events = POLLIN };
	char said;

	g_assert_cmpint(poll(&polled, 1, WAIT_MS), ==, 1);
	g_assert_cmpint(read(fd, &said, 1), ==, 1);
	return said;
}

static void kill_and_wait(pid_t pid)
{
	g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
	g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
}

static void test_second_daemon(Fixture *fix, gconstpointer data)
{
	g_autofree char *by = NULL;
	SocketDir *dir;
	int ends[2], fd;
	pid_t pid;

	g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
	pid = start_daemon(fix, -1, ends[1]);
	g_assert_cmpint(read_said(ends[0]), ==, 'y');
	by = g_strdup_printf("in use by the process %d", (int)pid);
	expect_refused(fix->path, "0", by);
	g_assert_cmpuint(mode_of(fix->path, "."), ==, 0700); /* the group was not for us to set */
	kill_and_wait(pid);
	g_assert_true(exists(fix, "qmp.sock"));
	dir = open_dir(fix);
	fd = listen_on(dir, "qmp.sock");
	close(fd);
	socket_dir_free(dir);
	close(ends[0]);
	close(ends[1]);
}

/* Started at once, over a stale socket: one gets it, at every try, and it can be reached. */
static void test_race(Fixture *fix, gconstpointer data)
{
	for (unsigned round = 0; round < 50; round++) {
		unsigned n_yes = 0;
		pid_t pids[4];
		int go[2], said[2], client;

		g_assert_cmpint(pipe2(go, O_CLOEXEC), ==, 0);
		g_assert_cmpint(pipe2(said, O_CLOEXEC), ==, 0);
		for (unsigned i = 0; i < G_N_ELEMENTS(pids); i++)
			pids[i] = start_daemon(fix, go[0], said[1]);
		g_assert_cmpint(write(go[1], "g", 1), ==, 1);
		for (unsigned i = 0; i < G_N_ELEMENTS(pids); i++) {
			char answer = read_said(said[0]);

			g_assert_cmpint(answer, !=, 'l');
			n_yes += answer == 'y';
		}
		g_assert_cmpuint(n_yes, ==, 1);
		client = connect_to(fix, "qmp.sock", SOCK_STREAM);
		g_assert_cmpint(client, >=, 0);
		close(client);
		for (unsigned i = 0; i < G_N_ELEMENTS(pids); i++)
			kill_and_wait(pids[i]);
		for (unsigned i = 0; i < 2; i++) {
			close(go[i]);
			close(said[i]);
		}
	}
}

static void test_default_paths(Fixture *fix, gconstpointer data)
{
	g_autofree char *xdg = g_build_filename(fix->base, "run", NULL);
	g_autofree char *path = NULL;
	g_autofree char *given = NULL;
	g_autofree char *state = NULL;
	g_autofree char *relative = NULL;
	g_autofree char *found = NULL;
	g_autofree char *list = g_strdup_printf("/run/other:%s/services/pool", fix->base);
	g_autofree char *in_services = g_build_filename(fix->base, "services", "pool", NULL);
	SocketDir *dir;
	int fd;

	g_unsetenv("RUNTIME_DIRECTORY");
	g_unsetenv("STATE_DIRECTORY");
	g_setenv("XDG_RUNTIME_DIR", xdg, TRUE);
	g_setenv("XDG_STATE_HOME", xdg, TRUE);
	path = socket_dir_default_path("pool", NULL);
	g_assert_cmpstr(path, ==, fix->path);
	state = state_dir_default_path("pool", NULL);
	g_assert_cmpstr(state, ==, fix->path);
	/* The pool's name is what says that a service's directory is meant for it. */
	g_setenv("RUNTIME_DIRECTORY", list, TRUE);
	g_setenv("STATE_DIRECTORY", list, TRUE);
	given = socket_dir_default_path("pool", NULL);
	g_assert_cmpstr(given, ==, in_services);
	g_free(given);
	given = state_dir_default_path("pool", NULL);
	g_assert_cmpstr(given, ==, in_services);
	g_free(given);
	given = socket_dir_default_path("pool2", NULL);
	g_assert_true(g_str_has_suffix(given, "/run/softdcd/pool2"));
	g_unsetenv("RUNTIME_DIRECTORY");
	g_unsetenv("STATE_DIRECTORY");

	dir = open_dir(fix);
	fd = listen_on(dir, "qmp.sock");
	found = socket_dir_find("pool", NULL);
	g_assert_cmpstr(found, ==, fix->path);
	close(fd);
	socket_dir_free(dir);

	g_setenv("XDG_RUNTIME_DIR", "relative", TRUE);
	relative = socket_dir_default_path("pool", NULL);
	if (geteuid() == 0)
		g_assert_cmpstr(relative, ==, "/run/softdcd/pool");
	else
		g_assert_null(relative);
	g_free(found);
	found = socket_dir_find("pool", NULL);
	g_assert_cmpstr(found, ==, "/run/softdcd/pool");
	g_unsetenv("XDG_RUNTIME_DIR");
	g_unsetenv("XDG_STATE_HOME");
}

static void test_peer_cred(Fixture *fix, gconstpointer data)
{
	SocketDir *dir = open_dir(fix);
	int listener = listen_on(dir, "qmp.sock");
	struct pollfd polled;
	PeerCred cred;
	int ends[2], sock, pidfd;
	pid_t pid;

	g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
	pid = fork();
	g_assert_cmpint(pid, >=, 0);
	if (pid == 0) {
		char byte;

		close(ends[1]);
		if (geteuid() == 0 && setegid(65534) != 0)
			_exit(1);
		if (connect_to(fix, "qmp.sock", SOCK_STREAM) < 0)
			_exit(2);
		_exit(read(ends[0], &byte, 1) == 0 ? 0 : 3);
	}
	polled = (struct pollfd){ .fd = listener, .events = POLLIN };
	g_assert_cmpint(poll(&polled, 1, WAIT_MS), ==, 1);
	sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	g_assert_cmpint(peer_cred_get(sock, &cred), ==, 0);
	g_assert_cmpint(cred.pid, ==, pid);
	g_assert_cmpuint(cred.uid, ==, geteuid());
	g_assert_cmpuint(cred.gid, ==, geteuid() == 0 ? 65534 : getegid());
	g_assert_true(peer_cred_is_trusted(&cred));
	cred.uid = geteuid() + 1;
	g_assert_false(peer_cred_is_trusted(&cred));
	pidfd = peer_cred_pidfd(sock);
	close(ends[1]);
	if (pidfd >= 0) {
		polled = (struct pollfd){ .fd = pidfd, .events = POLLIN };
		g_assert_cmpint(fcntl(pidfd, F_GETFD) & FD_CLOEXEC, !=, 0);
		g_assert_cmpint(poll(&polled, 1, WAIT_MS), ==, 1);
		close(pidfd);
	} else {
		g_assert_cmpint(pidfd, ==, -ENOPROTOOPT);
	}
	g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
	g_assert_cmpint(peer_cred_get(ends[0], &cred), ==, -ENOTSOCK);
	g_assert_cmpint(peer_cred_pidfd(ends[0]), ==, -ENOTSOCK);
	close(ends[0]);
	close(sock);
	close(listener);
	socket_dir_free(dir);
}

static void test_nofile(Fixture *fix, gconstpointer data)
{
	struct rlimit before, after;
	uint64_t limit;

	g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &before), ==, 0);
	limit = nofile_raise(16);
	g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &after), ==, 0);
	g_assert_cmpuint(limit, ==, after.rlim_cur);
	g_assert_cmpuint(after.rlim_cur, ==, before.rlim_max);
	g_assert_cmpuint(after.rlim_max, ==, before.rlim_max);
	g_assert_cmpuint(nofile_raise(UINT64_MAX), >=, limit);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(Fixture *fix, gconstpointer data);
	} cases[] = {
		{ "create", test_create },
		{ "group", test_group },
		{ "untrusted", test_untrusted },
		{ "names", test_names },
		{ "long-path", test_long_path },
		{ "in-the-way", test_in_the_way },
		{ "busy-server", test_busy_server },
		{ "replaced", test_replaced },
		{ "second-daemon", test_second_daemon },
		{ "race", test_race },
		{ "default-paths", test_default_paths },
		{ "peer-cred", test_peer_cred },
		{ "nofile", test_nofile },
	};

	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *path = g_strdup_printf("/protocol/socket-dir/%s", cases[i].name);

		g_test_add(path, Fixture, NULL, setup, cases[i].run, teardown);
	}
	return g_test_run();
}
