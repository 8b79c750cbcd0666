/* SPDX-License-Identifier: BSD-3-Clause */
/* QMP server: slow readers, too many clients, who is let in, descriptors that run out. */
#include "../unit/processes.h"
#include "qmp_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define EXECUTE(name) "{\"execute\": \"" name "\"}"
#define PATIENCE_US   (60 * G_TIME_SPAN_SECOND)

/* ---- slow readers ---- */

static void test_slow_reader(void)
{
	const QmpServerConfig config = { .max_queue_len = 256 << 10 };
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(&config);
	g_autoptr(RawQmp) slow = raw_qmp_negotiated(fixture);
	g_autoptr(RawQmp) reader = raw_qmp_negotiated(fixture);
	int64_t n = 0;
	ssize_t got, len = 0;
	char buf[4096];

	/* It reads nothing; what the kernel and the server keep for it is an end to it. */
	while (qmp_fixture_n_clients(fixture) == 2) {
		g_autoptr(JsonObject) event = NULL;

		qmp_fixture_event(fixture, "FLOOD", n);
		event = raw_qmp_object(reader);
		g_assert_cmpint(json_object_get_int_member(
					json_object_get_object_member(event, "data"), "n"),
				==, n);
		n++;
		g_assert_cmpint(n, <, 100000);
	}
	/* More than the limit was kept for it before. */
	g_assert_cmpint(n, >, (256 << 10) / 120);
	raw_qmp_send(reader, EXECUTE("nothing"));
	raw_qmp_expect(reader, "{\"return\": {}}");
	/* What the kernel had for it, and then the end. */
	while ((got = recv(slow->fd, buf, sizeof(buf), 0)) > 0)
		len += got;
	g_assert_cmpint(got, ==, 0);
	g_assert_cmpint(len, >, 0);
}

static void peek_backlog(QmpFixture *fixture, void *data)
{
	size_t *most = data;

	for (uint64_t client = 1; client < 8; client++)
		*most = MAX(*most, qmp_server_backlog(fixture->server, client));
}

/* Who does not read is not served either: its requests wait in its own socket. */
static void test_no_reading_no_answers(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) greedy = raw_qmp_negotiated(fixture);
	g_autoptr(RawQmp) other = raw_qmp_negotiated(fixture);
	static const char request[] = "{\"execute\": \"fill\", \"arguments\": {\"len\": 50000}}";
	unsigned n_sent = 0;
	size_t most = 0;

	for (;;) {
		struct pollfd state = { .fd = greedy->fd, .events = POLLOUT };

		if (poll(&state, 1, 300) == 0)
			break;
		g_assert_true(raw_qmp_send(greedy, request));
		n_sent++;
		qmp_fixture_call(fixture, peek_backlog, &most);
		g_assert_cmpuint(n_sent, <, 100000);
	}
	g_assert_cmpuint(most, <, 50000 + (128 << 10));
	raw_qmp_send(other, EXECUTE("nothing"));
	raw_qmp_expect(other, "{\"return\": {}}");
	/* It gets every answer once it reads. */
	for (unsigned i = 0; i < n_sent; i++) {
		g_autofree char *line = raw_qmp_line(greedy);

		g_assert_cmpuint(strlen(line), ==, 50000 + strlen("{\"return\": \"\"}"));
	}
}

/* One answer may be larger than the queue's limit: lists of 65,536 extents are. */
static void test_large_answer(void)
{
	const QmpServerConfig config = { .max_queue_len = 64 << 10 };
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(&config);
	g_autoptr(RawQmp) raw = raw_qmp_negotiated(fixture);
	const size_t len = 20 << 20;
	g_autofree char *buf = g_malloc(1 << 20);
	size_t got = 0;

	raw_qmp_send(raw, "{\"execute\": \"fill\", \"arguments\": {\"len\": 20971520}}" EXECUTE(
				  "nothing"));
	while (got < len + strlen("{\"return\": \"\"}\r\n")) {
		size_t want = MIN((size_t)1 << 20, len + strlen("{\"return\": \"\"}\r\n") - got);
		ssize_t n = recv(raw->fd, buf, want, 0);

		g_assert_cmpint(n, >, 0);
		got += (size_t)n;
	}
	g_assert_cmpint(buf[0], ==, 'x');
	raw_qmp_expect(raw, "{\"return\": {}}");
}

