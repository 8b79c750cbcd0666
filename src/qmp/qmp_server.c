/* SPDX-License-Identifier: BSD-3-Clause */
/* QMP server: who is let in, which commands there are, and events. */
#include "qmp/qmp_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CLIENTS       64u
#define MAX_QUEUE_LEN     (8u << 20)
#define ACCEPTS_PER_TURN  16u
#define ACCEPT_BACKOFF_US (100 * G_TIME_SPAN_MILLISECOND) /* descriptors or memory ran out */
#define IDLE_US           G_TIME_SPAN_SECOND              /* see server_make_room() */

/* ---- commands that every server has ---- */

static void append_version(const QmpServer *server, QmpText *text, const char *name)
{
	qmp_text_begin(text, name, '{');
	qmp_text_begin(text, "qemu", '{');
	qmp_text_u64(text, "micro", server->config.micro);
	qmp_text_u64(text, "minor", server->config.minor);
	qmp_text_u64(text, "major", server->config.major);
	qmp_text_end(text, '}');
	qmp_text_string(text, "package", server->package);
	qmp_text_end(text, '}');
}

/* We have none to offer: "oob" is the only one there is. */
static bool check_capabilities(JsonArray *enable, GError **error)
{
	for (guint i = 0; enable && i < json_array_get_length(enable); i++) {
		const char *name = json_array_get_string_element(enable, i);

		if (strcmp(name, "oob") == 0)
			g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC,
				    "Capability oob not available");
		else
			g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC,
				    "Parameter 'enable[%u]' does not accept value '%.200s'", i,
				    name);
		return false;
	}
	return true;
}

static void run_qmp_capabilities(QmpCall *call, JsonObject *args, void *opaque)
{
	GError *error = NULL;

	if (call->conn->negotiated) {
		qmp_call_error(call, QMP_ERROR_COMMAND_NOT_FOUND,
			       "Capabilities negotiation is already complete, command ignored");
	} else if (!check_capabilities(qmp_args_array(args, "enable"), &error)) {
		qmp_call_fail(call, error);
	} else {
		call->conn->negotiated = true;
		qmp_call_return(call, NULL);
	}
}

static void run_query_version(QmpCall *call, JsonObject *args, void *opaque)
{
	QmpText text = { .out = g_string_new(NULL) };

	append_version(opaque, &text, NULL);
	qmp_call_return_text(call, text.out);
}

static void run_query_commands(QmpCall *call, JsonObject *args, void *opaque)
{
	const QmpServer *server = opaque;
	QmpText text = { .out = g_string_new(NULL) };

	qmp_text_begin(&text, NULL, '[');
	for (guint i = 0; i < server->entries->len; i++) {
		const QmpEntry *entry = g_ptr_array_index(server->entries, i);

		qmp_text_begin(&text, NULL, '{');
		qmp_text_string(&text, "name", entry->command->name);
		qmp_text_end(&text, '}');
	}
	qmp_text_end(&text, ']');
	qmp_call_return_text(call, text.out);
}

typedef struct Quit {
	QmpServer *server;
	QmpPeer peer;
} Quit;

static gboolean quit_now(gpointer data)
{
	const Quit *quit = data;
	QmpServer *server = quit->server;

	g_clear_pointer(&server->quit, g_source_unref);
	server->config.quit(&quit->peer, server->config.opaque);
	return G_SOURCE_REMOVE;
}

/* Answered first: whoever asked may wait for the answer, not for our end. */
static void run_quit(QmpCall *call, JsonObject *args, void *opaque)
{
	QmpServer *server = opaque;

	if (!server->quitting) {
		Quit *quit = g_new0(Quit, 1);

		server->quitting = true;
		quit->server = server;
		quit->peer = call->peer;
		server->quit = g_idle_source_new();
		g_source_set_priority(server->quit, G_PRIORITY_DEFAULT);
		g_source_set_callback(server->quit, quit_now, quit, g_free);
		g_source_attach(server->quit, server->context);
	}
	qmp_call_return(call, NULL);
}

static const QmpArg capabilities_args[] = {
	{ .name = "enable", .type = QMP_STRINGS, .optional = true },
	{ .name = NULL },
};

static const QmpCommand builtin_commands[] = {
	{ "qmp_capabilities", capabilities_args, run_qmp_capabilities },
	{ "query-version", NULL, run_query_version },
	{ "query-commands", NULL, run_query_commands },
	{ .name = NULL },
};

static const QmpCommand quit_commands[] = {
	{ "quit", NULL, run_quit },
	{ .name = NULL },
};

void qmp_server_add_commands(QmpServer *server, const QmpCommand *table, void *opaque)
{
	for (const QmpCommand *command = table; command->name; command++) {
		QmpEntry *entry = g_new(QmpEntry, 1);
		bool is_new;

		*entry = (QmpEntry){ command, opaque };
		is_new = g_hash_table_insert(server->commands, (gpointer)command->name, entry);
		g_assert(is_new);
		g_ptr_array_add(server->entries, entry);
	}
}

/* ---- clients ---- */

