/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory link, device side: connections, hello, answers, and what happens at the end of one. */
#include "link/mem_link_conn.h"

#include "util/fdpass.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HELLO_TIMEOUT_US G_USEC_PER_SEC /* from connecting to the last of hello */
#define ACCEPT_PAUSE_US  (100 * 1000)   /* when we are out of descriptors */
#define MAX_PER_DISPATCH 64             /* messages, so that one host cannot starve the others */

struct MemLinkServer {
	int refs; /* the caller's, and one while callbacks may free us */
	bool freed;
	bool closing; /* telling the callers of a former connection */
	GMainContext *context;
	const MemLinkServerOps *ops;
	void *opaque;
	MemLinkConn *conn; /* NULL = none */
	int listen_fd;
	GSource *listen_source;
	void *listen_tag;
};

typedef struct FdSource {
	GSource source;
	void *object;
	void *tag;
} FdSource;

static void server_unref(MemLinkServer *server)
{
	if (--server->refs > 0)
		return;
	g_main_context_unref(server->context);
	g_free(server);
}

/* ---- the end of a connection ---- */

static void conn_unref(MemLinkConn *conn)
{
	if (--conn->refs > 0)
		return;
	g_clear_pointer(&conn->held, g_array_unref);
	g_clear_pointer(&conn->sent, g_hash_table_unref);
	g_source_unref(conn->source);
	socket_peer_clear(&conn->peer);
	g_free(conn);
}

static void tell(MemLinkServer *server, MemLinkRequest *request, bool ok)
{
	uint64_t req = request->req;

	g_free(request);
	if (!server->freed)
		server->ops->done(server->opaque, req, ok);
}

/* Tells what is complete; the callbacks may end the connection and the server. */
static void conn_tell_answered(MemLinkConn *conn)
{
	GList *link;

	while ((link = g_queue_pop_head_link(&conn->answered)) != NULL) {
		MemLinkRequest *request = link->data;

		tell(conn->server, request, !request->failed);
	}
}

static void conn_close(MemLinkConn *conn)
{
	MemLinkServer *server = conn->server;
	GList *link;

	if (conn->state == CONN_CLOSED)
		return;
	server->refs++;
	server->conn = NULL;
	server->closing = true;
	conn->state = CONN_CLOSED;
	g_source_destroy(conn->source);
	close(conn->fd);
	mem_link_queue_clear(&conn->queue);
	g_hash_table_remove_all(conn->sent);
	conn_tell_answered(conn);
	while ((link = g_queue_pop_head_link(&conn->requests)) != NULL) {
		MemLinkRequest *request = link->data;

		/* Nobody confirmed these: they are for the caller to keep open. */
		if (request->is_certain)
			g_free(request);
		else
			tell(server, request, false);
	}
	server->closing = false;
	if (conn->welcomed && !server->freed)
		server->ops->closed(server->opaque);
	conn_unref(conn);
	server_unref(server);
}

/* ---- hello ---- */

static void send_welcome(int fd, MemLinkWelcomeStatus status)
{
	MemLinkWelcomeMessage welcome = {
		.version = le32_put(MEM_LINK_VERSION),
		.status = le32_put(status),
	};
	struct iovec iov = { .iov_base = &welcome, .iov_len = sizeof(welcome) };

	mem_link_put_header(&welcome.header, MEM_LINK_WELCOME, 0, 0);
	/* The first message into an empty socket: if it does not fit, the next will not either. */
	fdpass_send(fd, &iov, 1, NULL, 0, MSG_DONTWAIT);
}

