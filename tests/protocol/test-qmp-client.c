/* SPDX-License-Identifier: BSD-3-Clause */
/* QMP client: calls, refusals, events, deadlines, and servers that are away, gone or no servers. */
#include "qmp_fixture.h"

#include "qmp/qmp_client.h"

#include <glib/gstdio.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define LONG_MS 60000

static QmpClient *connect_fixture(QmpFixture *fixture)
{
	GError *error = NULL;
	QmpClient *client = qmp_client_connect(fixture->path, LONG_MS, &error);

	g_assert_no_error(error);
	return client;
}

static JsonObject *args_u64(const char *name, uint64_t value)
{
	JsonObject *args = json_object_new();

	json_object_set_member(args, name, qmp_json_new_u64(value));
	return args;
}

static void call_ok(QmpClient *client, const char *command)
{
	GError *error = NULL;
	g_autoptr(JsonNode) result = qmp_client_call(client, command, NULL, LONG_MS, &error);

	g_assert_no_error(error);
	g_assert_cmpuint(json_object_get_size(json_node_get_object(result)), ==, 0);
}

static int64_t event_n(JsonObject *event)
{
	return json_object_get_int_member(json_object_get_object_member(event, "data"), "n");
}

/* ---- calls ---- */

static void test_calls(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(QmpClient) client = connect_fixture(fixture);
	JsonObject *version = json_object_get_object_member(qmp_client_peek_greeting(client),
							    "version");
	g_autoptr(JsonNode) result = NULL;
	GError *error = NULL;
	uint64_t value;

	g_assert_cmpstr(json_object_get_string_member(version, "package"), ==, "fixture 1");
	call_ok(client, "nothing");
	result = qmp_client_call(client, "number", args_u64("value", G_MAXUINT64), LONG_MS, &error);
	g_assert_no_error(error);
	g_assert_true(qmp_json_get_u64(result, &value));
	g_assert_cmpuint(value, ==, G_MAXUINT64);
	for (unsigned i = 0; i < 100; i++)
		call_ok(client, "nothing");
}