static void flush(QmpFixture *fixture, void *data)
{
	qmp_server_flush(fixture->server, *(unsigned *)data);
}

static gpointer read_all(gpointer opaque)
{
	RawQmp *raw = opaque;
	g_autofree char *line = raw_qmp_line(raw);

	return GSIZE_TO_POINTER(strlen(line));
}

static void test_flush(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) raw = raw_qmp_negotiated(fixture);
	unsigned ms = 20;
	size_t most = 0;
	GThread *thread;
	gpointer len;

	raw_qmp_send(raw, "{\"execute\": \"fill\", \"arguments\": {\"len\": 4000000}}");
	while (most == 0)
		qmp_fixture_call(fixture, peek_backlog, &most);
	qmp_fixture_call(fixture, flush, &ms);
	most = 0;
	qmp_fixture_call(fixture, peek_backlog, &most);
	g_assert_cmpuint(most, >, 0);
	thread = g_thread_new("reader", read_all, raw);
	ms = 60000;
	qmp_fixture_call(fixture, flush, &ms);
	most = 0;
	qmp_fixture_call(fixture, peek_backlog, &most);
	g_assert_cmpuint(most, ==, 0);
	len = g_thread_join(thread);
	g_assert_cmpuint(GPOINTER_TO_SIZE(len), ==, 4000000 + strlen("{\"return\": \"\"}"));
}

typedef struct Hurry {
	RawQmp *raw;
	gint stop;
} Hurry;

static gpointer hurry_main(gpointer opaque)
{
	Hurry *hurry = opaque;
	g_autoptr(GString) requests = g_string_new(NULL);

	while (requests->len < 20000)
		g_string_append(requests, EXECUTE("nothing"));
	while (!g_atomic_int_get(&hurry->stop) && raw_qmp_send(hurry->raw, requests->str))
		;
	shutdown(hurry->raw->fd, SHUT_WR);
	return NULL;
}

static gpointer drain_main(gpointer opaque)
{
	const Hurry *hurry = opaque;
	char buf[65536];

	while (recv(hurry->raw->fd, buf, sizeof(buf), 0) > 0)
		;
	return NULL;
}

/* One that never stops asking leaves the others, and the rest of the loop, their turns. */
static void test_busy_neighbour(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) busy = raw_qmp_negotiated(fixture);
	g_autoptr(RawQmp) raw = raw_qmp_negotiated(fixture);
	Hurry hurry = { .raw = busy };
	GThread *writer = g_thread_new("writer", hurry_main, &hurry);
	GThread *reader = g_thread_new("reader", drain_main, &hurry);

	qmp_fixture_wait_count(&fixture->n_run, 10000);
	for (unsigned i = 0; i < 200; i++) {
		raw_qmp_send(raw, EXECUTE("query-version"));
		g_free(raw_qmp_line(raw));
		g_assert_cmpuint(qmp_fixture_n_clients(fixture), ==, 2);
	}
	g_atomic_int_set(&hurry.stop, 1);
	g_thread_join(writer);
	g_thread_join(reader);
}

/* ---- who is let in ---- */

static void test_not_admitted(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) before = raw_qmp_negotiated(fixture);

	g_atomic_int_set(&fixture->refuses, 1);
	for (unsigned i = 0; i < 3; i++) {
		g_autoptr(RawQmp) raw = raw_qmp_new(fixture);

		raw_qmp_expect_error(raw, "GenericError", "may not");
		raw_qmp_expect_closed(raw);
	}
	raw_qmp_send(before, EXECUTE("nothing"));
	raw_qmp_expect(before, "{\"return\": {}}");
	g_assert_cmpint(g_atomic_int_get(&fixture->n_gone), ==, 0);
}