static void conn_finish_hello(MemLinkConn *conn)
{
	MemLinkServer *server = conn->server;
	MemLinkHello hello = {
		.max_maps = conn->max_maps,
		.held = conn->n_held > 0 ? (const MemLinkHeld *)(void *)conn->held->data : NULL,
		.n_held = conn->n_held,
	};
	bool welcome;

	memcpy(hello.session, conn->session, sizeof(hello.session));
	conn->state =
		CONN_IN_HELLO; /* requests made from inside the callback wait for the welcome */
	welcome = server->ops->hello(server->opaque, &hello, &conn->peer);
	g_clear_pointer(&conn->held, g_array_unref);
	socket_peer_clear(&conn->peer); /* not needed any more */
	if (conn->state == CONN_CLOSED)
		return;
	send_welcome(conn->fd, welcome ? MEM_LINK_WELCOME_OK : MEM_LINK_WELCOME_REFUSED);
	if (!welcome) {
		conn_close(conn);
		return;
	}
	conn->welcomed = true;
	conn->state = CONN_READY;
}

static bool conn_take_hello(MemLinkConn *conn, const void *buf, size_t len)
{
	const MemLinkHelloMessage *hello = buf;

	/* The version comes before everything that a version may change. */
	if (len >= offsetof(MemLinkHelloMessage, max_maps) && le32_get(hello->header.len) == len &&
	    le16_get(hello->header.type) == MEM_LINK_HELLO &&
	    le32_get(hello->version) != MEM_LINK_VERSION) {
		send_welcome(conn->fd, MEM_LINK_WELCOME_VERSION);
		return false;
	}
	if (mem_link_check_message(buf, len, 0, true) == NULL ||
	    le16_get(hello->header.type) != MEM_LINK_HELLO || le32_get(hello->reserved) != 0)
		return false;
	conn->max_maps = le32_get(hello->max_maps);
	conn->n_held = le32_get(hello->n_held);
	if (conn->n_held > MEM_LINK_MAX_HELD || conn->n_held > conn->max_maps)
		return false;
	memcpy(conn->session, hello->session, sizeof(conn->session));
	/* Grows as the messages come, not by what the host announces. */
	conn->held = g_array_new(FALSE, FALSE, sizeof(MemLinkHeld));
	conn->state = CONN_WAIT_HELD;
	if (conn->n_held == 0)
		conn_finish_hello(conn);
	return true;
}

static bool conn_take_held(MemLinkConn *conn, const void *buf, size_t len)
{
	const MemLinkHeader *header = buf;
	const MemLinkHeld *held = (const void *)(header + 1);
	unsigned count;

	if (mem_link_check_message(buf, len, 0, true) == NULL ||
	    le16_get(header->type) != MEM_LINK_HELD)
		return false;
	count = le16_get(header->count);
	if (count > conn->n_held - conn->held->len)
		return false;
	for (unsigned i = 0; i < count; i++) {
		if (le64_get(held[i].map_id) == 0 ||
		    !mem_link_range_is_valid(le64_get(held[i].dpa), le64_get(held[i].len)))
			return false;
	}
	g_array_append_vals(conn->held, held, count);
	if (conn->held->len == conn->n_held)
		conn_finish_hello(conn);
	return true;
}

/* ---- receiving ---- */

static bool conn_take_done(MemLinkConn *conn, const MemLinkDoneMessage *done)
{
	uint64_t id = le64_get(done->header.id);
	MemLinkRequest *request = g_hash_table_lookup(conn->sent, &id);

	if (request == NULL || le32_get(done->reserved) != 0)
		return false;
	if (le32_get(done->status) != MEM_LINK_OK) {
		/* Revoke and drop cannot be refused; such a host counts as one that never
		 * confirmed. */
		if (request->is_certain)
			return false;
		request->failed = true;
	}
	g_hash_table_remove(conn->sent, &id);
	mem_link_conn_part_done(conn, request);
	conn_tell_answered(conn);
	return true;
}

static bool conn_take_misses(MemLinkConn *conn, const MemLinkMissesMessage *misses)
{
	const MemLinkServer *server = conn->server;

	if (server->ops->misses)
		server->ops->misses(server->opaque, le64_get(misses->reads),
				    le64_get(misses->writes));
	return true;
}

static bool conn_take_ready(MemLinkConn *conn, const void *buf, size_t len)
{
	const MemLinkHeader *header = buf;

	if (mem_link_check_message(buf, len, 0, true) == NULL)
		return false;
	switch (le16_get(header->type)) {
	case MEM_LINK_DONE:
		return conn_take_done(conn, buf);
	case MEM_LINK_MISSES:
		return conn_take_misses(conn, buf);
	default:
		return false;
	}
}

