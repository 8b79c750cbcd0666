/* SPDX-License-Identifier: BSD-3-Clause */
/* QMP client for programs that do one thing at a time: blocking, with deadlines. */
#include "qmp/qmp_client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_LEN      (64u << 10)
#define MAX_EVENTS    65536u
#define RETRY_MS      10 /* the listening socket's queue is full */
#define TIMED_OUT_FMT "%s: no answer within %u ms; the pool may be busy, or try a longer time-out"

G_DEFINE_QUARK(softdcd - qmp - client - error, qmp_client_error)

struct QmpClient {
	int fd;
	char *name;
	JsonNode *greeting;
	QmpFrame frame;
	GByteArray *rx;
	guint rx_scanned;
	GQueue events; /* of JsonObject */
	QmpClientEventFunc *on_event;
	void *on_event_opaque;
	int64_t last_id;
};

typedef struct Deadline {
	unsigned ms; /* for the error */
	int64_t at_us;
} Deadline;

static Deadline deadline_in(unsigned ms)
{
	return (Deadline){ ms, ms ? g_get_monotonic_time() + ms * G_TIME_SPAN_MILLISECOND
				  : G_MAXINT64 };
}

/* For poll(): -1 = without end, 0 = past. */
static int deadline_left_ms(const Deadline *deadline)
{
	int64_t left_us = deadline->at_us - g_get_monotonic_time();

	if (deadline->at_us == G_MAXINT64)
		return -1;
	if (left_us <= 0)
		return 0;
	return (int)MIN(left_us / G_TIME_SPAN_MILLISECOND + 1, G_MAXINT);
}

static bool fail(const QmpClient *client, QmpClientError code, const char *what, GError **error)
{
	g_set_error(error, QMP_CLIENT_ERROR, code, "%s: %s", client->name, what);
	return false;
}

static bool lost(const QmpClient *client, int number, GError **error)
{
	g_set_error(error, QMP_CLIENT_ERROR, QMP_CLIENT_ERROR_LOST,
		    "%s: the pool has closed the connection (%s)", client->name,
		    number ? g_strerror(number) : "it ended, or dropped this client");
	return false;
}

/* ---- bytes ---- */

/* Waits for any of EVENTS; RET says which. */
static bool client_poll(const QmpClient *client, short events, const Deadline *deadline, short *ret,
			GError **error)
{
	for (;;) {
		struct pollfd state = { .fd = client->fd, .events = events };
		int left_ms = deadline_left_ms(deadline);
		int n = poll(&state, 1, left_ms);

		if (n > 0) {
			*ret = state.revents;
			return true;
		}
		if (n < 0 && errno != EINTR)
			return lost(client, errno, error);
		if (n == 0 && left_ms == 0) {
			g_set_error(error, QMP_CLIENT_ERROR, QMP_CLIENT_ERROR_TIMED_OUT,
				    TIMED_OUT_FMT, client->name, deadline->ms);
			return false;
		}
	}
}

/* What is there now; nothing is fine. */
static bool client_receive(QmpClient *client, GError **error)
{
	uint8_t buf[READ_LEN];
	ssize_t got = recv(client->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (got > 0)
		g_byte_array_append(client->rx, buf, (guint)got);
	if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)))
		return true;
	return lost(client, got < 0 ? errno : 0, error);
}