/* To a peer that gets nothing else; its socket is new, so this does not block. */
static void turn_away(int fd, const char *why)
{
	g_autoptr(GBytes) message = qmp_call_error_message(QMP_ERROR_GENERIC, why);
	gsize len;
	const void *data = g_bytes_get_data(message, &len);
	ssize_t sent;

	do {
		sent = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	close(fd);
}

static void greet(QmpConn *conn)
{
	QmpText text = { .out = g_string_new(NULL) };
	g_autoptr(GBytes) message = NULL;

	qmp_text_begin(&text, NULL, '{');
	qmp_text_begin(&text, "QMP", '{');
	append_version(conn->server, &text, "version");
	qmp_text_begin(&text, "capabilities", '[');
	qmp_text_end(&text, ']');
	qmp_text_end(&text, '}');
	qmp_text_end(&text, '}');
	g_string_append(text.out, "\r\n");
	message = g_string_free_to_bytes(text.out);
	qmp_conn_send(conn, message);
}

/*
 * All places are taken: one that connected and has said nothing sensible for a while gives up its
 * own, so that such connections cannot keep others out.
 */
static bool server_make_room(QmpServer *server)
{
	g_autoptr(GBytes) message = qmp_call_error_message(
		QMP_ERROR_GENERIC, "no 'qmp_capabilities' came and another client needs the place");
	int64_t now_us = g_get_monotonic_time();

	for (GList *at = server->conns.head; at; at = at->next) {
		QmpConn *conn = at->data;

		if (!conn->negotiated && !conn->in_turn && !conn->call &&
		    now_us - conn->since_us >= IDLE_US) {
			QmpPeer peer = conn->peer;

			qmp_conn_send(conn, message);
			qmp_conn_close(conn);
			if (server->config.gone)
				server->config.gone(&peer, server->config.opaque);
			return true;
		}
	}
	return false;
}

static bool peer_of(int fd, QmpPeer *ret)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int type = 0;
	socklen_t type_len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) || type != SOCK_STREAM)
		return false;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return false;
	*ret = (QmpPeer){ .pid = cred.pid, .uid = cred.uid, .gid = cred.gid };
	return true;
}

static gid_t *peer_groups(int fd, unsigned *ret_n)
{
	socklen_t len = 64 * sizeof(gid_t);
	gid_t *groups = g_malloc(len);

	/* Too small: says how many there are. */
	while (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len)) {
		if (errno != ERANGE) {
			len = 0;
			break;
		}
		groups = g_realloc(groups, len);
	}
	*ret_n = (unsigned)(len / sizeof(gid_t));
	return groups;
}

static bool is_admitted(QmpServer *server, int fd, const QmpPeer *peer, GError **error)
{
	g_autofree gid_t *groups = NULL;
	QmpPeer known = *peer;

	if (!server->config.admit)
		return true;
	known.groups = groups = peer_groups(fd, &known.n_groups);
	return server->config.admit(&known, server->config.opaque, error);
}

void qmp_server_adopt(QmpServer *server, int fd)
{
	g_autoptr(GError) error = NULL;
	QmpPeer peer;

	if (!peer_of(fd, &peer)) {
		close(fd);
		return;
	}
	peer.client = ++server->last_client;
	if (!is_admitted(server, fd, &peer, &error)) {
		turn_away(fd, error->message);
		return;
	}
	if (server->conns.length >= server->config.max_clients && !server_make_room(server)) {
		g_autofree char *why = g_strdup_printf(
			"%u clients are connected, which is the limit; close some or try again",
			server->conns.length);

		turn_away(fd, why);
		return;
	}
	greet(qmp_conn_new(server, fd, &peer));
}

unsigned qmp_server_n_clients(const QmpServer *server)
{
	return server->conns.length;
}

static QmpConn *find_client(const QmpServer *server, uint64_t client)
{
	for (GList *at = server->conns.head; at; at = at->next) {
		QmpConn *conn = at->data;

		if (conn->peer.client == client)
			return conn;
	}
	return NULL;
}

size_t qmp_server_backlog(const QmpServer *server, uint64_t client)
{
	const QmpConn *conn = find_client(server, client);

	return conn ? conn->tx_len : 0;
}

void qmp_server_flush(QmpServer *server, unsigned ms)
{
	int64_t deadline_us = g_get_monotonic_time() + ms * G_TIME_SPAN_MILLISECOND;
	g_autofree struct pollfd *fds = g_new(struct pollfd, server->conns.length);

	for (;;) {
		int64_t left_us = deadline_us - g_get_monotonic_time();
		nfds_t n = 0;

		for (GList *at = server->conns.head; at; at = at->next) {
			QmpConn *conn = at->data;

			qmp_conn_flush(conn);
			if (conn->tx_len > 0)
				fds[n++] = (struct pollfd){ .fd = conn->fd, .events = POLLOUT };
		}
		if (n == 0 || left_us <= 0)
			return;
		poll(fds, n, (int)(left_us / G_TIME_SPAN_MILLISECOND) + 1);
	}
}

/* ---- events ---- */