/* False on a violation. */
static bool conn_take_message(MemLinkConn *conn, const void *buf, size_t len)
{
	switch (conn->state) {
	case CONN_WAIT_HELLO:
		return conn_take_hello(conn, buf, len);
	case CONN_WAIT_HELD:
		return conn_take_held(conn, buf, len);
	case CONN_READY:
		return conn_take_ready(conn, buf, len);
	case CONN_IN_HELLO: /* not while the callback runs */
	case CONN_CLOSED:
		break;
	}
	return false;
}

static void conn_receive(MemLinkConn *conn)
{
	uint8_t buf[MEM_LINK_MAX_MESSAGE];

	for (unsigned i = 0; i < MAX_PER_DISPATCH && conn->state != CONN_CLOSED; i++) {
		int n_fds;
		ssize_t got = fdpass_recv(conn->fd, buf, sizeof(buf), NULL, 0, &n_fds,
					  MSG_DONTWAIT);

		if (got == -EAGAIN)
			return;
		/* The host closed with something of ours unread; its last answers come after this.
		 */
		if (got == -ECONNRESET && !conn->was_reset) {
			conn->was_reset = true;
			continue;
		}
		if (got <= 0 || !conn_take_message(conn, buf, (size_t)got))
			conn_close(conn);
	}
}

static gboolean conn_dispatch(GSource *source, GSourceFunc unused, gpointer unused_data)
{
	MemLinkConn *conn = ((FdSource *)source)->object;
	MemLinkServer *server = conn->server;

	conn->refs++;
	server->refs++;
	conn_tell_answered(conn);
	if (conn->state != CONN_CLOSED)
		conn_receive(conn);
	if (conn->state != CONN_CLOSED && conn->state != CONN_READY && conn->hello_deadline >= 0 &&
	    g_get_monotonic_time() >= conn->hello_deadline)
		conn_close(conn);
	if (conn->state == CONN_READY)
		mem_link_conn_flush(conn);
	if (conn->state != CONN_CLOSED && conn->broken)
		conn_close(conn);
	if (conn->state != CONN_CLOSED)
		mem_link_conn_update_source(conn);
	conn_unref(conn);
	server_unref(server);
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs conn_source_funcs = { .dispatch = conn_dispatch };

void mem_link_conn_update_source(MemLinkConn *conn)
{
	FdSource *source = (FdSource *)conn->source;
	GIOCondition want = G_IO_IN | (conn->wants_out ? G_IO_OUT : 0);
	gint64 ready_time = -1;

	if (conn->state == CONN_WAIT_HELLO || conn->state == CONN_WAIT_HELD)
		ready_time = conn->hello_deadline;
	else if (conn->broken || !g_queue_is_empty(&conn->answered))
		ready_time = 0;
	else if (conn->retry_at != 0)
		ready_time = conn->retry_at;
	if (want != conn->source_condition)
		g_source_modify_unix_fd(conn->source, source->tag, want);
	conn->source_condition = want;
	if (ready_time != conn->source_ready_time)
		g_source_set_ready_time(conn->source, ready_time);
	conn->source_ready_time = ready_time;
}

/* ---- connecting ---- */

static bool get_peer(int fd, MemLinkPeer *ret_peer)
{
	socklen_t len = sizeof(int);
	int type;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_SEQPACKET)
		return false;
	return socket_peer_get(fd, ret_peer);
}

