/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon as a service manager and the rest of the system see it. */
#include "serve_fixture.h"

#include "util/peer_cred.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKEND "'qom-type': 'memory-backend-ram', 'id': 'b0', 'size': 4194304"
#define DEVICE  "'id': 'dev0', 'dc-regions': [{'size': 268435456}]"

/* ---- a manager ---- */

static int make_manager(void)
{
	g_autofree char *name = g_strdup_printf("@softdcd-service-%d", (int)getpid());
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path + 1, name + 1, strlen(name + 1));
	g_assert_cmpint(
		bind(sock, (const struct sockaddr *)&address,
		     (socklen_t)(G_STRUCT_OFFSET(struct sockaddr_un, sun_path) + strlen(name))),
		==, 0);
	g_setenv("NOTIFY_SOCKET", name, TRUE);
	return sock;
}

/* The next message but for those that ask for more time. Caller frees. */
static char *next_message(int manager)
{
	for (;;) {
		struct pollfd polled = { .fd = manager, .events = POLLIN };
		char text[4096];
		ssize_t got;

		g_assert_cmpint(poll(&polled, 1, WAIT_MS), ==, 1);
		got = recv(manager, text, sizeof(text) - 1, 0);
		g_assert_cmpint(got, >, 0);
		text[got] = '\0';
		if (!g_str_has_prefix(text, "EXTEND_TIMEOUT_USEC="))
			return g_strdup(text);
	}
}

static void expect_message(int manager, const char *beginning)
{
	g_autofree char *text = next_message(manager);

	g_test_message("%s", text);
	g_assert_true(g_str_has_prefix(text, beginning));
}

static void test_notify(void)
{
	int manager = make_manager();
	g_autoptr(Serve) serve = NULL;
	g_autofree char *name = g_strdup(g_getenv("NOTIFY_SOCKET"));

	serve = serve_new(); /* forgets the name */
	g_setenv("NOTIFY_SOCKET", name, TRUE);
	serve_write_config(serve, "");
	serve_start(serve, NULL);
	expect_message(manager, "READY=1");
	g_assert_cmpint(kill(serve->pid, SIGHUP), ==, 0);
	expect_message(manager, "RELOADING=1\nMONOTONIC_USEC=");
	expect_message(manager, "READY=1");
	serve_write_config(serve, "[nonsense]\n");
	g_assert_cmpint(kill(serve->pid, SIGHUP), ==, 0);
	expect_message(manager, "RELOADING=1\nMONOTONIC_USEC=");
	expect_message(manager, "READY=1\nSTATUS=configuration refused");
	g_assert_cmpint(serve_stop(serve), ==, 0);
	expect_message(manager, "STOPPING=1");
	g_unsetenv("NOTIFY_SOCKET");
	close(manager);
}

/* One that does not start never says that it is ready. */
static void test_notify_failed(void)
{
	int manager = make_manager();
	g_autofree char *name = g_strdup(g_getenv("NOTIFY_SOCKET"));
	g_autoptr(Serve) serve = serve_new();
	char text[4096];

	g_setenv("NOTIFY_SOCKET", name, TRUE);
	serve_write_config(serve, "[nonsense]\n");
	g_assert_cmpint(serve_fails(serve, NULL), ==, 1);
	serve_assert_said(serve, 0, "[nonsense]");
	for (;;) {
		ssize_t got = recv(manager, text, sizeof(text) - 1, MSG_DONTWAIT);

		if (got < 0)
			break;
		text[got] = '\0';
		g_assert_null(strstr(text, "READY=1"));
	}
	g_unsetenv("NOTIFY_SOCKET");
	close(manager);
}

/* ---- inherited sockets ---- */

/* As softdcd@.socket does it, at the daemon's own path. */
static int make_listener(const Serve *serve, int type)
{
	g_autofree char *path = g_build_filename(serve->runtime, "qmp.sock", NULL);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	g_assert_cmpint(g_mkdir_with_parents(serve->runtime, 0700), ==, 0);
	g_assert_cmpuint(g_strlcpy(address.sun_path, path, sizeof(address.sun_path)), <,
			 sizeof(address.sun_path));
	g_assert_cmpint(bind(sock, (const struct sockaddr *)&address, sizeof(address)), ==, 0);
	g_assert_cmpint(chmod(path, 0600), ==, 0);
	if (type != SOCK_DGRAM)
		g_assert_cmpint(listen(sock, 16), ==, 0);
	return sock;
}