static void test_too_many(void)
{
	const QmpServerConfig config = { .max_clients = 5 };
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(&config);
	RawQmp *raws[5];

	for (unsigned i = 0; i < G_N_ELEMENTS(raws); i++)
		raws[i] = raw_qmp_negotiated(fixture);
	for (unsigned i = 0; i < 3; i++) {
		g_autoptr(RawQmp) raw = raw_qmp_new(fixture);

		raw_qmp_expect_error(raw, "GenericError", "5 clients are connected");
		raw_qmp_expect_closed(raw);
	}
	raw_qmp_free(raws[0]);
	qmp_fixture_wait_clients(fixture, 4);
	raws[0] = raw_qmp_negotiated(fixture);
	for (unsigned i = 0; i < G_N_ELEMENTS(raws); i++) {
		raw_qmp_send(raws[i], EXECUTE("nothing"));
		raw_qmp_expect(raws[i], "{\"return\": {}}");
		raw_qmp_free(raws[i]);
	}
}

/* Connections that never negotiate keep nobody out for long. */
static void test_silent(void)
{
	const QmpServerConfig config = { .max_clients = 3 };
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(&config);
	int64_t until_us = g_get_monotonic_time() + PATIENCE_US;
	RawQmp *silent[3];

	for (unsigned i = 0; i < G_N_ELEMENTS(silent); i++) {
		silent[i] = raw_qmp_new(fixture);
		raw_qmp_greeted(silent[i]);
		raw_qmp_send(silent[i], "{\"execute\":");
	}
	for (unsigned n = 0; n < 2;) {
		g_autoptr(RawQmp) raw = raw_qmp_new(fixture);
		g_autofree char *line = raw_qmp_line(raw);

		g_assert_cmpint(g_get_monotonic_time(), <, until_us);
		if (!g_str_has_prefix(line, "{\"QMP\""))
			continue;
		raw_qmp_send(raw, EXECUTE("qmp_capabilities"));
		raw_qmp_expect(raw, "{\"return\": {}}");
		n++;
	}
	raw_qmp_expect_error(silent[0], "GenericError", "another client needs the place");
	raw_qmp_expect_closed(silent[0]);
	for (unsigned i = 0; i < G_N_ELEMENTS(silent); i++)
		raw_qmp_free(silent[i]);
}

static void adopt(QmpFixture *fixture, void *data)
{
	qmp_server_adopt(fixture->server, *(int *)data);
}

static void test_not_a_socket(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	unsigned before = count_fds();
	int pair[2], fd;

	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	qmp_fixture_call(fixture, adopt, &fd);
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), ==, 0);
	qmp_fixture_call(fixture, adopt, &pair[0]);
	close(pair[1]);
	g_assert_cmpuint(count_fds(), ==, before);
	g_assert_cmpuint(qmp_fixture_n_clients(fixture), ==, 0);
}

static void test_adopted(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) raw = g_new0(RawQmp, 1);
	int pair[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
	raw->fd = pair[0];
	raw->rx = g_string_new(NULL);
	qmp_fixture_call(fixture, adopt, &pair[1]);
	raw_qmp_greeted(raw);
	raw_qmp_send(raw, EXECUTE("qmp_capabilities"));
	raw_qmp_expect(raw, "{\"return\": {}}");
}

/* ---- listening ---- */

static void listen_more(QmpFixture *fixture, void *data)
{
	qmp_server_listen(fixture->server, *(int *)data);
}

static void unlisten(QmpFixture *fixture, void *data)
{
	qmp_server_unlisten(fixture->server);
}

static void test_listeners(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) raw = raw_qmp_negotiated(fixture);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* An address of the kernel's choice, in the abstract namespace. */
	struct sockaddr address = { .sa_family = AF_UNIX };
	struct sockaddr_storage named;
	socklen_t len = sizeof(named);
	int peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_assert_cmpint(bind(fd, &address, sizeof(address.sa_family)), ==, 0);
	g_assert_cmpint(listen(fd, 4), ==, 0);
	g_assert_cmpint(getsockname(fd, (struct sockaddr *)&named, &len), ==, 0);
	qmp_fixture_call(fixture, listen_more, &fd);
	g_assert_cmpint(connect(peer, (struct sockaddr *)&named, len), ==, 0);
	qmp_fixture_wait_clients(fixture, 2);
	qmp_fixture_call(fixture, unlisten, NULL);
	g_assert_cmpint(raw_qmp_connect_path(fixture->path), <, 0);
	raw_qmp_send(raw, EXECUTE("nothing"));
	raw_qmp_expect(raw, "{\"return\": {}}");
	close(peer);
	qmp_fixture_wait_clients(fixture, 1);
}

