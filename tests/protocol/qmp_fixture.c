/* SPDX-License-Identifier: BSD-3-Clause */
/* A QMP server on a thread of its own, commands to test it with, and a client that sends bytes. */
#include "qmp_fixture.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_MS 60000

/* ---- commands ---- */

static void run_nothing(QmpCall *call, JsonObject *args, void *opaque)
{
	QmpFixture *fixture = opaque;

	g_atomic_int_inc(&fixture->n_run);
	qmp_call_return(call, NULL);
}

static void run_echo(QmpCall *call, JsonObject *args, void *opaque)
{
	QmpFixture *fixture = opaque;

	g_atomic_int_inc(&fixture->n_run);
	qmp_call_return(call, json_node_ref(json_object_get_member(args, "value")));
}

static void run_hold(QmpCall *call, JsonObject *args, void *opaque)
{
	QmpFixture *fixture = opaque;

	g_ptr_array_add(fixture->held, call);
	g_atomic_int_inc(&fixture->n_run);
}

static void run_let_go(QmpCall *call, JsonObject *args, void *opaque)
{
	QmpFixture *fixture = opaque;

	for (guint i = 0; i < fixture->held->len; i++)
		qmp_call_return(g_ptr_array_index(fixture->held, i), NULL);
	g_ptr_array_set_size(fixture->held, 0);
	qmp_call_return(call, NULL);
}

static void run_fill(QmpCall *call, JsonObject *args, void *opaque)
{
	g_autofree char *value = g_strnfill(qmp_args_u64(args, "len", 0), 'x');
	QmpText text = { .out = g_string_new(NULL) };

	qmp_text_string(&text, NULL, value);
	qmp_call_return_text(call, text.out);
}

static void run_fail(QmpCall *call, JsonObject *args, void *opaque)
{
	const char *class = qmp_args_string(args, "class", "GenericError");

	qmp_call_error(call, qmp_error_class_parse(class), "refused as '%s' \xc3\xa9", class);
}

static void run_number(QmpCall *call, JsonObject *args, void *opaque)
{
	qmp_call_return(call, qmp_json_new_u64(qmp_args_u64(args, "value", 0)));
}

static const QmpArg echo_args[] = { { .name = "value", .type = QMP_ANY }, { .name = NULL } };
static const QmpArg fill_args[] = { { .name = "len", .type = QMP_U32 }, { .name = NULL } };
static const QmpArg fail_args[] = { { .name = "class", .type = QMP_STRING }, { .name = NULL } };
static const QmpArg number_args[] = { { .name = "value", .type = QMP_U64 }, { .name = NULL } };

static const QmpCommand commands[] = {
	{ "nothing", NULL, run_nothing },
	{ "echo", echo_args, run_echo },
	{ "hold", NULL, run_hold },
	{ "let-go", NULL, run_let_go },
	{ "fill", fill_args, run_fill },
	{ "fail", fail_args, run_fail },
	{ "number", number_args, run_number },
	{ .name = NULL },
};

/* ---- the server ---- */

static bool admit(const QmpPeer *peer, void *opaque, GError **error)
{
	QmpFixture *fixture = opaque;

	g_assert_cmpuint(peer->uid, ==, getuid());
	g_assert_cmpint(peer->pid, ==, getpid());
	g_assert_cmpuint(peer->client, >, 0);
	if (!g_atomic_int_get(&fixture->refuses))
		return true;
	g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC, "uid %u may not", (unsigned)peer->uid);
	return false;
}

static void gone(const QmpPeer *peer, void *opaque)
{
	QmpFixture *fixture = opaque;

	g_atomic_int_inc(&fixture->n_gone);
}

static void quit(const QmpPeer *peer, void *opaque)
{
	QmpFixture *fixture = opaque;

	g_atomic_int_inc(&fixture->n_quit);
}

static gpointer fixture_main(gpointer opaque)
{
	QmpFixture *fixture = opaque;

	g_main_context_push_thread_default(fixture->context);
	g_main_loop_run(fixture->loop);
	g_main_context_pop_thread_default(fixture->context);
	return NULL;
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
	g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
	g_assert_cmpint(listen(fd, 64), ==, 0);
	return fd;
}

