/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon ends and comes back: what is kept, what is told, and when it refuses to start. */
#include "link/vfu_client.h"
#include "serve_fixture.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534
#define DEVICE "'path': 'dev0', 'host-id': 0, 'region': 0"

/* A device and a backend made by QMP, with an accepted extent. */
static ServeHost *set_up(Serve *serve)
{
	ServeHost *host;

	serve_start(serve, NULL);
	serve_do(serve, "device-add",
		 "'id': 'dev0', 'dc-regions': [{'size': 268435456}], 'hold': 'off', 'serial': 77");
	serve_do(serve, "object-add",
		 "'qom-type': 'memory-backend-ram', 'id': 'mem0', 'size': 4194304, 'tag': '" TAG_A
		 "'");
	host = serve_host(serve, "dev0", "--check", "1", NULL);
	serve_do(serve, "cxl-add-dynamic-capacity",
		 DEVICE ", 'selection-policy': 'prescriptive', 'tag': '" TAG_A
			"', 'extents': [{'offset': 4194304, 'len': 2097152}, "
			"{'offset': 0, 'len': 2097152}]");
	serve_host_pass(host, "accepted");
	serve_pass_event(serve, "CAPACITY_ACCEPTED");
	serve_pass_event(serve, "CAPACITY_ACCEPTED");
	return host;
}

static char *query(Serve *serve, const char *command)
{
	g_autoptr(JsonNode) node = serve_call(serve, command, NULL);

	return json_to_string(node, FALSE);
}

static char *contents(Serve *serve)
{
	g_autofree char *extents = query(serve, "query-extents");
	g_autofree char *backends = query(serve, "query-backends");
	g_autoptr(JsonObject) device = serve_first(serve, "query-devices", NULL);

	return g_strdup_printf("%s %s %" G_GINT64_FORMAT " %" G_GINT64_FORMAT, extents, backends,
			       json_object_get_int_member(device, "generation"),
			       json_object_get_int_member(device, "serial"));
}

static void release_and_end(Serve *serve, ServeHost *host)
{
	serve_do(serve, "cxl-release-dynamic-capacity",
		 DEVICE ", 'removal-policy': 'tag-based', 'tag': '" TAG_A "'");
	serve_host_pass(host, "released");
	serve_wait_backend(serve, "mem0", "free");
	g_assert_cmpint(serve_host_end(host, SIGTERM), ==, 0);
	serve_do(serve, "device-del", "'id': 'dev0', 'force': true");
	serve_do(serve, "object-del", "'id': 'mem0'");
	g_assert_cmpint(serve_stop(serve), ==, 0);
}

static void test_keeps(gconstpointer data)
{
	bool by_force = GPOINTER_TO_INT(data);
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(ServeHost) host = set_up(serve);
	g_autofree char *before = contents(serve), *after = NULL;

	if (by_force)
		serve_kill(serve);
	else
		g_assert_cmpint(serve_stop(serve), ==, 0);
	serve_host_pass(host, "reconnecting");
	serve_start(serve, NULL);
	serve_host_pass(host, "resumed");
	after = contents(serve);
	g_assert_cmpstr(before, ==, after);
	release_and_end(serve, host);
}

/* The host ends while the daemon is away: what it accepted stays, its memory may not be reached. */
static void test_host_ends_meanwhile(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(ServeHost) first = set_up(serve), second = NULL;
	g_autoptr(JsonObject) recovered = NULL;

	serve_kill(serve);
	serve_host_end(first, SIGKILL);
	serve_start(serve, NULL);
	g_assert_cmpuint(serve_count(serve, "query-extents", NULL), ==, 2);
	second = serve_host(serve, "dev0", "--check", "1", NULL);
	recovered = serve_host_event(second, "accepted");
	g_assert_nonnull(recovered);
	g_assert_true(json_object_get_boolean_member(recovered, "recovered"));
	release_and_end(serve, second);
}

/* Daemon and keeper are gone, and with them the contents: said, and nothing old handed out. */
static void test_contents_lost(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(ServeHost) host = set_up(serve);
	g_autoptr(JsonObject) backend = NULL, lost = NULL;
	size_t said = serve_log_len(serve);

	serve_kill(serve);
	serve_end_keeper(serve);
	serve_start(serve, NULL);
	serve_assert_said(serve, said, "contents of backend mem0 are lost");
	backend = serve_first(serve, "query-backends", NULL);
	g_assert_true(json_object_get_boolean_member(backend, "contents-lost"));
	lost = serve_host_event(host, "lost");
	g_assert_nonnull(lost);
	serve_wait_backend(serve, "mem0", "free");
	g_assert_cmpint(serve_host_end(host, SIGTERM), ==, 0);
	serve_do(serve, "device-del", "'id': 'dev0', 'force': true");
	serve_do(serve, "object-del", "'id': 'mem0'");
}

