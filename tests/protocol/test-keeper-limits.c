/* SPDX-License-Identifier: BSD-3-Clause */
/* A keeper and its limits: many descriptors, more than fit, and none left to pass them with. */
#include "keeper_fixture.h"

static void test_ten_thousand(Keeper *keeper, gconstpointer data)
{
	const unsigned n = 10000, n_at_once = 2000;
	g_autoptr(KeeperClient) client = make_client(keeper);
	g_autoptr(KeeperClient) next = make_client(keeper);
	g_autoptr(GError) error = NULL;
	g_autoptr(GArray) keys = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	uint64_t limit = nofile_raise(NOFILE_WANTED);

	if (limit < n + 1000) {
		g_autofree char *why = g_strdup_printf(
			"needs 11000 open files, the hard limit is %" PRIu64, limit);

		g_test_skip(why);
		return;
	}
	for (unsigned i = 0; i < n; i += n_at_once) {
		GArray *items = make_items(1 + i, n_at_once);

		store_items(client, items);
		free_items(items);
	}
	for (uint64_t key = 1; key <= n; key++)
		g_array_append_val(keys, key);
	check_held(next, 1, n);
	keeper_drop(next, (const uint64_t *)(void *)keys->data, n - 1, &error);
	g_assert_no_error(error);
	check_held(next, n, 1);
}

static void test_full(Keeper *keeper, gconstpointer data)
{
	struct rlimit few = { .rlim_cur = 310, .rlim_max = 310 };
	g_autoptr(KeeperClient) client = NULL;
	g_autoptr(GError) error = NULL;
	GArray *items = make_items(1, 11);
	pid_t pid;

	if (geteuid() == 0) {
		/* Root raises its limit again: then only somebody else's has an end. */
		keeper_give_to_nobody(keeper);
	}
	pid = fork();
	if (pid == 0) {
		if (setrlimit(RLIMIT_NOFILE, &few) != 0 ||
		    (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)))
			_exit(2);
		_exit(keeper_spawn(keeper->program, keeper->path, WAIT_MS, NULL) ? 0 : 3);
	}
	g_assert_cmpint(wait_for_exit(pid), ==, 0);
	pid = fork();
	if (pid == 0) {
		if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
			_exit(2);
		client = make_client(keeper);
		store_items(client, g_array_set_size(items, 10));
		_exit(keeper_store(client, item_at(make_items(11, 1), 0), 1, &error) ||
				      !g_error_matches(error, KEEPER_CLIENT_ERROR,
						       KEEPER_CLIENT_ERROR_FULL) ||
				      strstr(error->message, "holds 10 files") == NULL
			      ? 4
			      : 0);
	}
	g_assert_cmpint(wait_for_exit(pid), ==, 0);
	free_items(items);
}

/*
 * The kernel passes on no more descriptors at a time, for all processes of a user, than the sender
 * may have open. Where others have used that up, both ends wait for them.
 */
static void play_crowded_user(const Keeper *keeper)
{
	struct rlimit few = { .rlim_cur = 700, .rlim_max = 700 }, many;
	g_autoptr(KeeperClient) hasty = keeper_client_new(keeper->path, keeper->program, 200);
	g_autoptr(KeeperClient) client = make_client(keeper);
	g_autoptr(GError) error = NULL;
	GArray *items = make_items(1, 300);
	int fds[KEEPER_MAX_FDS], crowd[2];
	pid_t pid;

	/* The keeper has few. */
	pid = fork();
	if (pid == 0)
		_exit(setrlimit(RLIMIT_NOFILE, &few) == 0 &&
				      keeper_spawn(keeper->program, keeper->path, WAIT_MS, NULL)
			      ? 0
			      : 1);
	g_assert_cmpint(wait_for_exit(pid), ==, 0);
	store_items(client, items);
	for (unsigned i = 0; i < KEEPER_MAX_FDS; i++)
		fds[i] = item_at(items, i)->fd;
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, crowd), ==, 0);
	for (unsigned i = 0; i < 4; i++)
		raw_send(crowd[0], "x", 1, fds, KEEPER_MAX_FDS);
	g_assert_null(keeper_fetch_all(hasty, &error));
	g_assert_error(error, KEEPER_CLIENT_ERROR, KEEPER_CLIENT_ERROR_TIMED_OUT);
	g_clear_error(&error);
	/* Now we have few, too. */
	g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &many), ==, 0);
	many.rlim_cur = 700;
	g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &many), ==, 0);
	g_assert_false(keeper_store(hasty, item_at(items, 0), 1, &error));
	g_assert_error(error, KEEPER_CLIENT_ERROR, KEEPER_CLIENT_ERROR_TIMED_OUT);
	close(crowd[0]);
	close(crowd[1]);
	check_held(hasty, 1, 300);
	store_items(hasty, items);
	free_items(items);
}

static void test_in_flight(Keeper *keeper, gconstpointer data)
{
	pid_t pid;

	if (nofile_raise(NOFILE_WANTED) < 2000) {
		g_test_skip("needs 2000 open files");
		return;
	}
	if (geteuid() == 0) /* whom the limit does not bind */
		keeper_give_to_nobody(keeper);
	pid = fork();
	g_assert_cmpint(pid, >=, 0);
	if (pid == 0) {
		if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
			_exit(2);
		play_crowded_user(keeper);
		_exit(0);
	}
	g_assert_cmpint(wait_for_exit(pid), ==, 0);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(Keeper *keeper, gconstpointer data);
	} cases[] = {
		{ "ten-thousand", test_ten_thousand },
		{ "full", test_full },
		{ "in-flight", test_in_flight },
	};

	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *path = g_strdup_printf("/protocol/keeper-limits/%s",
							cases[i].name);

		g_test_add(path, Keeper, NULL, keeper_setup, cases[i].run, keeper_teardown);
	}
	return g_test_run();
}