/* The shell knows its pid, which is the daemon's then. */
static void spawn_with(Serve *serve, int listener)
{
	const char *script = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=qmp.sock "
			     "exec \"$SOFTDCD\" serve --name test 2>>\"$0\"";

	g_assert_cmpint(serve->pid, ==, 0);
	serve->pid = fork();
	g_assert_cmpint(serve->pid, >=, 0);
	if (serve->pid > 0)
		return;
	/* dup2() onto itself would leave close-on-exec set. */
	if (listener == 3 ? fcntl(3, F_SETFD, 0) != 0 : dup2(listener, 3) != 3)
		_exit(126);
	execl("/bin/sh", "sh", "-c", script, serve->log, NULL);
	_exit(127);
}

static void test_inherited(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autofree char *path = g_build_filename(serve->runtime, "qmp.sock", NULL);
	g_autofree char *descriptor = NULL;
	int listener = make_listener(serve, SOCK_STREAM);
	struct stat before, after;

	g_assert_cmpint(lstat(path, &before), ==, 0);
	spawn_with(serve, listener);
	g_assert_true(serve_connect(serve));
	g_assert_cmpuint(serve_count(serve, "query-devices", NULL), ==, 0);
	g_assert_cmpint(lstat(path, &after), ==, 0);
	g_assert_cmpuint(before.st_ino, ==, after.st_ino);
	g_assert_cmpint(serve_stop(serve), ==, 0);
	/* It is the manager's, who listens on. */
	g_assert_cmpint(lstat(path, &after), ==, 0);
	g_assert_cmpuint(before.st_ino, ==, after.st_ino);
	/* Somebody who listens there is not pushed aside by a daemon that has not inherited it. */
	descriptor = g_strdup_printf("already served by the process %d", (int)getpid());
	g_assert_cmpint(serve_fails(serve, NULL), ==, 1);
	serve_assert_said(serve, 0, descriptor);
	close(listener);
}

static void test_inherited_wrong(void)
{
	g_autoptr(Serve) serve = serve_new();
	int listener = make_listener(serve, SOCK_DGRAM);

	spawn_with(serve, listener);
	g_assert_cmpint(serve_wait_end(serve), ==, 1);
	serve_assert_said(serve, 0, "inherited socket \"qmp.sock\" (fd 3): must be a listening");
	close(listener);
}

/* ---- processes and files ---- */

static pid_t keeper_of(const Serve *serve)
{
	g_autofree char *path = g_build_filename(serve->runtime, "keeper.sock", NULL);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	PeerCred cred = { 0 };

	g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
	if (connect(sock, (const struct sockaddr *)&address, sizeof(address)) == 0)
		g_assert_cmpint(peer_cred_get(sock, &cred), ==, 0);
	close(sock);
	return cred.pid;
}

static void test_second_daemon(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autofree char *by = NULL;
	Serve second;

	serve_start(serve, NULL);
	by = g_strdup_printf("in use by the process %d", (int)serve->pid);
	second = *serve;
	second.pid = 0;
	second.qmp = NULL;
	g_assert_cmpint(serve_fails(&second, NULL), ==, 1);
	serve_assert_said(serve, 0, by);
	/* The first one has noticed nothing. */
	serve_do(serve, "object-add", BACKEND);
	g_assert_cmpint(serve_stop(serve), ==, 0);
}

static void test_keeper(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autofree char *path = NULL;
	g_autofree char *environment = NULL;
	JsonObject *backend;
	gsize len = 1;
	pid_t keeper;

	serve_start(serve, NULL);
	serve_do(serve, "object-add", BACKEND);
	keeper = keeper_of(serve);
	g_assert_cmpint(keeper, >, 0);
	g_assert_cmpint(getsid(keeper), !=, getsid(serve->pid));
	path = g_strdup_printf("/proc/%d/environ", (int)keeper);
	g_assert_true(g_file_get_contents(path, &environment, &len, NULL));
	g_assert_cmpuint(len, ==, 0);
	serve_kill(serve);
	serve_start(serve, NULL);
	g_assert_cmpint(keeper_of(serve), ==, keeper);
	backend = serve_first(serve, "query-backends", NULL);
	g_assert_false(json_object_get_boolean_member(backend, "contents-lost"));
	json_object_unref(backend);
	/* An orderly stop leaves it as long as it has something to hold. */
	g_assert_cmpint(serve_stop(serve), ==, 0);
	g_assert_cmpint(keeper_of(serve), ==, keeper);
	serve_start(serve, NULL);
	serve_do(serve, "object-del", "'id': 'b0'");
	g_assert_cmpint(serve_stop(serve), ==, 0);
	g_assert_cmpint(keeper_of(serve), ==, 0);
}