/* Nothing of an ephemeral pool is left, not even a file. */
static void test_ephemeral(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autofree char *said = NULL;

	serve_start(serve, "--ephemeral", NULL);
	serve_do(serve, "device-add", "'id': 'dev0', 'ram': 268435456, 'lsa': 4096");
	said = serve_refused(serve, "device-add", "'id': 'dev1', 'pmem': 268435456");
	g_assert_nonnull(strstr(said, "ephemeral"));
	g_assert_cmpint(serve_stop(serve), ==, 0);
	g_assert_false(g_file_test(serve->state, G_FILE_TEST_EXISTS));
	serve_start(serve, "--ephemeral", NULL);
	g_assert_cmpuint(serve_count(serve, "query-devices", NULL), ==, 0);
}

static void test_second_daemon(void)
{
	g_autoptr(Serve) serve = serve_new();
	pid_t first;
	size_t said;

	serve_start(serve, NULL);
	first = serve->pid;
	said = serve_log_len(serve);
	serve->pid = 0;
	g_assert_cmpint(serve_fails(serve, NULL), ==, 1);
	serve_assert_said(serve, said, "serve");
	serve->pid = first;
	/* The first has noticed nothing. */
	g_assert_true(serve_connect(serve));
	g_assert_cmpuint(serve_count(serve, "query-devices", NULL), ==, 0);
}

/* What must not be started with: what is said, and that it is as it was afterwards. */
static void test_damaged_ledger(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autofree char *path = NULL, *before = NULL, *after = NULL;
	size_t said, len, len_after;

	serve_start(serve, NULL);
	serve_do(serve, "device-add", "'id': 'dev0', 'ram': 268435456");
	g_assert_cmpint(serve_stop(serve), ==, 0);
	path = g_build_filename(serve->state, "ledger.db", NULL);
	g_assert_cmpint(truncate(path, 5000), ==, 0);
	g_assert_true(g_file_get_contents(path, &before, &len, NULL));
	said = serve_log_len(serve);
	g_assert_cmpint(serve_fails(serve, NULL), ==, 1);
	serve_assert_said(serve, said, "ledger.db");
	g_assert_true(g_file_get_contents(path, &after, &len_after, NULL));
	g_assert_cmpmem(before, len, after, len_after);
}

/* What the ledger cannot keep is refused, and is not there; then it goes on, and nothing is lost.
 */
static void test_disk_full(void)
{
	static const char offer[] = DEVICE ", 'selection-policy': 'free', 'length': 2097152";
	g_autoptr(Serve) serve = serve_new();
	struct rlimit none = { .rlim_cur = 4096, .rlim_max = RLIM_INFINITY };
	struct rlimit all = { .rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY };
	g_autofree char *said = NULL;
	gint64 deadline = g_get_monotonic_time() + WAIT_US;
	guint n;

	serve_start(serve, NULL);
	serve_do(serve, "device-add", "'id': 'dev0', 'dc-regions': [{'size': 268435456}]");
	for (unsigned i = 0; i < 3; i++)
		g_assert_cmpint(serve_try(serve, NULL, "cxl-add-dynamic-capacity", "%s", offer), ==,
				1);
	/* As a full disk is: no file of it may become longer. */
	if (prlimit(serve->pid, RLIMIT_FSIZE, &none, NULL) != 0) {
		g_test_skip("cannot limit another process's files");
		return;
	}
	for (n = 0; serve_try(serve, NULL, "cxl-add-dynamic-capacity", "%s", offer) == 1; n++)
		g_assert_cmpuint(n, <, 1000);
	said = serve_refused(serve, "cxl-add-dynamic-capacity", "%s", offer);
	g_test_message("%u more offers, then: %s", n, said);
	g_assert_nonnull(strstr(said, "ledger"));
	g_assert_cmpuint(serve_count(serve, "query-offers", NULL), ==, 3 + n);
	serve_pass_event(serve, "LEDGER_FAILED");
	g_assert_cmpint(prlimit(serve->pid, RLIMIT_FSIZE, &all, NULL), ==, 0);
	while (serve_try(serve, NULL, "cxl-add-dynamic-capacity", "%s", offer) != 1) {
		g_assert_cmpint(g_get_monotonic_time(), <, deadline);
		g_usleep(10000);
	}
	serve_pass_event(serve, "LEDGER_RECOVERED");
	serve_kill(serve);
	serve_start(serve, NULL);
	g_assert_cmpuint(serve_count(serve, "query-offers", NULL), ==, 4 + n);
}

