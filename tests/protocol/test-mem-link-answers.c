/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory link server: answers late, out of order or never; the end at every step; much at once. */
#include "mem_link_server_bench.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* ---- answers ---- */

static void test_answers_late(void)
{
	g_autoptr(Bench) bench = bench_new_welcome();
	MemLinkPart part = { 1, 0, PAGE };

	prepare(bench, 10, 1, 1);
	mem_link_server_expose(bench->server, 20, ARRAY(1), 1);
	mem_link_server_revoke(bench->server, 30, &part, 1);
	settle();
	g_assert_cmpuint(bench->answers->len, ==, 0);
	g_usleep(500 * 1000);
	/* In any order: an answer belongs to its id. */
	raw_done(bench->host, 3, 0);
	raw_done(bench->host, 1, 0);
	raw_done(bench->host, 2, MEM_LINK_FAILED);
	settle();
	g_assert_cmpuint(bench->answers->len, ==, 3);
	assert_answer(bench, 0, 30, true);
	assert_answer(bench, 1, 10, true);
	assert_answer(bench, 2, 20, false);
	g_assert_true(mem_link_server_is_connected(bench->server));
}

static void test_answers_parts(void)
{
	g_autoptr(Bench) bench = bench_new_welcome();

	prepare(bench, 1, 1, 40);
	prepare(bench, 2, 100, 40);
	prepare(bench, 3, 200, 0);
	g_assert_cmpuint(bench->answers->len, ==, 0); /* never from inside the call */
	settle();
	g_assert_cmpuint(bench->answers->len, ==, 1);
	assert_answer(bench, 0, 3, true);
	for (uint64_t id = 1; id <= 6; id++) {
		g_assert_cmpuint(raw_expect(bench->host, MEM_LINK_PREPARE), ==, id);
		raw_done(bench->host, id, id == 4 ? MEM_LINK_NO_ROOM : MEM_LINK_OK);
		settle();
		g_assert_cmpuint(bench->answers->len, ==, 1 + id / 3);
	}
	assert_answer(bench, 1, 1, true);
	assert_answer(bench, 2, 2, false);
}

/* Such a host has not confirmed; the answer must not come, the connection ends. */
static void test_revoke_refused(void)
{
	g_autoptr(Bench) bench = bench_new_welcome();

	request_one_of_each(bench);
	raw_done(bench->host, 3, MEM_LINK_FAILED);
	settle();
	g_assert_cmpuint(bench->n_closed, ==, 1);
	g_assert_cmpuint(bench->answers->len, ==, 3);
	assert_answer(bench, 0, 1, false);
	assert_answer(bench, 1, 2, false);
	assert_answer(bench, 2, 5, false);
}

static void test_not_connected(void)
{
	g_autoptr(Bench) bench = bench_new();

	request_one_of_each(bench);
	g_assert_cmpuint(bench->answers->len, ==, 3);
	assert_answer(bench, 0, 1, false);
	assert_answer(bench, 1, 2, false);
	assert_answer(bench, 2, 5, false);
	settle();
	g_assert_cmpuint(bench->n_closed, ==, 0);
}

/* ---- the end at each step ---- */

static void test_close(const void *data)
{
	unsigned step = GPOINTER_TO_UINT(data);
	unsigned n_fds = count_fds();
	Bench *bench = bench_new();

	if (step > 0)
		raw_hello(bench->host, 10, step == 1 ? 3 : 0);
	settle();
	if (step > 2)
		request_one_of_each(bench);
	/* What was answered before the end counts, though much of ours lies unread. */
	for (unsigned id = 1; id + 2 < step; id++)
		raw_done(bench->host, id, 0);
	close(bench->host);
	bench->host = -1;
	if (step % 2 == 0)
		/* Found when sending, told from the main loop only. */
		prepare(bench, 9, 9, 1);
	settle();
	g_assert_false(mem_link_server_is_connected(bench->server));
	g_assert_cmpuint(bench->n_hello, ==, step > 1 ? 1 : 0);
	g_assert_cmpuint(bench->n_closed, ==, step > 1 ? 1 : 0);
	if (step > 2) {
		static const unsigned reqs[] = { 1, 2, 5 };
		/* Confirmed revokes and drops. */
		unsigned extra = (step > 5) + (step > 6) + (step % 2 == 0);

		g_assert_cmpuint(bench->answers->len, ==, 3 + extra);
		for (unsigned i = 0, at = 0; i < 3; i++, at++) {
			while (g_array_index(bench->answers, Answer, at).req != reqs[i])
				at++;
			assert_answer(bench, at, reqs[i], reqs[i] + 2 < step);
		}
	}
	bench_free(bench);
	g_assert_cmpuint(count_fds(), ==, n_fds);
}