QmpFixture *qmp_fixture_new(const QmpServerConfig *config)
{
	QmpServerConfig filled = config ? *config : (QmpServerConfig){ .package = NULL };
	QmpFixture *fixture = g_new0(QmpFixture, 1);

	fixture->dir = g_dir_make_tmp("softdcd-XXXXXX", NULL);
	g_assert_nonnull(fixture->dir);
	fixture->path = g_build_filename(fixture->dir, "qmp.sock", NULL);
	fixture->context = g_main_context_new();
	fixture->loop = g_main_loop_new(fixture->context, FALSE);
	fixture->held = g_ptr_array_new();
	filled.major = 11;
	filled.minor = 1;
	filled.micro = 3;
	filled.package = "fixture 1";
	filled.admit = admit;
	filled.gone = gone;
	filled.quit = quit;
	filled.opaque = fixture;
	fixture->server = qmp_server_new(fixture->context, &filled);
	qmp_server_add_commands(fixture->server, commands, fixture);
	qmp_server_listen(fixture->server, listen_at(fixture->path));
	fixture->thread = g_thread_new("qmp", fixture_main, fixture);
	return fixture;
}

static void end_loop(QmpFixture *fixture, void *data)
{
	g_main_loop_quit(fixture->loop);
}

void qmp_fixture_free(QmpFixture *fixture)
{
	/* From inside: a loop that has not begun would not see it. */
	qmp_fixture_call(fixture, end_loop, NULL);
	g_thread_join(fixture->thread);
	qmp_server_free(fixture->server);
	/* These have nobody to answer to now, and must be answered all the same. */
	for (guint i = 0; i < fixture->held->len; i++) {
		QmpCall *call = g_ptr_array_index(fixture->held, i);

		g_assert_true(qmp_call_is_orphan(call));
		g_assert_cmpstr(qmp_call_peek_name(call), ==, "hold");
		qmp_call_return(call, NULL);
	}
	g_ptr_array_unref(fixture->held);
	g_main_loop_unref(fixture->loop);
	g_main_context_unref(fixture->context);
	g_unlink(fixture->path);
	g_rmdir(fixture->dir);
	g_free(fixture->path);
	g_free(fixture->dir);
	g_free(fixture);
}

/* ---- on the server's thread ---- */

typedef struct Errand {
	QmpFixture *fixture;
	void (*func)(QmpFixture *, void *);
	void *data;
	GMutex mutex;
	GCond cond;
	bool done;
} Errand;

static gboolean errand_run(gpointer opaque)
{
	Errand *errand = opaque;

	errand->func(errand->fixture, errand->data);
	g_mutex_lock(&errand->mutex);
	errand->done = true;
	g_cond_signal(&errand->cond);
	g_mutex_unlock(&errand->mutex);
	return G_SOURCE_REMOVE;
}

void qmp_fixture_call(QmpFixture *fixture, void (*func)(QmpFixture *, void *), void *data)
{
	Errand errand = { .fixture = fixture, .func = func, .data = data };
	g_autoptr(GSource) source = g_idle_source_new();

	g_mutex_init(&errand.mutex);
	g_cond_init(&errand.cond);
	g_source_set_priority(source, G_PRIORITY_DEFAULT);
	g_source_set_callback(source, errand_run, &errand, NULL);
	g_source_attach(source, fixture->context);
	g_mutex_lock(&errand.mutex);
	while (!errand.done)
		g_cond_wait(&errand.cond, &errand.mutex);
	g_mutex_unlock(&errand.mutex);
	g_mutex_clear(&errand.mutex);
	g_cond_clear(&errand.cond);
}

static void count_clients(QmpFixture *fixture, void *data)
{
	*(unsigned *)data = qmp_server_n_clients(fixture->server);
}

unsigned qmp_fixture_n_clients(QmpFixture *fixture)
{
	unsigned n = 0;

	qmp_fixture_call(fixture, count_clients, &n);
	return n;
}

void qmp_fixture_wait_clients(QmpFixture *fixture, unsigned n)
{
	int64_t until_us = g_get_monotonic_time() + PATIENCE_MS * G_TIME_SPAN_MILLISECOND;

	while (qmp_fixture_n_clients(fixture) != n) {
		g_assert_cmpint(g_get_monotonic_time(), <, until_us);
		g_usleep(500);
	}
}

void qmp_fixture_wait_count(gint *counter, gint n)
{
	int64_t until_us = g_get_monotonic_time() + PATIENCE_MS * G_TIME_SPAN_MILLISECOND;

	while (g_atomic_int_get(counter) < n) {
		g_assert_cmpint(g_get_monotonic_time(), <, until_us);
		g_usleep(500);
	}
}

typedef struct Announce {
	const char *name;
	int64_t n;
} Announce;

static void announce(QmpFixture *fixture, void *data)
{
	const Announce *what = data;
	JsonObject *object = json_object_new();

	json_object_set_int_member(object, "n", what->n);
	qmp_server_event(fixture->server, what->name, object);
}