/* Takes DATA. */
static GBytes *event_message(const char *name, JsonObject *data)
{
	int64_t now_us = g_get_real_time();
	QmpText text = { .out = g_string_new(NULL) };

	qmp_text_begin(&text, NULL, '{');
	qmp_text_begin(&text, "timestamp", '{');
	qmp_text_i64(&text, "seconds", now_us / G_USEC_PER_SEC);
	qmp_text_i64(&text, "microseconds", now_us % G_USEC_PER_SEC);
	qmp_text_end(&text, '}');
	qmp_text_string(&text, "event", name);
	if (data) {
		g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), data);

		g_string_append(text.out, ", \"data\": ");
		qmp_json_append(text.out, node);
		json_object_unref(data);
	}
	qmp_text_end(&text, '}');
	g_string_append(text.out, "\r\n");
	return g_string_free_to_bytes(text.out);
}

void qmp_server_event(QmpServer *server, const char *name, JsonObject *data)
{
	g_autoptr(GBytes) message = event_message(name, data);

	for (GList *at = server->conns.head; at; at = at->next) {
		QmpConn *conn = at->data;

		if (conn->negotiated && !conn->closing)
			qmp_conn_send(conn, message);
	}
}

bool qmp_server_event_to(QmpServer *server, uint64_t client, const char *name, JsonObject *data)
{
	g_autoptr(GBytes) message = event_message(name, data);
	QmpConn *conn = find_client(server, client);

	if (!conn || conn->closing || conn->doomed)
		return false;
	qmp_conn_send(conn, message);
	return true;
}

/* ---- listening ---- */

typedef struct QmpListener {
	GSource source; /* first */
	QmpServer *server;
	int fd;
	gpointer tag;
} QmpListener;

static gboolean listener_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	QmpListener *listener = (QmpListener *)source;

	g_source_set_ready_time(source, -1);
	g_source_modify_unix_fd(source, listener->tag, G_IO_IN);
	for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
		int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0) {
			if (errno != EAGAIN && errno != EWOULDBLOCK) {
				/* It would stay readable: do not run hot. */
				g_source_modify_unix_fd(source, listener->tag, 0);
				g_source_set_ready_time(source,
							g_get_monotonic_time() + ACCEPT_BACKOFF_US);
			}
			break;
		}
		qmp_server_adopt(listener->server, fd);
		if (g_source_is_destroyed(source)) /* in admit() */
			return G_SOURCE_REMOVE;
	}
	return G_SOURCE_CONTINUE;
}

static void listener_finalize(GSource *source)
{
	close(((QmpListener *)source)->fd);
}

static GSourceFuncs listener_funcs = {
	.dispatch = listener_dispatch,
	.finalize = listener_finalize,
};

void qmp_server_listen(QmpServer *server, int fd)
{
	QmpListener *listener = (QmpListener *)g_source_new(&listener_funcs, sizeof(*listener));

	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	listener->server = server;
	listener->fd = fd;
	listener->tag = g_source_add_unix_fd(&listener->source, fd, G_IO_IN);
	g_source_set_static_name(&listener->source, "qmp-listen");
	g_source_attach(&listener->source, server->context);
	g_ptr_array_add(server->listeners, listener);
}

static void listener_free(gpointer data)
{
	QmpListener *listener = data;

	g_source_destroy(&listener->source);
	g_source_unref(&listener->source);
}

void qmp_server_unlisten(QmpServer *server)
{
	g_ptr_array_set_size(server->listeners, 0);
}

void qmp_server_stop(QmpServer *server)
{
	qmp_server_unlisten(server);
	server->stopped = true;
	/* Those that wait for their turn, or for input, wait no more. */
	for (GList *at = server->conns.head; at; at = at->next)
		qmp_conn_go_on(at->data);
}

/* ---- the server ---- */

QmpServer *qmp_server_new(GMainContext *context, const QmpServerConfig *config)
{
	QmpServer *server = g_new0(QmpServer, 1);

	server->context = g_main_context_ref(context ? context : g_main_context_default());
	server->config = *config;
	server->package = g_strdup(config->package);
	server->config.package = server->package;
	if (!server->config.max_clients)
		server->config.max_clients = MAX_CLIENTS;
	if (!server->config.max_queue_len)
		server->config.max_queue_len = MAX_QUEUE_LEN;
	if (!server->config.limits)
		server->config.limits = &qmp_json_request_limits;
	server->commands = g_hash_table_new(g_str_hash, g_str_equal);
	server->entries = g_ptr_array_new_with_free_func(g_free);
	server->listeners = g_ptr_array_new_with_free_func(listener_free);
	g_queue_init(&server->conns);
	qmp_server_add_commands(server, builtin_commands, server);
	if (server->config.quit)
		qmp_server_add_commands(server, quit_commands, server);
	return server;
}

void qmp_server_free(QmpServer *server)
{
	if (!server)
		return;
	if (server->quit) {
		g_source_destroy(server->quit);
		g_source_unref(server->quit);
	}
	while (server->conns.head)
		qmp_conn_close(server->conns.head->data);
	g_ptr_array_unref(server->listeners);
	g_hash_table_unref(server->commands);
	g_ptr_array_unref(server->entries);
	g_main_context_unref(server->context);
	g_free(server->package);
	g_free(server);
}