static void test_silent(void)
{
	g_autoptr(Bench) bench = bench_new_welcome();

	request_one_of_each(bench);
	settle();
	g_assert_cmpuint(bench->answers->len, ==, 0);
	/* The caller's deadline has passed. An empty request is complete, if not told yet. */
	prepare(bench, 6, 1, 0);
	mem_link_server_disconnect(bench->server);
	g_assert_cmpuint(bench->answers->len, ==, 4);
	assert_answer(bench, 0, 6, true);
	g_assert_cmpuint(bench->n_closed, ==, 1);
	mem_link_server_disconnect(bench->server);
	settle();
	g_assert_cmpuint(bench->n_closed, ==, 1);
}

/* ---- much at once ---- */

static void test_outstanding(void)
{
	g_autoptr(Bench) bench = bench_new_welcome();
	unsigned n_seen = 0;

	for (uint64_t req = 0; req < 1000; req++)
		mem_link_server_expose(bench->server, req, ARRAY(req + 1), 1);
	while (n_seen < 1000) {
		unsigned n_here = 0;

		while (!host_is_silent(bench->host)) {
			g_assert_cmpuint(raw_expect(bench->host, MEM_LINK_EXPOSE), ==,
					 n_seen + ++n_here);
		}
		g_assert_cmpuint(n_here, >, 0);
		g_assert_cmpuint(n_here, <=, MEM_LINK_MAX_OUTSTANDING);
		for (unsigned i = 1; i <= n_here; i++)
			raw_done(bench->host, n_seen + i, i % 2);
		n_seen += n_here;
		settle();
	}
	g_assert_cmpuint(bench->answers->len, ==, 1000);
	for (guint i = 0; i < 1000; i++)
		g_assert_cmpuint(g_array_index(bench->answers, Answer, i).req, ==, i);
	g_assert_true(mem_link_server_is_connected(bench->server));
}

/* A socket that takes little; the test's own end of it stays valid. */
static Bench *bench_new_small(void)
{
	Bench *bench = bench_new();
	int small = 1;
	int fds[2];

	mem_link_server_disconnect(bench->server);
	close(bench->host);
	raw_pair(fds);
	bench->host = fds[1];
	g_assert_true(mem_link_server_attach(bench->server, fds[0]));
	g_assert_cmpint(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), ==, 0);
	bench_welcome(bench);
	return bench;
}

/* What waits keeps its order and its one descriptor, and goes out as the host reads. */
static void test_full_socket(void)
{
	unsigned n_fds = count_fds();
	Bench *bench = bench_new_small();

	prepare(bench, 1, 1, MEM_LINK_MAX_OUTSTANDING * MEM_LINK_MAX_PREPARE);
	settle();
	g_assert_cmpuint(count_fds(), ==, n_fds + 3);
	for (unsigned i = 1; i <= MEM_LINK_MAX_OUTSTANDING; i++) {
		g_assert_false(host_is_silent(bench->host));
		g_assert_cmpuint(raw_expect(bench->host, MEM_LINK_PREPARE), ==, i);
		/* There is room, and something new to send: not before what waits. */
		mem_link_server_drop(bench->server, 2, ARRAY(1), 1);
		settle();
	}
	for (unsigned i = 1; i <= MEM_LINK_MAX_OUTSTANDING; i++)
		raw_done(bench->host, i, 0);
	settle();
	assert_answer(bench, 0, 1, true);
	g_assert_cmpuint(raw_expect(bench->host, MEM_LINK_DROP), ==, MEM_LINK_MAX_OUTSTANDING + 1);
	bench_free(bench);
	g_assert_cmpuint(count_fds(), ==, n_fds);
}

/* Two requests whose descriptors had the same number, one after the other: each has its own file.
 */