/* Devices with static capacity: pmem and labels are files that stay. */
static void test_static(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autofree char *pmem = NULL, *lsa = NULL;

	serve_write_config(serve, "[device dev0]\nram = 256M\npmem = 256M\nlsa = 64K\n"
				  "dc-regions = 256M,block=4K;512M,block=2M\n");
	serve_start(serve, NULL);
	pmem = g_build_filename(serve->state, "dev0.pmem", NULL);
	lsa = g_build_filename(serve->state, "dev0.lsa", NULL);
	for (unsigned i = 0; i < 3; i++) {
		g_autoptr(JsonObject) device = serve_first(serve, "query-devices", NULL);

		g_assert_cmpint(json_object_get_int_member(device, "pmem"), ==, 256 * MIB);
		g_assert_cmpuint(
			json_array_get_length(json_object_get_array_member(device, "dc-regions")),
			==, 2);
		g_assert_true(g_file_test(pmem, G_FILE_TEST_IS_REGULAR));
		g_assert_true(g_file_test(lsa, G_FILE_TEST_IS_REGULAR));
		if (i % 2)
			serve_kill(serve);
		else
			g_assert_cmpint(serve_stop(serve), ==, 0);
		serve_start(serve, NULL);
	}
}

/* Every socket is its user's alone. */
static void test_modes(void)
{
	static const char *const names[] = { "qmp.sock", "dev0.vfio", "dev0.mem", "keeper.sock" };
	g_autoptr(Serve) serve = serve_new();
	GStatBuf info;

	serve_write_config(serve, "[device dev0]\nram = 256M\n");
	serve_start(serve, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *path = g_build_filename(serve->runtime, names[i], NULL);

		g_assert_cmpint(g_stat(path, &info), ==, 0);
		g_assert_cmpint(info.st_mode, ==, S_IFSOCK | 0600);
	}
	g_assert_cmpint(g_stat(serve->state, &info), ==, 0);
	g_assert_cmpint(info.st_mode, ==, S_IFDIR | 0700);
}

/* As another user: -1 if nobody may be that, else whether a device took it for its host. */
static int is_host_as_nobody(const char *path)
{
	pid_t pid = fork();
	int status;

	g_assert_cmpint(pid, >=, 0);
	if (pid == 0) {
		if (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY))
			_exit(2);
		_exit(vfu_client_connect(path, WAIT_MS, NULL) ? 1 : 0);
	}
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_true(WIFEXITED(status));
	return WEXITSTATUS(status) == 2 ? -1 : WEXITSTATUS(status);
}

static void open_way(const char *path, const char *top)
{
	g_autofree char *parent = g_path_get_dirname(path);

	g_assert_cmpint(g_chmod(parent, 0711), ==, 0);
	if (strcmp(parent, top) != 0)
		open_way(parent, top);
}

/* Whatever became of its socket's mode, a device takes only hosts of the pool's own user. */
static void test_other_user(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autofree char *path = g_build_filename(serve->runtime, "dev0.vfio", NULL);

	if (geteuid() != 0) {
		g_test_skip("only root can become another user");
		return;
	}
	serve_write_config(serve, "[device dev0]\nram = 256M\n");
	serve_start(serve, NULL);
	open_way(path, serve->dir);
	g_assert_cmpint(g_chmod(path, 0666), ==, 0);
	g_assert_cmpint(is_host_as_nobody(path), ==, 0);
	/* With a group that is for the modes to say. */
	g_assert_cmpint(serve_stop(serve), ==, 0);
	serve_start(serve, "--group", "0", NULL);
	open_way(path, serve->dir);
	g_assert_cmpint(g_chmod(path, 0666), ==, 0);
	g_assert_cmpint(is_host_as_nobody(path), ==, 1);
}

static void test_quit(void)
{
	g_autoptr(Serve) serve = serve_new();

	serve_start(serve, NULL);
	serve_do(serve, "quit", NULL);
	serve_pass_event(serve, "SHUTDOWN");
	g_assert_cmpint(serve_wait_end(serve), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/protocol/serve-restart/stop", GINT_TO_POINTER(false), test_keeps);
	g_test_add_data_func("/protocol/serve-restart/kill", GINT_TO_POINTER(true), test_keeps);
	g_test_add_func("/protocol/serve-restart/host-ends", test_host_ends_meanwhile);
	g_test_add_func("/protocol/serve-restart/contents-lost", test_contents_lost);
	g_test_add_func("/protocol/serve-restart/ephemeral", test_ephemeral);
	g_test_add_func("/protocol/serve-restart/second-daemon", test_second_daemon);
	g_test_add_func("/protocol/serve-restart/damaged-ledger", test_damaged_ledger);
	g_test_add_func("/protocol/serve-restart/disk-full", test_disk_full);
	g_test_add_func("/protocol/serve-restart/static", test_static);
	g_test_add_func("/protocol/serve-restart/modes", test_modes);
	g_test_add_func("/protocol/serve-restart/other-user", test_other_user);
	g_test_add_func("/protocol/serve-restart/quit", test_quit);
	return g_test_run();
}