static pid_t told_keeper(Serve *serve)
{
	JsonNode *answer = serve_call(serve, "query-pool", NULL);
	JsonObject *keeper = json_object_get_object_member(json_node_get_object(answer), "keeper");
	pid_t pid = json_object_get_null_member(keeper, "pid")
			    ? 0
			    : (pid_t)json_object_get_int_member(keeper, "pid");

	json_node_unref(answer);
	return pid;
}

/* Until the daemon is connected to another keeper than this; its pid. */
static pid_t wait_for_keeper(Serve *serve, pid_t old)
{
	gint64 deadline = g_get_monotonic_time() + WAIT_US;
	pid_t pid;

	while ((pid = told_keeper(serve)) == 0 || pid == old) {
		g_assert_cmpint(g_get_monotonic_time(), <, deadline);
		g_usleep(1000);
	}
	return pid;
}

/* A daemon that has nothing to do makes its keeper's death good all the same. */
static void test_keeper_killed(void)
{
	g_autoptr(Serve) serve = serve_new();
	JsonObject *backend;
	pid_t keeper;

	serve_start(serve, NULL);
	serve_do(serve, "object-add", BACKEND);
	keeper = wait_for_keeper(serve, 0);
	for (unsigned i = 0; i < 3; i++) {
		g_assert_cmpint(keeper_of(serve), ==, keeper);
		g_assert_cmpint(kill(keeper, SIGKILL), ==, 0);
		keeper = wait_for_keeper(serve, keeper);
	}
	serve_kill(serve);
	serve_start(serve, NULL);
	g_assert_cmpint(keeper_of(serve), ==, keeper);
	g_assert_cmpuint(serve_count(serve, "query-backends", NULL), ==, 1);
	backend = serve_first(serve, "query-backends", NULL);
	g_assert_false(json_object_get_boolean_member(backend, "contents-lost"));
	json_object_unref(backend);
}

static unsigned mode_of(const Serve *serve, const char *name)
{
	g_autofree char *path = g_build_filename(serve->runtime, name, NULL);
	struct stat st;

	g_assert_cmpint(lstat(path, &st), ==, 0);
	return st.st_mode & 07777;
}

static void check_modes(const Serve *serve, unsigned dir, unsigned sockets)
{
	static const char *const names[] = { "qmp.sock", "dev0.vfio", "dev0.mem" };

	g_assert_cmpuint(mode_of(serve, "."), ==, dir);
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		g_assert_cmpuint(mode_of(serve, names[i]), ==, sockets);
	/* This one is nobody else's in any case. */
	g_assert_cmpuint(mode_of(serve, "keeper.sock"), ==, 0600);
	g_assert_cmpuint(mode_of(serve, "keeper.sock.lock"), ==, 0600);
	g_assert_cmpuint(mode_of(serve, "daemon.lock"), ==, 0600);
}

static void test_modes(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autofree char *group = g_strdup_printf("%u", (unsigned)getegid());
	mode_t saved = umask(0);

	serve_start(serve, NULL);
	serve_do(serve, "device-add", DEVICE);
	check_modes(serve, 0700, 0600);
	g_assert_cmpint(serve_stop(serve), ==, 0);
	serve_start(serve, "--group", group, NULL);
	check_modes(serve, 0750, 0660);
	g_assert_cmpint(serve_stop(serve), ==, 0);
	umask(saved);
	/* Its own sockets go with it. */
	for (unsigned i = 0; i < 2; i++) {
		g_autofree char *path = g_build_filename(serve->runtime,
							 i ? "dev0.vfio" : "qmp.sock", NULL);

		g_assert_cmpint(access(path, F_OK), !=, 0);
	}
	g_assert_cmpint(serve_fails(serve, "--group", "no-such-group", NULL), ==, 1);
	serve_assert_said(serve, 0, "no-such-group");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/serve-service/notify", test_notify);
	g_test_add_func("/protocol/serve-service/notify-failed", test_notify_failed);
	g_test_add_func("/protocol/serve-service/inherited", test_inherited);
	g_test_add_func("/protocol/serve-service/inherited-wrong", test_inherited_wrong);
	g_test_add_func("/protocol/serve-service/second-daemon", test_second_daemon);
	g_test_add_func("/protocol/serve-service/keeper", test_keeper);
	g_test_add_func("/protocol/serve-service/keeper-killed", test_keeper_killed);
	g_test_add_func("/protocol/serve-service/modes", test_modes);
	return g_test_run();
}