/* Reads meanwhile: a pool whose events we do not take would not take our request. */
static bool client_send(QmpClient *client, const char *data, size_t len, const Deadline *deadline,
			GError **error)
{
	while (len > 0) {
		ssize_t sent = send(client->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		short ready;

		if (sent > 0) {
			data += sent;
			len -= (size_t)sent;
			continue;
		}
		if (errno == EINTR)
			continue;
		/* Whatever it said before it left is read next. */
		if (errno == EPIPE || errno == ECONNRESET)
			return true;
		if (errno != EAGAIN && errno != EWOULDBLOCK)
			return lost(client, errno, error);
		if (!client_poll(client, POLLIN | POLLOUT, deadline, &ready, error))
			return false;
		if ((ready & POLLIN) != 0 && !client_receive(client, NULL))
			return true;
	}
	return true;
}

/* ---- messages ---- */

static void client_drop(QmpClient *client, guint len)
{
	g_byte_array_remove_range(client->rx, 0, len);
	client->rx_scanned = 0;
}

/* The next value that was received. NULL without an error: it is not whole yet. */
static JsonNode *client_take(QmpClient *client, GError **error)
{
	const char *data = (const char *)client->rx->data;
	QmpFrameResult result;
	JsonNode *node;
	size_t used = 0;
	guint end;

	if (client->rx_scanned == client->rx->len)
		return NULL;
	result = qmp_frame_feed(&client->frame, data + client->rx_scanned,
				client->rx->len - client->rx_scanned, &used, error);
	if (result == QMP_FRAME_ERROR)
		return NULL;
	end = client->rx_scanned + (guint)used;
	client->rx_scanned = end;
	if (result == QMP_FRAME_MORE)
		return NULL;
	node = qmp_json_parse(data + end - client->frame.len, client->frame.len,
			      &qmp_json_answer_limits, error);
	client_drop(client, end);
	return node;
}

/* The next message, an object. */
static JsonNode *client_read(QmpClient *client, const Deadline *deadline, GError **error)
{
	for (;;) {
		g_autoptr(GError) bad = NULL;
		JsonNode *node = client_take(client, &bad);
		short ready;

		if (node && JSON_NODE_HOLDS_OBJECT(node))
			return node;
		if (node || bad) {
			g_clear_pointer(&node, json_node_unref);
			fail(client, QMP_CLIENT_ERROR_PROTOCOL,
			     bad ? bad->message : "what came is not a QMP message", error);
			return NULL;
		}
		if (!client_poll(client, POLLIN, deadline, &ready, error) ||
		    !client_receive(client, error))
			return NULL;
	}
}

static void client_handle_event(QmpClient *client, JsonObject *event)
{
	if (client->on_event) {
		client->on_event(event, client->on_event_opaque);
		return;
	}
	g_queue_push_tail(&client->events, json_object_ref(event));
	if (client->events.length > MAX_EVENTS)
		json_object_unref(g_queue_pop_head(&client->events));
}

/* The next answer; events before it are handled. */
static JsonNode *client_read_answer(QmpClient *client, const Deadline *deadline, GError **error)
{
	for (;;) {
		JsonNode *node = client_read(client, deadline, error);
		JsonObject *object;

		if (!node)
			return NULL;
		object = json_node_get_object(node);
		if (json_object_has_member(object, "return") ||
		    json_object_has_member(object, "error"))
			return node;
		if (json_object_has_member(object, "event"))
			client_handle_event(client, object);
		json_node_unref(node);
	}
}

/* ---- calls ---- */

JsonNode *qmp_client_call_raw(QmpClient *client, JsonNode *request, unsigned timeout_ms,
			      GError **error)
{
	g_autoptr(GString) text = g_string_new(NULL);
	Deadline deadline = deadline_in(timeout_ms);

	qmp_json_append(text, request);
	g_string_append_c(text, '\n');
	if (!client_send(client, text->str, text->len, &deadline, error))
		return NULL;
	return client_read_answer(client, &deadline, error);
}

static const char *string_member(JsonObject *object, const char *name)
{
	JsonNode *node = json_object_get_member(object, name);

	if (!node || !JSON_NODE_HOLDS_VALUE(node) ||
	    json_node_get_value_type(node) != G_TYPE_STRING)
		return NULL;
	return json_node_get_string(node);
}

/* ANSWER's "error" as a GError. */
static void set_refusal(JsonObject *answer, GError **error)
{
	JsonNode *node = json_object_get_member(answer, "error");
	JsonObject *refusal = JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
	const char *desc = refusal ? string_member(refusal, "desc") : NULL;

	g_set_error_literal(
		error, QMP_ERROR,
		(int)qmp_error_class_parse(refusal ? string_member(refusal, "class") : NULL),
		desc ? desc : "refused without a reason");
}

JsonNode *qmp_client_call(QmpClient *client, const char *command, JsonObject *args,
			  unsigned timeout_ms, GError **error)
{
	g_autoptr(JsonNode) request = json_node_init_object(json_node_alloc(), json_object_new());
	g_autoptr(JsonNode) answer = NULL;
	JsonObject *object = json_node_get_object(request);
	JsonNode *id;
	int64_t got = -1;

	json_object_unref(object); /* the node's reference stays */
	json_object_set_string_member(object, "execute", command);
	if (args)
		json_object_set_object_member(object, "arguments", args);
	json_object_set_int_member(object, "id", ++client->last_id);
	answer = qmp_client_call_raw(client, request, timeout_ms, error);
	if (!answer)
		return NULL;
	object = json_node_get_object(answer);
	if (json_object_has_member(object, "error")) {
		set_refusal(object, error);
		return NULL;
	}
	id = json_object_get_member(object, "id");
	if (!id || !qmp_json_get_i64(id, &got) || got != client->last_id) {
		fail(client, QMP_CLIENT_ERROR_PROTOCOL, "the answer is to another command", error);
		return NULL;
	}
	return json_node_ref(json_object_get_member(object, "return"));
}

/* ---- events ---- */

void qmp_client_on_event(QmpClient *client, QmpClientEventFunc *func, void *opaque)
{
	client->on_event = func;
	client->on_event_opaque = opaque;
}

static JsonObject *next_event(QmpClient *client, const Deadline *deadline, GError **error)
{
	if (client->events.length > 0)
		return g_queue_pop_head(&client->events);
	for (;;) {
		g_autoptr(JsonNode) node = client_read(client, deadline, error);

		if (!node)
			return NULL;
		if (json_object_has_member(json_node_get_object(node), "event"))
			return json_node_dup_object(node);
		/* The pool's last words before it closes, for instance. */
		if (json_object_has_member(json_node_get_object(node), "error")) {
			g_autoptr(GError) refusal = NULL;

			set_refusal(json_node_get_object(node), &refusal);
			fail(client, QMP_CLIENT_ERROR_LOST, refusal->message, error);
			return NULL;
		}
	}
}

JsonObject *qmp_client_next_event(QmpClient *client, unsigned timeout_ms, GError **error)
{
	Deadline deadline = deadline_in(timeout_ms);

	return next_event(client, &deadline, error);
}

JsonObject *qmp_client_wait_event(QmpClient *client, QmpClientMatchFunc *matches, void *opaque,
				  unsigned timeout_ms, GError **error)
{
	Deadline deadline = deadline_in(timeout_ms);

	for (;;) {
		JsonObject *event = next_event(client, &deadline, error);

		if (!event || matches(event, opaque))
			return event;
		json_object_unref(event);
	}
}

int qmp_client_peek_fd(const QmpClient *client)
{
	return client->fd;
}

bool qmp_client_has_event(const QmpClient *client)
{
	/* What was received together with something else may hold one, too. */
	for (guint i = client->rx_scanned; i < client->rx->len; i++) {
		if (!g_ascii_isspace((char)client->rx->data[i]))
			return true;
	}
	return client->events.length > 0;
}

/* ---- connecting ---- */

JsonObject *qmp_client_peek_greeting(QmpClient *client)
{
	return json_object_get_object_member(json_node_get_object(client->greeting), "QMP");
}

static bool client_greet(QmpClient *client, const Deadline *deadline, GError **error)
{
	g_autoptr(JsonNode) node = client_read(client, deadline, error);
	g_autoptr(GError) refusal = NULL;
	JsonObject *object;
	JsonNode *qmp;

	if (!node) {
		/* Nobody was there yet. */
		if (error && g_error_matches(*error, QMP_CLIENT_ERROR, QMP_CLIENT_ERROR_LOST))
			(*error)->code = QMP_CLIENT_ERROR_UNREACHABLE;
		return false;
	}
	object = json_node_get_object(node);
	qmp = json_object_get_member(object, "QMP");
	if (qmp && JSON_NODE_HOLDS_OBJECT(qmp)) {
		client->greeting = g_steal_pointer(&node);
		return true;
	}
	if (!json_object_has_member(object, "error"))
		return fail(client, QMP_CLIENT_ERROR_PROTOCOL, "no QMP greeting came", error);
	set_refusal(object, &refusal);
	return fail(client, QMP_CLIENT_ERROR_UNREACHABLE, refusal->message, error);
}

QmpClient *qmp_client_new(int fd, const char *name, unsigned timeout_ms, GError **error)
{
	g_autoptr(QmpClient) client = g_new0(QmpClient, 1);
	Deadline deadline = deadline_in(timeout_ms);
	g_autoptr(JsonNode) answer = NULL;
	int left_ms;

	client->fd = fd;
	client->name = g_strdup(name);
	client->rx = g_byte_array_new();
	g_queue_init(&client->events);
	qmp_frame_init(&client->frame, &qmp_json_answer_limits);
	if (!client_greet(client, &deadline, error))
		return NULL;
	left_ms = deadline_left_ms(&deadline);
	answer = qmp_client_call(client, "qmp_capabilities", NULL,
				 left_ms < 0 ? 0 : (unsigned)MAX(left_ms, 1), error);
	return answer ? g_steal_pointer(&client) : NULL;
}

static void set_connect_error(const char *path, int number, GError **error)
{
	const char *cure = "is it a pool's socket?";

	if (number == ENOENT)
		cure = "no such pool is running; start it with 'softdcd serve', or name another "
		       "one with --pool";
	else if (number == ECONNREFUSED)
		cure = "the pool that made this socket has ended; start it with 'softdcd serve'";
	else if (number == EACCES || number == EPERM)
		cure = "run as the pool's user, or have it opened to a group of yours with "
		       "'softdcd serve --group'";
	else if (number == ENAMETOOLONG)
		cure = "a socket's path has at most 107 bytes; use a shorter XDG_RUNTIME_DIR";
	g_set_error(error, QMP_CLIENT_ERROR,
		    number == ETIMEDOUT ? QMP_CLIENT_ERROR_TIMED_OUT : QMP_CLIENT_ERROR_UNREACHABLE,
		    "%s: cannot connect: %s; %s", path, g_strerror(number),
		    number == ETIMEDOUT ? "the pool does not answer" : cure);
}

/* A connected socket, or -errno. A full queue of the listener is waited for, as connect() does. */
static int connect_path(const char *path, const Deadline *deadline)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, number;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	while (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		number = errno;
		if (number == EINTR)
			continue;
		if (number == EAGAIN && deadline_left_ms(deadline) != 0) {
			poll(NULL, 0, RETRY_MS);
			continue;
		}
		close(fd);
		return number == EAGAIN ? -ETIMEDOUT : -number;
	}
	return fd;
}

QmpClient *qmp_client_connect(const char *path, unsigned timeout_ms, GError **error)
{
	Deadline deadline = deadline_in(timeout_ms);
	int fd = connect_path(path, &deadline);

	if (fd < 0) {
		set_connect_error(path, -fd, error);
		return NULL;
	}
	return qmp_client_new(fd, path, timeout_ms, error);
}

void qmp_client_free(QmpClient *client)
{
	if (!client)
		return;
	close(client->fd);
	g_clear_pointer(&client->greeting, json_node_unref);
	g_queue_clear_full(&client->events, (GDestroyNotify)json_object_unref);
	g_byte_array_unref(client->rx);
	g_free(client->name);
	g_free(client);
}