static void test_queued_fds(void)
{
	g_autoptr(Bench) bench = bench_new_small();
	g_autofree uint8_t *buf = g_malloc(MEM_LINK_MAX_MESSAGE);

	for (unsigned i = 0; i < 30; i++) {
		int fd = sealed_memfd((i + 1) * PAGE, F_SEAL_SHRINK);
		MemLinkMap map = { .id = i + 1, .len = PAGE, .fd = fd };

		mem_link_server_prepare(bench->server, i, &map, 1);
		close(fd);
	}
	for (unsigned i = 0; i < 30; i++) {
		struct stat st;
		int fd = -1, n_fds;

		settle();
		g_assert_cmpint(fdpass_recv(bench->host, buf, MEM_LINK_MAX_MESSAGE, &fd, 1, &n_fds,
					    MSG_DONTWAIT),
				==, 64);
		g_assert_cmpint(fstat(fd, &st), ==, 0);
		g_assert_cmpuint(st.st_size, ==, (i + 1) * PAGE);
		close(fd);
	}
}

/* Our own lack of descriptors fails the request and nothing else, sent at once or queued. */
static void test_bad_fd(void)
{
	g_autoptr(Bench) bench = bench_new_welcome();
	MemLinkMap map = { .id = 1, .len = PAGE, .fd = 1 << 20 };

	mem_link_server_prepare(bench->server, 1, &map, 1);
	g_assert_cmpuint(bench->answers->len, ==, 0);
	settle();
	assert_answer(bench, 0, 1, false);
	for (unsigned i = 0; i < MEM_LINK_MAX_OUTSTANDING; i++)
		mem_link_server_drop(bench->server, 100 + i, ARRAY(1), 1);
	prepare(bench, 2, 1, 1);
	mem_link_server_prepare(bench->server, 3, &map, 1);
	settle();
	g_assert_cmpuint(bench->answers->len, ==, 2);
	assert_answer(bench, 1, 3, false);
	g_assert_true(mem_link_server_is_connected(bench->server));
}

/* The system bounds descriptors in flight for each user: wait until the host has taken some. */
static void test_in_flight(void)
{
	const struct rlimit limit = { 50, 50 };
	g_autoptr(Bench) bench = NULL;
	gint64 deadline = g_get_monotonic_time() + WAIT_MS * G_TIME_SPAN_MILLISECOND;
	unsigned n_seen = 0;

	if (!g_test_subprocess()) {
		g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
		g_test_trap_assert_passed();
		return;
	}
	/* Root is exempt. Leak checkers need to see into the process. */
	g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
	if (getuid() == 0)
		g_assert_cmpint(setresuid(65534, 65534, 65534), ==, 0);
	prctl(PR_SET_DUMPABLE, 1);
	bench = bench_new_welcome();
	prepare(bench, 1, 1, 500);
	while (n_seen * MEM_LINK_MAX_PREPARE < 500) {
		g_assert_cmpint(g_get_monotonic_time(), <, deadline);
		g_main_context_iteration(NULL, FALSE);
		if (!host_is_silent(bench->host))
			g_assert_cmpuint(raw_expect(bench->host, MEM_LINK_PREPARE), ==, ++n_seen);
	}
	for (unsigned id = 1; id <= n_seen; id++)
		raw_done(bench->host, id, 0);
	settle();
	assert_answer(bench, 0, 1, true);
}

/* A host that never reads costs a bounded amount: then it is closed. */
static void test_queue_bound(void)
{
	g_autoptr(Bench) bench = bench_new_welcome();
	g_autofree MemLinkPart *parts = g_new(MemLinkPart, MEM_LINK_MAX_PARTS);
	unsigned n = 0;

	for (unsigned i = 0; i < MEM_LINK_MAX_PARTS; i++)
		parts[i] = (MemLinkPart){ 1, i * PAGE, PAGE };
	while (mem_link_server_is_connected(bench->server)) {
		mem_link_server_revoke(bench->server, ++n, parts, MEM_LINK_MAX_PARTS);
		settle();
	}
	g_assert_cmpuint(n, >, 300);
	g_assert_cmpuint(n, <, 400);
	g_assert_cmpuint(bench->n_closed, ==, 1);
	g_assert_cmpuint(bench->answers->len, ==, 0);
}

/* ---- calls from inside callbacks ---- */

static void disconnect(Bench *bench)
{
	mem_link_server_disconnect(bench->server);
}

static void free_server(Bench *bench)
{
	g_clear_pointer(&bench->server, mem_link_server_free);
}

static void connect_again(Bench *bench)
{
	close(bench->host);
	bench_attach(bench);
}

