/* SPDX-License-Identifier: BSD-3-Clause */
/* A daemon and its keeper: memory outlives the daemon, and the keeper's own death is made good. */
#include "../unit/processes.h"
#include "keeper_fixture.h"

static void test_store(Keeper *keeper, gconstpointer data)
{
	g_autoptr(KeeperClient) client = make_client(keeper);
	g_autoptr(GError) error = NULL;
	GArray *items = make_items(100, 10);
	const uint64_t dropped[] = { 100, 101, 4711 };

	g_assert_cmpuint(keeper_client_instance(client), ==, 0);
	check_held(client, 100, 0);
	g_assert_cmpuint(keeper_client_instance(client), !=, 0);
	store_items(client, items);
	store_items(client, items);
	free_items(items);
	check_held(client, 100, 10);
	keeper_drop(client, dropped, G_N_ELEMENTS(dropped), &error);
	g_assert_no_error(error);
	check_held(client, 102, 8);
	keeper_store(client, NULL, 0, &error);
	g_assert_no_error(error);
	keeper_drop(client, NULL, 0, &error);
	g_assert_no_error(error);
}

static void test_refused(Keeper *keeper, gconstpointer data)
{
	g_autoptr(KeeperClient) client = make_client(keeper);
	g_autoptr(GError) error = NULL;
	GArray *items = make_items(1, 2);
	KeeperItem other = make_item(2, item_at(items, 0)->fd);
	KeeperItem wrong_len = make_item(3, item_at(items, 0)->fd);
	int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	KeeperItem no_file = make_item(4, root);

	store_items(client, items);
	g_assert_false(keeper_store(client, &other, 1, &error));
	g_assert_error(error, KEEPER_CLIENT_ERROR, KEEPER_CLIENT_ERROR_EXISTS);
	g_assert_nonnull(strstr(error->message, "incarnation 2:"));
	g_clear_error(&error);
	wrong_len.len = 1;
	g_assert_false(keeper_store(client, &wrong_len, 1, &error));
	g_assert_error(error, KEEPER_CLIENT_ERROR, KEEPER_CLIENT_ERROR_INVALID);
	g_clear_error(&error);
	g_assert_false(keeper_store(client, &no_file, 1, &error));
	g_assert_error(error, KEEPER_CLIENT_ERROR, KEEPER_CLIENT_ERROR_INVALID);
	check_held(client, 1, 2);
	close(root);
	free_items(items);
}

