/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon's control socket: who may use it, and what those who mean harm can do with it. */
#include "qmp_fixture.h"
#include "serve_fixture.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXECUTE(name) "{\"execute\": \"" name "\"}"
#define N_CONNECTS    10000
#define NOBODY        65534
#define SOME_GROUP    4242

/* ---- who may use it ---- */

/* What a process of another user sees: its connect()'s errno, or what is said first. */
typedef struct Seen {
	int error;
	char line[512];
} Seen;

static void look(const char *path, Seen *ret)
{
	int fd = raw_qmp_connect_path(path);

	ret->error = fd < 0 ? -fd : 0;
	if (fd >= 0 && recv(fd, ret->line, sizeof(ret->line) - 1, 0) < 0)
		ret->error = errno;
}

/* GROUP: also a member of this one; 0 = of none that matters. */
static Seen look_as_nobody(const char *path, gid_t group)
{
	Seen seen = { 0 };
	int fds[2];
	pid_t pid;

	g_assert_cmpint(pipe(fds), ==, 0);
	pid = fork();
	g_assert_cmpint(pid, >=, 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (setgroups(group ? 1 : 0, &group) || setgid(NOBODY) || setuid(NOBODY))
			_exit(1);
		look(path, &seen);
		_exit(write(fds[1], &seen, sizeof(seen)) == sizeof(seen) ? 0 : 1);
	}
	close(fds[1]);
	g_assert_cmpint(read(fds[0], &seen, sizeof(seen)), ==, sizeof(seen));
	close(fds[0]);
	waitpid(pid, NULL, 0);
	return seen;
}

static bool may_not_be_others(void)
{
	if (geteuid() == 0)
		return false;
	g_test_skip("only root can become another user");
	return true;
}

/* The way to the runtime directory, that is, not the directory itself. */
static void open_way(const Serve *serve)
{
	g_autofree char *parent = g_path_get_dirname(serve->runtime);

	for (;;) {
		g_autofree char *next = g_path_get_dirname(parent);

		g_assert_cmpint(g_chmod(parent, 0711), ==, 0);
		if (strcmp(parent, serve->dir) == 0)
			return;
		g_free(parent);
		parent = g_steal_pointer(&next);
	}
}

static void test_other_user(void)
{
	g_autoptr(Serve) serve = NULL;
	g_autofree char *path = NULL;
	Seen seen;

	if (may_not_be_others())
		return;
	serve = serve_new();
	path = g_build_filename(serve->runtime, "qmp.sock", NULL);
	serve_start(serve, NULL);
	open_way(serve);
	seen = look_as_nobody(path, 0);
	g_assert_cmpint(seen.error, ==, EACCES);
	g_assert_cmpint(g_chmod(serve->runtime, 0711), ==, 0);
	seen = look_as_nobody(path, 0);
	g_assert_cmpint(seen.error, ==, EACCES);
	/* Whatever became of the file's mode: the peer is asked for, too. */
	g_assert_cmpint(g_chmod(path, 0666), ==, 0);
	seen = look_as_nobody(path, SOME_GROUP);
	g_assert_cmpint(seen.error, ==, 0);
	g_assert_true(g_str_has_prefix(seen.line, "{\"error\": {\"class\": \"GenericError\""));
	g_assert_nonnull(strstr(seen.line, "uid 65534"));
	g_assert_cmpuint(serve_count(serve, "query-devices", NULL), ==, 0);
}

static void test_group(void)
{
	g_autoptr(Serve) serve = NULL;
	g_autofree char *path = NULL;
	Seen seen;

	if (may_not_be_others())
		return;
	serve = serve_new();
	path = g_build_filename(serve->runtime, "qmp.sock", NULL);
	serve_start(serve, "--group", G_STRINGIFY(SOME_GROUP), NULL);
	open_way(serve);
	seen = look_as_nobody(path, SOME_GROUP);
	g_assert_cmpint(seen.error, ==, 0);
	g_assert_true(g_str_has_prefix(seen.line, "{\"QMP\": "));
	seen = look_as_nobody(path, SOME_GROUP + 1);
	g_assert_cmpint(seen.error, ==, EACCES);
	seen = look_as_nobody(path, 0);
	g_assert_cmpint(seen.error, ==, EACCES);
}