static void test_large(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(QmpClient) client = connect_fixture(fixture);
	g_autofree char *value = g_strnfill(1000000, 'v');
	JsonObject *args = json_object_new();
	g_autoptr(JsonNode) result = NULL;
	g_autoptr(JsonNode) echo = NULL;
	GError *error = NULL;

	result = qmp_client_call(client, "fill", args_u64("len", 20 << 20), LONG_MS, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(strlen(json_node_get_string(result)), ==, 20 << 20);
	json_object_set_string_member(args, "value", value);
	echo = qmp_client_call(client, "echo", args, LONG_MS, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(json_node_get_string(echo), ==, value);
}

static void test_refused(void)
{
	static const char *const classes[] = { "GenericError", "CommandNotFound", "DeviceNotActive",
					       "DeviceNotFound", "KVMMissingCap" };
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(QmpClient) client = connect_fixture(fixture);
	GError *error = NULL;

	for (unsigned i = 0; i < G_N_ELEMENTS(classes); i++) {
		JsonObject *args = json_object_new();

		json_object_set_string_member(args, "class", classes[i]);
		g_assert_null(qmp_client_call(client, "fail", args, LONG_MS, &error));
		g_assert_error(error, QMP_ERROR, (int)qmp_error_class_parse(classes[i]));
		g_assert_true(g_str_has_prefix(error->message, "refused as"));
		g_clear_error(&error);
	}
	g_assert_null(qmp_client_call(client, "no-such", NULL, LONG_MS, &error));
	g_assert_error(error, QMP_ERROR, QMP_ERROR_COMMAND_NOT_FOUND);
	g_clear_error(&error);
	g_assert_null(qmp_client_call(client, "no-such", NULL, LONG_MS, NULL));
	call_ok(client, "nothing");
}

static void test_raw(void)
{
	static const char *const requests[] = {
		"{\"execute\": \"nothing\", \"id\": [1]}",
		"{\"execute\": \"no\"}",
		"[1]",
		"7",
	};
	static const char *const answers[] = {
		"{\"return\": {}, \"id\": [1]}",
		"{\"error\": {\"class\": \"CommandNotFound\", "
		"\"desc\": \"The command no has not been found\"}}",
		"{\"error\": {\"class\": \"GenericError\", "
		"\"desc\": \"QMP input must be a JSON object\"}}",
		"{\"error\": {\"class\": \"GenericError\", "
		"\"desc\": \"QMP input must be a JSON object\"}}",
	};
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(QmpClient) client = connect_fixture(fixture);

	for (unsigned i = 0; i < G_N_ELEMENTS(requests); i++) {
		g_autoptr(JsonNode) request = qmp_json_parse(requests[i], strlen(requests[i]),
							     &qmp_json_request_limits, NULL);
		g_autoptr(GString) text = g_string_new(NULL);
		g_autoptr(JsonNode) answer = NULL;
		GError *error = NULL;

		answer = qmp_client_call_raw(client, request, LONG_MS, &error);
		g_assert_no_error(error);
		qmp_json_append(text, answer);
		g_assert_cmpstr(text->str, ==, answers[i]);
	}
}

/* ---- events ---- */

static void count_event(JsonObject *event, void *opaque)
{
	int64_t *n = opaque;

	g_assert_cmpint(event_n(event), ==, *n);
	++*n;
}

static bool is_number(JsonObject *event, void *opaque)
{
	return event_n(event) == *(int64_t *)opaque;
}

static void test_events(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(QmpClient) client = connect_fixture(fixture);
	g_autoptr(JsonObject) event = NULL;
	GError *error = NULL;
	int64_t n = 0, wanted = 25;

	/* While a call waits: handed over. */
	qmp_client_on_event(client, count_event, &n);
	for (int64_t i = 0; i < 10; i++)
		qmp_fixture_event(fixture, "NEWS", i);
	call_ok(client, "nothing");
	g_assert_cmpint(n, ==, 10);
	/* Or kept. */
	qmp_client_on_event(client, NULL, NULL);
	for (int64_t i = 10; i < 20; i++)
		qmp_fixture_event(fixture, "NEWS", i);
	call_ok(client, "nothing");
	g_assert_true(qmp_client_has_event(client));
	for (int64_t i = 20; i < 30; i++)
		qmp_fixture_event(fixture, "NEWS", i);
	for (int64_t i = 10; i < 22; i++) {
		g_autoptr(JsonObject) next = qmp_client_next_event(client, LONG_MS, &error);

		g_assert_no_error(error);
		g_assert_cmpint(event_n(next), ==, i);
		g_assert_cmpstr(json_object_get_string_member(next, "event"), ==, "NEWS");
	}
	event = qmp_client_wait_event(client, is_number, &wanted, LONG_MS, &error);
	g_assert_no_error(error);
	g_assert_cmpint(event_n(event), ==, wanted);
	wanted = 99;
	g_assert_null(qmp_client_wait_event(client, is_number, &wanted, 20, &error));
	g_assert_error(error, QMP_CLIENT_ERROR, QMP_CLIENT_ERROR_TIMED_OUT);
	g_clear_error(&error);
	call_ok(client, "nothing");
}

static void test_peek_fd(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(QmpClient) client = connect_fixture(fixture);
	struct pollfd state = { .fd = qmp_client_peek_fd(client), .events = POLLIN };

	g_assert_false(qmp_client_has_event(client));
	g_assert_cmpint(poll(&state, 1, 0), ==, 0);
	/* Several arrive in one piece: those behind the first are no more in the descriptor. */
	for (int64_t i = 0; i < 3; i++)
		qmp_fixture_event(fixture, "NEWS", i);
	g_assert_cmpint(poll(&state, 1, LONG_MS), ==, 1);
	for (int64_t i = 0; i < 3; i++) {
		g_autoptr(JsonObject) event = NULL;

		g_assert_true(i == 0 || qmp_client_has_event(client) ||
			      poll(&state, 1, LONG_MS) == 1);
		event = qmp_client_next_event(client, LONG_MS, NULL);
		g_assert_cmpint(event_n(event), ==, i);
	}
	g_assert_false(qmp_client_has_event(client));
}

/*
 * A large request while many events wait: the server reads nothing before they are taken, so a
 * client that only wrote would wait for ever.
 */
static void test_flood(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(QmpClient) client = connect_fixture(fixture);
	g_autofree char *value = g_strnfill(1000000, 'v');
	int64_t n = 0;

	qmp_client_on_event(client, count_event, &n);
	for (unsigned i = 1; i <= 3; i++) {
		JsonObject *args = json_object_new();
		g_autoptr(JsonNode) echo = NULL;
		GError *error = NULL;

		for (int64_t from = n; from < 20000 * i; from++)
			qmp_fixture_event(fixture, "FLOOD", from);
		json_object_set_string_member(args, "value", value);
		echo = qmp_client_call(client, "echo", args, LONG_MS, &error);
		g_assert_no_error(error);
		g_assert_cmpuint(strlen(json_node_get_string(echo)), ==, 1000000);
		g_assert_cmpint(n, ==, 20000 * i);
	}
}

/* ---- deadlines ---- */

static void test_time_out(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(QmpClient) client = connect_fixture(fixture);
	int64_t start_us = g_get_monotonic_time();
	GError *error = NULL;

	g_assert_null(qmp_client_call(client, "hold", NULL, 50, &error));
	g_assert_error(error, QMP_CLIENT_ERROR, QMP_CLIENT_ERROR_TIMED_OUT);
	g_assert_nonnull(strstr(error->message, fixture->path));
	g_assert_nonnull(strstr(error->message, "50 ms"));
	g_clear_error(&error);
	g_assert_cmpint(g_get_monotonic_time() - start_us, >=, 50000);
	g_assert_null(qmp_client_next_event(client, 20, &error));
	g_assert_error(error, QMP_CLIENT_ERROR, QMP_CLIENT_ERROR_TIMED_OUT);
	g_clear_error(&error);
}

/* ---- nobody there ---- */

static void expect_unreachable(const char *path, const char *part)
{
	GError *error = NULL;

	g_assert_null(qmp_client_connect(path, LONG_MS, &error));
	g_assert_error(error, QMP_CLIENT_ERROR, QMP_CLIENT_ERROR_UNREACHABLE);
	g_assert_true(g_str_has_prefix(error->message, path));
	if (!strstr(error->message, part))
		g_error("'%s' is not in: %s", part, error->message);
	g_clear_error(&error);
}

static void test_unreachable(void)
{
	QmpFixture *fixture = qmp_fixture_new(NULL);
	g_autofree char *dir = g_dir_make_tmp("softdcd-XXXXXX", NULL);
	g_autofree char *stale = g_build_filename(dir, "stale.sock", NULL);
	g_autofree char *file = g_build_filename(dir, "file", NULL);
	g_autofree char *none = g_build_filename(dir, "none.sock", NULL);
	g_autofree char *rest = g_strnfill(200, 'x');
	g_autofree char *too_long = g_build_filename(dir, rest, NULL);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_strlcpy(address.sun_path, stale, sizeof(address.sun_path));
	g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
	close(fd);
	g_assert_true(g_file_set_contents(file, "", 0, NULL));
	expect_unreachable(none, "softdcd serve");
	expect_unreachable(stale, "has ended");
	expect_unreachable(file, "cannot connect");
	expect_unreachable(too_long, "107 bytes");
	g_atomic_int_set(&fixture->refuses, 1);
	expect_unreachable(fixture->path, "may not");
	qmp_fixture_free(fixture);
	g_unlink(stale);
	g_unlink(file);
	g_rmdir(dir);
}

/* Root may connect to everything; nobody may not. */
static void test_not_permitted(void)
{
	g_autofree char *dir = g_dir_make_tmp("softdcd-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(dir, "qmp.sock", NULL);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int status;
	pid_t pid;

	g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
	g_assert_cmpint(bind(listener, (struct sockaddr *)&address, sizeof(address)), ==, 0);
	g_assert_cmpint(listen(listener, 1), ==, 0);
	g_assert_cmpint(g_chmod(path, 0), ==, 0);
	g_assert_cmpint(g_chmod(dir, 0711), ==, 0);
	pid = fork();
	g_assert_cmpint(pid, >=, 0);
	if (pid == 0) {
		GError *error = NULL;

		if (geteuid() == 0 && setuid(65534))
			_exit(2);
		if (qmp_client_connect(path, LONG_MS, &error))
			_exit(3);
		_exit(g_error_matches(error, QMP_CLIENT_ERROR, QMP_CLIENT_ERROR_UNREACHABLE) &&
				      strstr(error->message, path) &&
				      strstr(error->message, "--group")
			      ? 0
			      : 4);
	}
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_cmpint(status, ==, 0);
	close(listener);
	g_unlink(path);
	g_rmdir(dir);
}

/* Its queue is full and nobody accepts: a time-out, not for ever. */
static void test_full_queue(void)
{
	g_autofree char *dir = g_dir_make_tmp("softdcd-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(dir, "full.sock", NULL);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fds[8];
	unsigned n = 0;
	GError *error = NULL;

	g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
	g_assert_cmpint(bind(listener, (struct sockaddr *)&address, sizeof(address)), ==, 0);
	g_assert_cmpint(listen(listener, 0), ==, 0);
	for (; n < G_N_ELEMENTS(fds); n++) {
		fds[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (connect(fds[n], (struct sockaddr *)&address, sizeof(address)))
			break;
	}
	g_assert_cmpuint(n, <, G_N_ELEMENTS(fds));
	g_assert_null(qmp_client_connect(path, 50, &error));
	g_assert_error(error, QMP_CLIENT_ERROR, QMP_CLIENT_ERROR_TIMED_OUT);
	g_clear_error(&error);
	for (unsigned i = 0; i <= n; i++)
		close(fds[i]);
	close(listener);
	g_unlink(path);
	g_rmdir(dir);
}

/* ---- servers that lie or leave ---- */

typedef struct Liar {
	int fd;
	const char *greeting, *after; /* after: in answer to whatever comes behind negotiation */
} Liar;

static void say(int fd, const char *text)
{
	g_assert_cmpint(send(fd, text, strlen(text), MSG_NOSIGNAL), ==, (ssize_t)strlen(text));
}

static gpointer liar_main(gpointer opaque)
{
	const Liar *liar = opaque;
	char buf[4096];

	say(liar->fd, liar->greeting);
	if (liar->after && recv(liar->fd, buf, sizeof(buf), 0) > 0) {
		say(liar->fd, "{\"return\": {}, \"id\": 1}\n");
		if (recv(liar->fd, buf, sizeof(buf), 0) > 0)
			say(liar->fd, liar->after);
	}
	close(liar->fd);
	return NULL;
}

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n"

static void test_liars(void)
{
	static const struct {
		const char *greeting, *after;
		QmpClientError code;
	} cases[] = {
		{ "", NULL, QMP_CLIENT_ERROR_UNREACHABLE },
		{ "{\"QMP\": {", NULL, QMP_CLIENT_ERROR_UNREACHABLE },
		{ "SSH-2.0-x\r\n", NULL, QMP_CLIENT_ERROR_PROTOCOL },
		{ "{}", NULL, QMP_CLIENT_ERROR_PROTOCOL },
		{ "[]", NULL, QMP_CLIENT_ERROR_PROTOCOL },
		{ "{\"QMP\": 1}", NULL, QMP_CLIENT_ERROR_PROTOCOL },
		{ "{\"error\": {\"desc\": \"go away\"}}", NULL, QMP_CLIENT_ERROR_UNREACHABLE },
		{ "{\"error\": 1}", NULL, QMP_CLIENT_ERROR_UNREACHABLE },
		{ GREETING, "", QMP_CLIENT_ERROR_LOST },
		{ GREETING, "{\"return\"", QMP_CLIENT_ERROR_LOST },
		{ GREETING, "{\"return\": {}, \"id\": 3}", QMP_CLIENT_ERROR_PROTOCOL },
		{ GREETING, "{\"return\": {}, \"id\": \"2\"}", QMP_CLIENT_ERROR_PROTOCOL },
		{ GREETING, "{\"return\": {}}", QMP_CLIENT_ERROR_PROTOCOL },
		{ GREETING, "{\"return\": {},}", QMP_CLIENT_ERROR_PROTOCOL },
		{ GREETING, "12 ", QMP_CLIENT_ERROR_PROTOCOL },
		{ GREETING, "\xff", QMP_CLIENT_ERROR_PROTOCOL },
		{ GREETING, "{\"what\": 1}", QMP_CLIENT_ERROR_LOST },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		Liar liar = { .greeting = cases[i].greeting, .after = cases[i].after };
		g_autoptr(QmpClient) client = NULL;
		GError *error = NULL;
		GThread *thread;
		int pair[2];

		g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
		liar.fd = pair[0];
		thread = g_thread_new("liar", liar_main, &liar);
		client = qmp_client_new(pair[1], "liar", LONG_MS, &error);
		if (cases[i].after) {
			g_assert_no_error(error);
			g_assert_null(qmp_client_call(client, "x", NULL, LONG_MS, &error));
		} else {
			g_assert_null(client);
		}
		g_assert_error(error, QMP_CLIENT_ERROR, (int)cases[i].code);
		g_assert_true(g_str_has_prefix(error->message, "liar: "));
		g_clear_error(&error);
		g_thread_join(thread);
	}
}

/* What the server says before it closes is the reason that is given. */
static void test_last_words(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(QmpClient) client = connect_fixture(fixture);
	g_autofree char *value = g_strnfill(3 << 20, 'v');
	JsonObject *args = json_object_new();
	GError *error = NULL;

	json_object_set_string_member(args, "value", value);
	g_assert_null(qmp_client_call(client, "echo", args, LONG_MS, &error));
	g_assert_error(error, QMP_ERROR, QMP_ERROR_GENERIC);
	g_assert_nonnull(strstr(error->message, "longer than the limit"));
	g_clear_error(&error);
	g_assert_null(qmp_client_call(client, "nothing", NULL, LONG_MS, &error));
	g_assert_error(error, QMP_CLIENT_ERROR, QMP_CLIENT_ERROR_LOST);
	g_clear_error(&error);
}

static gpointer end_server(gpointer opaque)
{
	QmpFixture *fixture = opaque;

	qmp_fixture_wait_count(&fixture->n_run, 1);
	qmp_fixture_free(fixture);
	return NULL;
}

static void test_server_ends(void)
{
	QmpFixture *fixture = qmp_fixture_new(NULL);
	g_autoptr(QmpClient) client = connect_fixture(fixture);
	GThread *thread = g_thread_new("end", end_server, fixture);
	GError *error = NULL;

	g_assert_null(qmp_client_call(client, "hold", NULL, LONG_MS, &error));
	g_assert_error(error, QMP_CLIENT_ERROR, QMP_CLIENT_ERROR_LOST);
	g_clear_error(&error);
	g_thread_join(thread);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/qmp/client/calls", test_calls);
	g_test_add_func("/protocol/qmp/client/large", test_large);
	g_test_add_func("/protocol/qmp/client/refused", test_refused);
	g_test_add_func("/protocol/qmp/client/raw", test_raw);
	g_test_add_func("/protocol/qmp/client/events", test_events);
	g_test_add_func("/protocol/qmp/client/peek-fd", test_peek_fd);
	g_test_add_func("/protocol/qmp/client/flood", test_flood);
	g_test_add_func("/protocol/qmp/client/time-out", test_time_out);
	g_test_add_func("/protocol/qmp/client/unreachable", test_unreachable);
	g_test_add_func("/protocol/qmp/client/not-permitted", test_not_permitted);
	g_test_add_func("/protocol/qmp/client/full-queue", test_full_queue);
	g_test_add_func("/protocol/qmp/client/liars", test_liars);
	g_test_add_func("/protocol/qmp/client/last-words", test_last_words);
	g_test_add_func("/protocol/qmp/client/server-ends", test_server_ends);
	return g_test_run();
}