static void test_disconnect_in_hello(void)
{
	g_autoptr(Bench) bench = bench_new();

	bench->in_hello = disconnect;
	raw_hello(bench->host, 10, 0);
	settle();
	raw_expect_end(bench->host);
	g_assert_cmpuint(bench->n_closed, ==, 0);
}

static void test_disconnect_in_done(void)
{
	g_autoptr(Bench) bench = bench_new_welcome();

	request_one_of_each(bench);
	bench->in_done = disconnect;
	raw_done(bench->host, 1, 0);
	raw_done(bench->host, 2, 0);
	settle();
	g_assert_cmpuint(bench->answers->len, ==, 3);
	assert_answer(bench, 0, 1, true);
	assert_answer(bench, 1, 2, false);
	assert_answer(bench, 2, 5, false);
	g_assert_cmpuint(bench->n_closed, ==, 1);
}

static void test_free_in_callback(const void *data)
{
	unsigned which = GPOINTER_TO_UINT(data);
	g_autoptr(Bench) bench = bench_new();

	if (which == 0)
		bench->in_hello = free_server;
	raw_hello(bench->host, 10, 0);
	settle();
	if (which > 0)
		request_one_of_each(bench);
	if (which == 1 || which == 2)
		bench->in_done = free_server;
	if (which == 3)
		bench->in_closed = free_server;
	if (which == 1)
		raw_done(bench->host, 1, 0);
	else if (which > 1)
		shutdown(bench->host, SHUT_RDWR);
	settle();
	g_assert_null(bench->server);
	g_assert_cmpuint(bench->answers->len, ==, which == 0 ? 0 : which == 3 ? 3 : 1);
	g_assert_cmpuint(bench->n_closed, ==, which == 3 ? 1 : 0);
}

static void request_more(Bench *bench)
{
	if (bench->answers->len <= 3)
		request_one_of_each(bench);
}

/* While the end is told, the server is not connected and takes nobody; in closed() it does. */
static void test_calls_at_the_end(void)
{
	g_autoptr(Bench) bench = bench_new_welcome();

	request_one_of_each(bench);
	bench->in_done = connect_refused;
	bench->in_closed = connect_again;
	raw_send(bench->host, "x", 1);
	settle();
	g_assert_cmpuint(bench->n_closed, ==, 1);
	g_assert_cmpuint(bench->answers->len, ==, 3);
	bench->in_done = request_more;
	bench->in_closed = NULL;
	bench_welcome(bench);
	request_one_of_each(bench);
	mem_link_server_disconnect(bench->server);
	g_assert_cmpuint(bench->n_closed, ==, 2);
	settle();
}

#define P "/protocol/mem-link/answers/"

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	/* It has a descriptor, and the tests count them. */
	g_main_context_default();
	g_test_add_func(P "late", test_answers_late);
	g_test_add_func(P "parts", test_answers_parts);
	g_test_add_func(P "revoke-refused", test_revoke_refused);
	g_test_add_func(P "not-connected", test_not_connected);
	g_test_add_func(P "silent", test_silent);
	for (unsigned i = 0; i <= 8; i++) {
		g_autofree char *path = g_strdup_printf(P "close/step-%u", i);

		g_test_add_data_func(path, GUINT_TO_POINTER(i), test_close);
	}
	g_test_add_func(P "many/outstanding", test_outstanding);
	g_test_add_func(P "many/full-socket", test_full_socket);
	g_test_add_func(P "many/queued-fds", test_queued_fds);
	g_test_add_func(P "many/bad-fd", test_bad_fd);
	g_test_add_func(P "many/in-flight", test_in_flight);
	g_test_add_func(P "many/queue-bound", test_queue_bound);
	g_test_add_func(P "reentry/disconnect-in-hello", test_disconnect_in_hello);
	g_test_add_func(P "reentry/disconnect-in-done", test_disconnect_in_done);
	g_test_add_data_func(P "reentry/free-in-hello", GUINT_TO_POINTER(0), test_free_in_callback);
	g_test_add_data_func(P "reentry/free-in-done", GUINT_TO_POINTER(1), test_free_in_callback);
	g_test_add_data_func(P "reentry/free-in-done-at-end", GUINT_TO_POINTER(2),
			     test_free_in_callback);
	g_test_add_data_func(P "reentry/free-in-closed", GUINT_TO_POINTER(3),
			     test_free_in_callback);
	g_test_add_func(P "reentry/calls-at-the-end", test_calls_at_the_end);
	return g_test_run();
}