/* ---- what they can do ---- */

typedef struct Usage {
	unsigned n_fds;
	uint64_t resident_len;
} Usage;

static Usage usage_of(const Serve *serve)
{
	g_autofree char *fd_path = g_strdup_printf("/proc/%d/fd", (int)serve->pid);
	g_autofree char *statm_path = g_strdup_printf("/proc/%d/statm", (int)serve->pid);
	g_autofree char *statm = NULL;
	GDir *dir = g_dir_open(fd_path, 0, NULL);
	unsigned long total, pages;
	Usage usage = { 0 };

	g_assert_nonnull(dir);
	while (g_dir_read_name(dir))
		usage.n_fds++;
	g_dir_close(dir);
	g_assert_true(g_file_get_contents(statm_path, &statm, NULL, NULL));
	g_assert_cmpint(sscanf(statm, "%lu %lu", &total, &pages), ==, 2);
	usage.resident_len = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
	return usage;
}

static void visit(const char *path, unsigned kind)
{
	g_autoptr(RawQmp) raw = raw_qmp_at(path);

	switch (kind % 6) {
	case 0:
		break;
	case 1:
		g_free(raw_qmp_line(raw));
		break;
	case 2:
		raw_qmp_send(raw, "{\"execute\": \"qmp_capab");
		break;
	case 3:
		raw_qmp_send(raw, EXECUTE("qmp_capabilities") EXECUTE("query-devices"));
		break;
	case 4:
		raw_qmp_send(raw, "rubbish\n");
		break;
	default:
		/* Something that takes its time, and nobody waits for. */
		raw_qmp_send(raw, EXECUTE("qmp_capabilities") "{\"execute\": \"object-del\", "
							      "\"arguments\": {\"id\": \"no\"}}");
		break;
	}
}

/* Until there are no more descriptors than N; others are closed when the daemon comes to it. */
static void wait_fds(const Serve *serve, unsigned n)
{
	gint64 until_us = g_get_monotonic_time() + WAIT_US;

	while (usage_of(serve).n_fds > n) {
		g_assert_cmpint(g_get_monotonic_time(), <, until_us);
		g_usleep(1000);
	}
}

static void test_connects(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autofree char *path = g_build_filename(serve->runtime, "qmp.sock", NULL);
	Usage before, warm = { 0 }, after;

	serve_start(serve, NULL);
	before = usage_of(serve);
	for (unsigned i = 0; i < N_CONNECTS; i++) {
		visit(path, i);
		if (i == N_CONNECTS / 5)
			warm = usage_of(serve);
	}
	wait_fds(serve, before.n_fds);
	after = usage_of(serve);
	g_test_message("resident: %" G_GUINT64_FORMAT " -> %" G_GUINT64_FORMAT " KiB",
		       warm.resident_len >> 10, after.resident_len >> 10);
	g_assert_cmpuint(after.n_fds, ==, before.n_fds);
#ifndef __SANITIZE_ADDRESS__ /* which keeps back what was freed */
	g_assert_cmpuint(after.resident_len, <, warm.resident_len + 2 * MIB);
#endif
	g_assert_cmpuint(serve_count(serve, "query-devices", NULL), ==, 0);
}

static void test_rubbish(void)
{
	static const struct {
		const char *input, *desc;
	} cases[] = {
		{ "rubbish\n", "invalid keyword" },
		{ "{]", "name of a member" },
		{ "{\"execute\": \"query-pool\",}", "name of a member" },
		{ "{\"execute\": \"\xff\"}", "UTF-8" },
		{ "\xff\xfe", "stray byte 0xff" },
		{ "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
		  "nesting depth" },
	};
	g_autoptr(Serve) serve = serve_new();
	g_autofree char *path = g_build_filename(serve->runtime, "qmp.sock", NULL);

	serve_start(serve, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(RawQmp) raw = raw_qmp_negotiated_at(path);

		raw_qmp_send(raw, cases[i].input);
		raw_qmp_expect_error(raw, "GenericError", cases[i].desc);
		raw_qmp_expect_closed(raw);
		g_assert_cmpuint(serve_count(serve, "query-devices", NULL), ==, 0);
	}
}