void qmp_fixture_event(QmpFixture *fixture, const char *name, int64_t n)
{
	Announce what = { name, n };

	qmp_fixture_call(fixture, announce, &what);
}

/* ---- a client ---- */

int raw_qmp_connect_path(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int number;

	g_assert_cmpint(fd, >=, 0);
	g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	number = errno;
	close(fd);
	return -number;
}

RawQmp *raw_qmp_at(const char *path)
{
	RawQmp *raw = g_new0(RawQmp, 1);

	raw->fd = raw_qmp_connect_path(path);
	g_assert_cmpint(raw->fd, >=, 0);
	raw->rx = g_string_new(NULL);
	return raw;
}

RawQmp *raw_qmp_negotiated_at(const char *path)
{
	RawQmp *raw = raw_qmp_at(path);

	raw_qmp_greeted(raw);
	g_assert_true(raw_qmp_send(raw, "{\"execute\": \"qmp_capabilities\"}"));
	raw_qmp_expect(raw, "{\"return\": {}}");
	return raw;
}

RawQmp *raw_qmp_new(QmpFixture *fixture)
{
	return raw_qmp_at(fixture->path);
}

RawQmp *raw_qmp_negotiated(QmpFixture *fixture)
{
	return raw_qmp_negotiated_at(fixture->path);
}

void raw_qmp_free(RawQmp *raw)
{
	close(raw->fd);
	g_string_free(raw->rx, TRUE);
	g_free(raw);
}

bool raw_qmp_send_len(RawQmp *raw, const void *data, size_t len)
{
	while (len > 0) {
		ssize_t sent = send(raw->fd, data, len, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return false;
		data = (const char *)data + sent;
		len -= (size_t)sent;
	}
	return true;
}

bool raw_qmp_send(RawQmp *raw, const char *text)
{
	return raw_qmp_send_len(raw, text, strlen(text));
}

char *raw_qmp_line(RawQmp *raw)
{
	for (;;) {
		struct pollfd state = { .fd = raw->fd, .events = POLLIN };
		char *end = strstr(raw->rx->str, "\r\n");
		char buf[65536];
		ssize_t got;

		if (end) {
			char *line = g_strndup(raw->rx->str, (gsize)(end - raw->rx->str));

			g_string_erase(raw->rx, 0, end + 2 - raw->rx->str);
			return line;
		}
		g_assert_cmpint(poll(&state, 1, PATIENCE_MS), ==, 1);
		got = recv(raw->fd, buf, sizeof(buf), 0);
		if (got <= 0) {
			/* Nothing is sent by halves. */
			g_assert_cmpuint(raw->rx->len, ==, 0);
			return NULL;
		}
		g_string_append_len(raw->rx, buf, got);
		g_assert_cmpuint(strlen(raw->rx->str), ==, raw->rx->len);
	}
}

void raw_qmp_greeted(RawQmp *raw)
{
	g_autofree char *greeting = raw_qmp_line(raw);

	g_assert_nonnull(greeting);
	g_assert_true(g_str_has_prefix(greeting, "{\"QMP\": "));
}

void raw_qmp_expect(RawQmp *raw, const char *line)
{
	g_autofree char *got = raw_qmp_line(raw);

	g_assert_cmpstr(got, ==, line);
}

void raw_qmp_expect_closed(RawQmp *raw)
{
	g_autofree char *got = raw_qmp_line(raw);

	g_assert_cmpstr(got, ==, NULL);
}

JsonObject *raw_qmp_object(RawQmp *raw)
{
	g_autofree char *line = raw_qmp_line(raw);
	g_autoptr(JsonNode) node = NULL;
	GError *error = NULL;

	g_assert_nonnull(line);
	/* By another parser than the one the server has. */
	node = json_from_string(line, &error);
	g_assert_no_error(error);
	g_assert_true(JSON_NODE_HOLDS_OBJECT(node));
	return json_node_dup_object(node);
}

void raw_qmp_expect_error(RawQmp *raw, const char *class, const char *part)
{
	g_autoptr(JsonObject) object = raw_qmp_object(raw);
	JsonObject *error;

	g_assert_true(json_object_has_member(object, "error"));
	error = json_object_get_object_member(object, "error");
	g_assert_cmpuint(json_object_get_size(error), ==, 2);
	g_assert_cmpstr(json_object_get_string_member(error, "class"), ==, class);
	if (!strstr(json_object_get_string_member(error, "desc"), part))
		g_error("'%s' is not in: %s", part, json_object_get_string_member(error, "desc"));
}