static void stop(QmpFixture *fixture, void *data)
{
	qmp_server_stop(fixture->server);
}

static void answer_held(QmpFixture *fixture, void *data)
{
	for (guint i = 0; i < fixture->held->len; i++)
		qmp_call_return(g_ptr_array_index(fixture->held, i), NULL);
	g_ptr_array_set_size(fixture->held, 0);
}

/* What has begun is answered, what has not is not begun; clients come and go no more. */
static void test_stopped(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) raw = raw_qmp_negotiated(fixture);
	g_autoptr(RawQmp) other = raw_qmp_negotiated(fixture);
	g_autoptr(JsonObject) event = NULL;

	raw_qmp_send(raw, EXECUTE("hold") EXECUTE("nothing"));
	qmp_fixture_wait_count(&fixture->n_run, 1);
	qmp_fixture_call(fixture, stop, NULL);
	raw_qmp_send(other, EXECUTE("nothing"));
	g_assert_cmpint(raw_qmp_connect_path(fixture->path), <, 0);
	qmp_fixture_call(fixture, answer_held, NULL);
	raw_qmp_expect(raw, "{\"return\": {}}");
	qmp_fixture_event(fixture, "SHUTDOWN", 1);
	event = raw_qmp_object(raw);
	g_assert_cmpstr(json_object_get_string_member(event, "event"), ==, "SHUTDOWN");
	g_assert_cmpint(g_atomic_int_get(&fixture->n_run), ==, 1);
}

static uint64_t cpu_us(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
	       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* No descriptor left for a new client: it waits, we do not run hot, the others are served. */
static void test_no_descriptors(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) before = raw_qmp_negotiated(fixture);
	g_autoptr(RawQmp) waits = NULL;
	struct rlimit limit, low;
	uint64_t start_us;
	int lowest;

	getrlimit(RLIMIT_NOFILE, &limit);
	waits = g_new0(RawQmp, 1);
	waits->rx = g_string_new(NULL);
	/* Descriptors are given out from below: beyond the next free one there is none. */
	lowest = dup(0);
	low = (struct rlimit){ .rlim_cur = (rlim_t)lowest + 1, .rlim_max = limit.rlim_max };
	close(lowest);
	g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &low), ==, 0);
	waits->fd = raw_qmp_connect_path(fixture->path);
	g_assert_cmpint(waits->fd, ==, lowest);
	start_us = cpu_us();
	for (unsigned i = 0; i < 100; i++) {
		struct pollfd state = { .fd = waits->fd, .events = POLLIN };

		raw_qmp_send(before, EXECUTE("nothing"));
		raw_qmp_expect(before, "{\"return\": {}}");
		g_assert_cmpint(poll(&state, 1, 5), ==, 0);
	}
	/* At least half a second has passed; running hot would have taken all of it. */
	g_assert_cmpuint(cpu_us() - start_us, <, 300000);
	g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
	raw_qmp_greeted(waits);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/qmp/limits/slow-reader", test_slow_reader);
	g_test_add_func("/protocol/qmp/limits/no-reading-no-answers", test_no_reading_no_answers);
	g_test_add_func("/protocol/qmp/limits/large-answer", test_large_answer);
	g_test_add_func("/protocol/qmp/limits/flush", test_flush);
	g_test_add_func("/protocol/qmp/limits/busy-neighbour", test_busy_neighbour);
	g_test_add_func("/protocol/qmp/limits/not-admitted", test_not_admitted);
	g_test_add_func("/protocol/qmp/limits/too-many", test_too_many);
	g_test_add_func("/protocol/qmp/limits/silent", test_silent);
	g_test_add_func("/protocol/qmp/limits/not-a-socket", test_not_a_socket);
	g_test_add_func("/protocol/qmp/limits/adopted", test_adopted);
	g_test_add_func("/protocol/qmp/limits/listeners", test_listeners);
	g_test_add_func("/protocol/qmp/limits/stopped", test_stopped);
	g_test_add_func("/protocol/qmp/limits/no-descriptors", test_no_descriptors);
	return g_test_run();
}