static void test_long_line(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autofree char *path = g_build_filename(serve->runtime, "qmp.sock", NULL);
	g_autofree char *chunk = g_strnfill(MIB, 'x');
	g_autoptr(RawQmp) raw = NULL;
	Usage before;
	unsigned n = 0;

	serve_start(serve, NULL);
	raw = raw_qmp_negotiated_at(path);
	before = usage_of(serve);
	raw_qmp_send(raw, "{\"execute\": \"");
	while (n < 100 && raw_qmp_send_len(raw, chunk, MIB))
		n++;
	g_assert_cmpuint(n, <, 100);
	raw_qmp_expect_error(raw, "GenericError", "longer than the limit of 1048576 bytes");
	raw_qmp_expect_closed(raw);
	g_assert_cmpuint(usage_of(serve).resident_len, <, before.resident_len + 16 * MIB);
	g_assert_cmpuint(serve_count(serve, "query-devices", NULL), ==, 0);
}

/* More of them than there are places, and none says a word: whoever has to do gets in. */
static void test_silent(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autofree char *path = g_build_filename(serve->runtime, "qmp.sock", NULL);
	gint64 until_us = g_get_monotonic_time() + WAIT_US;
	RawQmp *silent[70];

	serve_start(serve, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(silent); i++)
		silent[i] = raw_qmp_at(path);
	for (;;) {
		QmpClient *client = qmp_client_connect(path, WAIT_MS, NULL);

		if (client) {
			qmp_client_free(client);
			break;
		}
		g_assert_cmpint(g_get_monotonic_time(), <, until_us);
		g_usleep(10000);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(silent); i++)
		raw_qmp_free(silent[i]);
	g_assert_cmpuint(serve_count(serve, "query-devices", NULL), ==, 0);
}

/* It wants to know everything and reads nothing. */
static void test_slow_reader(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autofree char *path = g_build_filename(serve->runtime, "qmp.sock", NULL);
	g_autoptr(RawQmp) slow = NULL;
	Usage before;
	static const char request[] = EXECUTE("query-commands");
	char buf[65536];
	ssize_t got, sent;

	serve_start(serve, NULL);
	slow = raw_qmp_negotiated_at(path);
	before = usage_of(serve);
	/* Each answer is longer than its request: at some point neither is taken any more. */
	do {
		sent = send(slow->fd, request, strlen(request), MSG_DONTWAIT | MSG_NOSIGNAL);
		g_assert_true(sent > 0 || errno == EAGAIN);
		g_assert_cmpuint(serve_count(serve, "query-devices", NULL), ==, 0);
	} while (sent == (ssize_t)strlen(request));
	g_assert_cmpuint(usage_of(serve).resident_len, <, before.resident_len + 16 * MIB);
	for (unsigned i = 0; i < 100; i++)
		g_assert_cmpuint(serve_count(serve, "query-devices", NULL), ==, 0);
	shutdown(slow->fd, SHUT_WR);
	while ((got = recv(slow->fd, buf, sizeof(buf), 0)) > 0)
		;
	g_assert_cmpint(got, ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/serve-sockets/other-user", test_other_user);
	g_test_add_func("/protocol/serve-sockets/group", test_group);
	g_test_add_func("/protocol/serve-sockets/connects", test_connects);
	g_test_add_func("/protocol/serve-sockets/rubbish", test_rubbish);
	g_test_add_func("/protocol/serve-sockets/long-line", test_long_line);
	g_test_add_func("/protocol/serve-sockets/silent", test_silent);
	g_test_add_func("/protocol/serve-sockets/slow-reader", test_slow_reader);
	return g_test_run();
}