/* HELLO_DEADLINE: of the main loop's clock, -1 = none. */
static bool connect_host(MemLinkServer *server, int fd, gint64 hello_deadline)
{
	MemLinkPeer peer;
	MemLinkConn *conn;
	FdSource *source;
	int flags = fcntl(fd, F_GETFL);

	if (server->conn != NULL || server->closing || flags < 0 ||
	    fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
	    !get_peer(fd, &peer)) {
		close(fd);
		return false;
	}
	mem_link_socket_widen(fd);
	conn = g_new0(MemLinkConn, 1);
	conn->refs = 1;
	conn->server = server;
	conn->fd = fd;
	conn->peer = peer;
	conn->next_id = 1;
	conn->hello_deadline = hello_deadline;
	conn->sent = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	conn->source = g_source_new(&conn_source_funcs, sizeof(FdSource));
	source = (FdSource *)conn->source;
	source->object = conn;
	source->tag = g_source_add_unix_fd(conn->source, fd, G_IO_IN);
	conn->source_condition = G_IO_IN;
	conn->source_ready_time = -1;
	g_source_set_static_name(conn->source, "memory link");
	server->conn = conn;
	mem_link_conn_update_source(conn);
	g_source_attach(conn->source, server->context);
	return true;
}

bool mem_link_server_attach(MemLinkServer *server, int fd)
{
	return connect_host(server, fd, -1);
}

static gboolean listen_dispatch(GSource *source, GSourceFunc unused, gpointer data)
{
	MemLinkServer *server = ((FdSource *)source)->object;
	int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	bool pause = fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED;

	/* Out of descriptors: the socket stays readable, so look away for a moment. */
	g_source_modify_unix_fd(source, server->listen_tag, pause ? 0 : G_IO_IN);
	g_source_set_ready_time(source, pause ? g_get_monotonic_time() + ACCEPT_PAUSE_US : -1);
	if (fd < 0)
		return G_SOURCE_CONTINUE;
	if (server->conn != NULL) {
		send_welcome(fd, MEM_LINK_WELCOME_BUSY);
		close(fd);
	} else {
		/* Silence must not keep others out. */
		connect_host(server, fd, g_get_monotonic_time() + HELLO_TIMEOUT_US);
	}
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs listen_source_funcs = { .dispatch = listen_dispatch };

static void stop_listening(MemLinkServer *server)
{
	if (server->listen_source == NULL)
		return;
	g_source_destroy(server->listen_source);
	g_clear_pointer(&server->listen_source, g_source_unref);
	close(server->listen_fd);
	server->listen_fd = -EBADF;
}

void mem_link_server_listen(MemLinkServer *server, int fd)
{
	int flags = fcntl(fd, F_GETFL);

	stop_listening(server);
	if (flags < 0)
		return;
	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	server->listen_fd = fd;
	server->listen_source = g_source_new(&listen_source_funcs, sizeof(FdSource));
	((FdSource *)server->listen_source)->object = server;
	server->listen_tag = g_source_add_unix_fd(server->listen_source, fd, G_IO_IN);
	g_source_set_static_name(server->listen_source, "memory link listener");
	g_source_attach(server->listen_source, server->context);
}

/* ---- life ---- */

MemLinkServer *mem_link_server_new(GMainContext *context, const MemLinkServerOps *ops, void *opaque)
{
	MemLinkServer *server = g_new0(MemLinkServer, 1);

	server->refs = 1;
	server->context = g_main_context_ref(context != NULL ? context : g_main_context_default());
	server->ops = ops;
	server->opaque = opaque;
	server->listen_fd = -EBADF;
	return server;
}

void mem_link_server_free(MemLinkServer *server)
{
	if (server == NULL)
		return;
	server->freed = true;
	stop_listening(server);
	mem_link_server_disconnect(server);
	server_unref(server);
}

bool mem_link_server_is_connected(const MemLinkServer *server)
{
	return mem_link_server_peek_conn((MemLinkServer *)server) != NULL;
}

void mem_link_server_disconnect(MemLinkServer *server)
{
	if (server->conn != NULL)
		conn_close(server->conn);
}

MemLinkConn *mem_link_server_peek_conn(MemLinkServer *server)
{
	MemLinkConn *conn = server->conn;

	if (conn == NULL || (conn->state != CONN_READY && conn->state != CONN_IN_HELLO))
		return NULL;
	return conn;
}

void mem_link_server_tell(MemLinkServer *server, uint64_t req, bool ok)
{
	if (!server->freed)
		server->ops->done(server->opaque, req, ok);
}