/* In a process of its own: stores, says so, and waits to be killed. */
static _Noreturn void play_daemon(const Keeper *keeper, int said_fd)
{
	g_autoptr(KeeperClient) client = make_client(keeper);

	/* As a daemon in a terminal is: leader of what is killed together. */
	(void)setpgid(0, 0);
	store_items(client, make_items(1, 300));
	if (write(said_fd, "k", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static void test_killed_daemon(Keeper *keeper, gconstpointer data)
{
	g_autoptr(KeeperClient) client = make_client(keeper);
	g_autoptr(GArray) peeked = NULL;
	g_autoptr(GError) error = NULL;
	int ends[2];
	char said;
	pid_t pid, keeper_process;

	g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
	pid = fork();
	g_assert_cmpint(pid, >=, 0);
	if (pid == 0)
		play_daemon(keeper, ends[1]);
	close(ends[1]);
	g_assert_cmpint(read(ends[0], &said, 1), ==, 1);
	close(ends[0]);
	peeked = keeper_peek(keeper->path, WAIT_MS, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(peeked->len, ==, 300);
	keeper_process = keeper_pid(keeper);
	g_assert_cmpint(kill(-pid, SIGKILL), ==, 0);
	wait_for_exit(pid);
	check_held(client, 1, 300);
	g_assert_cmpint(keeper_pid(keeper), ==, keeper_process);
	/* Not of its session nor group, and none of its files. */
	g_assert_cmpint(getsid(keeper_process), !=, getsid(0));
	g_assert_cmpint(getpgid(keeper_process), !=, pid);
}

static void count_unref(void *counter)
{
	(*(unsigned *)counter)++;
}

/* Killed between two calls: the next one starts another and stores everything again. */
static void test_killed_keeper(Keeper *keeper, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	KeeperClient *client = make_client(keeper);
	GArray *items = make_items(1, 600);
	GArray *more = make_items(601, 1);
	const uint64_t key = 601;
	uint64_t instance;
	unsigned n_unref = 0;

	for (unsigned i = 0; i < items->len; i++) {
		item_at(items, i)->owner = &n_unref;
		item_at(items, i)->owner_unref = count_unref;
	}
	store_items(client, items);
	instance = keeper_client_instance(client);
	keeper_kill(keeper);
	store_items(client, more);
	g_assert_cmpuint(keeper_client_instance(client), !=, instance);
	check_held(client, 1, 601);
	keeper_kill(keeper);
	check_held(client, 1, 601);
	keeper_kill(keeper);
	/* Dropped from one that never held it: what is not dropped is there again. */
	keeper_drop(client, &key, 1, &error);
	g_assert_no_error(error);
	check_held(client, 1, 600);
	g_assert_cmpuint(n_unref, ==, 0);
	keeper_client_free(client);
	g_assert_cmpuint(n_unref, ==, 600);
	free_items(items);
	free_items(more);
}

/* What a restarted daemon has adopted counts as stored. */
static void test_remember(Keeper *keeper, gconstpointer data)
{
	KeeperClient *client = make_client(keeper);
	g_autoptr(GError) error = NULL;
	g_autoptr(GArray) fetched = NULL;
	GArray *items = make_items(1, 20);

	store_items(client, items);
	free_items(items);
	keeper_client_free(client);
	client = make_client(keeper);
	fetched = keeper_fetch_all(client, &error);
	g_assert_no_error(error);
	for (unsigned i = 0; i < fetched->len; i++)
		keeper_remember(client, item_at(fetched, i));
	keeper_kill(keeper);
	check_held(client, 1, 20);
	keeper_client_free(client);
}

static void test_superseded(Keeper *keeper, gconstpointer data)
{
	g_autoptr(KeeperClient) old = make_client(keeper);
	g_autoptr(KeeperClient) new = make_client(keeper);
	g_autoptr(GError) error = NULL;
	GArray *items = make_items(1, 2);

	store_items(old, items);
	check_held(new, 1, 2);
	for (unsigned i = 0; i < 2; i++) {
		g_assert_false(keeper_store(old, item_at(items, 0), 1, &error));
		g_assert_error(error, KEEPER_CLIENT_ERROR, KEEPER_CLIENT_ERROR_SUPERSEDED);
		g_clear_error(&error);
	}
	g_assert_false(keeper_bye(old, &error));
	g_assert_error(error, KEEPER_CLIENT_ERROR, KEEPER_CLIENT_ERROR_SUPERSEDED);
	check_held(new, 1, 2);
	free_items(items);
}

static void test_bye(Keeper *keeper, gconstpointer data)
{
	g_autoptr(KeeperClient) client = make_client(keeper);
	g_autoptr(GError) error = NULL;
	GArray *items = make_items(1, 2);
	pid_t pid;

	g_assert_false(keeper_bye(client, &error));
	g_assert_error(error, KEEPER_CLIENT_ERROR, KEEPER_CLIENT_ERROR_FAILED);
	g_clear_error(&error);
	store_items(client, items);
	pid = keeper_pid(keeper);
	keeper_bye(client, &error);
	g_assert_no_error(error);
	g_assert_cmpint(wait_for_exit(pid), ==, 0);
	g_assert_cmpint(access(keeper->path, F_OK), !=, 0);
	check_held(client, 1, 0);
	free_items(items);
}

static void test_second_keeper(Keeper *keeper, gconstpointer data)
{
	g_autoptr(KeeperClient) client = make_client(keeper);
	g_autoptr(GError) error = NULL;
	GArray *items = make_items(1, 2);

	store_items(client, items);
	free_items(items);
	g_assert_false(keeper_spawn(keeper->program, keeper->path, WAIT_MS, &error));
	g_assert_nonnull(strstr(error->message, "another keeper serves it"));
	check_held(client, 1, 2);
}

/* Many clients that find no keeper at once: all start one, and all have the same. */
static void test_spawn_race(Keeper *keeper, gconstpointer data)
{
	pid_t pids[8];

	for (unsigned i = 0; i < G_N_ELEMENTS(pids); i++) {
		pids[i] = fork();
		g_assert_cmpint(pids[i], >=, 0);
		if (pids[i] == 0) {
			g_autoptr(KeeperClient) client = make_client(keeper);
			GError *error = NULL;

			_exit(keeper_client_connect(client, &error) ||
					      g_error_matches(error, KEEPER_CLIENT_ERROR,
							      KEEPER_CLIENT_ERROR_SUPERSEDED)
				      ? 0
				      : 1);
		}
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(pids); i++)
		g_assert_cmpint(wait_for_exit(pids[i]), ==, 0);
	g_assert_cmpint(keeper_pid(keeper), >, 0);
}

static void test_stopped(Keeper *keeper, gconstpointer data)
{
	g_autoptr(KeeperClient) client = keeper_client_new(keeper->path, keeper->program, 100);
	g_autoptr(GError) error = NULL;
	GArray *items = make_items(1, 2);
	pid_t pid;

	keeper_start(keeper);
	store_items(client, items);
	pid = keeper_pid(keeper);
	stop_process(pid);
	g_assert_false(keeper_store(client, item_at(items, 0), 1, &error));
	g_assert_error(error, KEEPER_CLIENT_ERROR, KEEPER_CLIENT_ERROR_TIMED_OUT);
	g_clear_error(&error);
	g_assert_false(keeper_store(client, item_at(items, 0), 1, &error));
	g_assert_error(error, KEEPER_CLIENT_ERROR, KEEPER_CLIENT_ERROR_TIMED_OUT);
	g_assert_cmpint(kill(pid, SIGCONT), ==, 0);
	free_items(items);
	{
		/* With all the time it likes; it goes on with the same keeper. */
		g_autoptr(KeeperClient) next = make_client(keeper);

		check_held(next, 1, 2);
		g_assert_cmpint(keeper_pid(keeper), ==, pid);
	}
}

static pid_t start_idle(const Keeper *keeper)
{
	const char *argv[] = { keeper->program, "--idle", "1", keeper->path, NULL };
	gint64 deadline = g_get_monotonic_time() + (gint64)WAIT_MS * 1000;
	pid_t pid = fork();

	g_assert_cmpint(pid, >=, 0);
	if (pid == 0) {
		execv(argv[0], (char *const *)argv);
		_exit(127);
	}
	while (keeper_pid(keeper) != pid) {
		g_assert_cmpint(g_get_monotonic_time(), <, deadline);
		g_usleep(1000);
	}
	return pid;
}

static void test_idle(Keeper *keeper, gconstpointer data)
{
	pid_t pid = start_idle(keeper);

	/* The signals of a terminal are nothing to it. */
	g_assert_cmpint(kill(pid, SIGHUP), ==, 0);
	g_assert_cmpint(kill(pid, SIGINT), ==, 0);
	g_assert_cmpint(wait_for_exit(pid), ==, 0);
	g_assert_cmpint(access(keeper->path, F_OK), !=, 0);
}

/* Holding something it stays, until nobody can reach it any more. */
static void test_unreachable(Keeper *keeper, gconstpointer data)
{
	KeeperClient *client = keeper_client_new(keeper->path, NULL, WAIT_MS);
	g_autoptr(GError) error = NULL;
	GArray *items = make_items(1, 2);
	pid_t pid = start_idle(keeper);

	store_items(client, items);
	g_assert_cmpint(unlink(keeper->path), ==, 0);
	/* Connected it serves on. */
	g_assert_true(keeper_store(client, item_at(items, 0), 1, &error));
	keeper_client_free(client);
	g_assert_cmpint(wait_for_exit(pid), ==, 0);
	free_items(items);
}

static void test_stale_socket(Keeper *keeper, gconstpointer data)
{
	g_autoptr(KeeperClient) client = make_client(keeper);

	keeper_start(keeper);
	keeper_kill(keeper);
	g_assert_cmpint(access(keeper->path, F_OK), ==, 0);
	check_held(client, 1, 0);
}

static void test_modes(Keeper *keeper, gconstpointer data)
{
	g_autofree char *link = NULL;
	g_autofree char *target = NULL;
	mode_t saved = umask(0);
	struct stat st;

	keeper_start(keeper);
	umask(saved);
	g_assert_cmpint(lstat(keeper->path, &st), ==, 0);
	g_assert_cmpuint(st.st_mode & 07777, ==, 0600);
	/* Nothing of ours is open in it: its first descriptors are /dev/null. */
	link = g_strdup_printf("/proc/%d/fd/1", (int)keeper_pid(keeper));
	target = g_file_read_link(link, NULL);
	g_assert_cmpstr(target, ==, "/dev/null");
}

static void test_no_program(Keeper *keeper, gconstpointer data)
{
	g_autoptr(KeeperClient) none = keeper_client_new(keeper->path, NULL, 100);
	g_autoptr(KeeperClient) missing = keeper_client_new(keeper->path, "/nonexistent/k", 100);
	g_autoptr(KeeperClient) wrong = keeper_client_new(keeper->path, "/bin/false", 100);
	g_autofree char *long_path = g_strdup_printf("%s/%0100d", keeper->dir, 0);
	g_autoptr(KeeperClient) far = keeper_client_new(long_path, keeper->program, 100);
	g_autoptr(GError) error = NULL;

	g_assert_false(keeper_client_connect(none, &error));
	g_assert_nonnull(strstr(error->message, "no keeper is there"));
	g_clear_error(&error);
	g_assert_false(keeper_client_connect(missing, &error));
	g_assert_nonnull(strstr(error->message, "cannot be executed: No such file"));
	g_clear_error(&error);
	g_assert_false(keeper_client_connect(wrong, &error));
	g_assert_nonnull(strstr(error->message, "ended before it was ready"));
	g_clear_error(&error);
	g_assert_false(keeper_client_connect(far, &error));
	g_assert_nonnull(strstr(error->message, "at most 107 bytes"));
	g_clear_error(&error);
	g_assert_null(keeper_peek(keeper->path, 100, &error));
	g_assert_nonnull(strstr(error->message, "no keeper is there"));
}

/* A server in the keeper's place that answers what nobody asked. */
static void test_liar(Keeper *keeper, gconstpointer data)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	g_autoptr(KeeperClient) client = keeper_client_new(keeper->path, NULL, WAIT_MS);
	int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	static const unsigned lies[] = { 0, 1, 2, 3, 4, 5, 6 };
	pid_t pid;

	strcpy(address.sun_path, keeper->path);
	g_assert_cmpint(bind(listener, (const struct sockaddr *)&address, sizeof(address)), ==, 0);
	g_assert_cmpint(listen(listener, 16), ==, 0);
	pid = fork();
	for (unsigned i = 0; pid == 0 && i < G_N_ELEMENTS(lies); i++) {
		int sock = accept(listener, NULL, NULL);
		int fd = make_file(1, 4096);
		uint8_t bytes[600] = { 0 };
		KeeperWelcome welcome = {
			.header = make_header(KEEPER_WELCOME, 0, lies[i] == 0 ? 99 : 1),
			.magic = le32_put(lies[i] == 1 ? 1 : KEEPER_MAGIC),
			.version = le16_put(lies[i] == 2 ? 2 : 1),
			.instance = le64_put(5),
		};
		KeeperHeader items = make_header(KEEPER_ITEMS, 1, 2);
		KeeperStatus status = { .header = make_header(KEEPER_STATUS, 0, 2) };

		raw_recv(sock, bytes, sizeof(bytes));
		welcome.header.id = lies[i] == 0 ? le32_put(99) : le32_put(le32_load(bytes + 4));
		raw_send(sock, &welcome, sizeof(welcome), NULL, 0);
		if (lies[i] >= 3) {
			raw_recv(sock, bytes, sizeof(bytes));
			items.id = status.header.id = le32_put(le32_load(bytes + 4));
			memcpy(bytes, &items, sizeof(items));
		}
		status.count = le32_put(lies[i] == 3 ? 7 : 0);
		if (lies[i] == 4) /* a descriptor that was not asked for */
			raw_send(sock, bytes, 8 + 64, &fd, 1);
		else if (lies[i] == 5) /* cut */
			raw_send(sock, bytes, 8 + 63, NULL, 0);
		else if (lies[i] == 6)
			status.rc = le32_put(KEEPER_FULL);
		/* It may have closed already. */
		(void)send(sock, &status, sizeof(status), MSG_NOSIGNAL);
		(void)recv(sock, bytes, sizeof(bytes), 0);
		close(sock);
		close(fd);
	}
	if (pid == 0)
		_exit(0);
	close(listener);
	for (unsigned i = 0; i < G_N_ELEMENTS(lies); i++) {
		g_autoptr(GError) error = NULL;

		g_assert_null(keeper_list(client, &error));
		g_assert_error(error, KEEPER_CLIENT_ERROR, KEEPER_CLIENT_ERROR_FAILED);
		g_assert_nonnull(strstr(error->message, "breaks the protocol"));
	}
	g_assert_cmpint(wait_for_exit(pid), ==, 0);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(Keeper *keeper, gconstpointer data);
	} cases[] = {
		{ "store", test_store },
		{ "refused", test_refused },
		{ "killed-daemon", test_killed_daemon },
		{ "killed-keeper", test_killed_keeper },
		{ "remember", test_remember },
		{ "superseded", test_superseded },
		{ "bye", test_bye },
		{ "second-keeper", test_second_keeper },
		{ "spawn-race", test_spawn_race },
		{ "stopped", test_stopped },
		{ "idle", test_idle },
		{ "unreachable", test_unreachable },
		{ "stale-socket", test_stale_socket },
		{ "modes", test_modes },
		{ "no-program", test_no_program },
		{ "liar", test_liar },
	};

	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *path = g_strdup_printf("/protocol/keeper-client/%s",
							cases[i].name);

		g_test_add(path, Keeper, NULL, keeper_setup, cases[i].run, keeper_teardown);
	}
	return g_test_run();
}
