/* SPDX-License-Identifier: BSD-3-Clause */
/* vfio-user server: its sockets, turns and deadlines; no message contents. */

/*
 * One connection is one GSource.
 *
 * A reply that does not fit the socket stops all processing until it has gone: order is kept and
 * there is no queue that a client could grow.
 */
#include "link/vfu_server.h"

#include "link/vfu_session.h"
#include "link/vfu_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define STALL_TIMEOUT_MS   5000
#define MESSAGES_PER_TURN  64 /* then other sources of the main loop get theirs */
#define ACCEPTS_PER_TURN   16
#define ACCEPT_BACKOFF_US  100000 /* when descriptors or memory ran out */
#define READABLE_CONDITION (G_IO_IN | G_IO_HUP | G_IO_ERR)

typedef struct VfuConn {
	GSource source; /* first: this is the source */
	VfuServer *server;
	VfuStream stream;
	gpointer tag;
	bool busy;   /* inside conn_service(): closing has to wait */
	bool doomed; /* close as soon as possible */

	/* Monotonic times at which patience ends, 0 = waiting for nothing. */
	int64_t hello_deadline, rx_deadline, tx_deadline;
	VfuSession session;
} VfuConn;

typedef struct VfuListener {
	GSource source; /* first */
	VfuServer *server;
	int fd;
	gpointer tag;
} VfuListener;

struct VfuServer {
	GMainContext *context;
	const VfuServerOps *ops;
	void *opaque;
	VfuListener *listener;
	VfuConn *conn;
	VfuNotifier notifier;
	int64_t stall_us;
	uint64_t n_messages;
	bool holds;
};

/* ---- a turn ---- */

static bool conn_is_blocked(const VfuConn *conn)
{
	return vfu_stream_has_reply(&conn->stream) || conn->server->holds;
}

static void conn_watch(VfuConn *conn, GIOCondition condition)
{
	g_source_modify_unix_fd(&conn->source, conn->tag, condition);
}

/* Sends a reply from the start of tx. False: to be closed. */
static bool conn_send(VfuConn *conn, uint32_t len, int fd)
{
	if (!vfu_stream_send(&conn->stream, len, fd))
		return false;
	if (vfu_stream_has_reply(&conn->stream)) {
		conn->tx_deadline = g_get_monotonic_time() + conn->server->stall_us;
		conn_watch(conn, G_IO_OUT | G_IO_HUP | G_IO_ERR);
	}
	return true;
}

static bool conn_flush(VfuConn *conn)
{
	if (!vfu_stream_has_reply(&conn->stream))
		return true;
	if (!vfu_stream_flush(&conn->stream))
		return false;
	if (!vfu_stream_has_reply(&conn->stream)) {
		conn->tx_deadline = 0;
		conn_watch(conn, READABLE_CONDITION);
	}
	return true;
}

/* Handles one message, if a whole one has come. */
static enum vfu_step conn_handle_next(VfuConn *conn)
{
	VfuStream *stream = &conn->stream;
	const VfuHeader *header = vfu_stream_header(stream);
	enum vfu_verdict verdict;
	const uint8_t *message;
	uint32_t reply_len;
	unsigned n_fds;
	int reply_fd;

	if (header == NULL)
		return VFU_STEP_WAIT;
	if (!vfu_session_accepts_header(&conn->session, header))
		return VFU_STEP_CLOSE;
	if (!vfu_stream_has_message(stream))
		return VFU_STEP_WAIT;
	message = vfu_stream_take(stream, &n_fds);
	conn->server->n_messages++;
	verdict = vfu_session_handle(&conn->session, message, stream->fds, n_fds, stream->tx,
				     &reply_len, &reply_fd);
	conn->rx_deadline = 0;
	if (conn->session.connected)
		conn->hello_deadline = 0;
	if (reply_len > 0 && !conn_send(conn, reply_len, reply_fd))
		return VFU_STEP_CLOSE;
	return verdict == VFU_CLOSE || conn->doomed ? VFU_STEP_CLOSE : VFU_STEP_DONE;
}

/* Does all there is to do, within limits. False: to be closed. */
static bool conn_service(VfuConn *conn)
{
	unsigned n_handled = 0;

	if (!conn_flush(conn))
		return false;
	while (!conn_is_blocked(conn) && n_handled < MESSAGES_PER_TURN) {
		enum vfu_step step = conn_handle_next(conn);

		if (step == VFU_STEP_DONE) {
			n_handled++;
			continue;
		}
		if (step == VFU_STEP_WAIT)
			step = vfu_stream_receive(&conn->stream);
		if (step == VFU_STEP_CLOSE)
			return false;
		if (step == VFU_STEP_WAIT)
			break;
	}
	return true;
}

/* ---- the connection as an event source ---- */

static bool is_past(int64_t deadline, int64_t now)
{
	return deadline != 0 && now >= deadline;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

/* Sets when to wake up whatever the socket does. False: patience has ended. */
static bool conn_schedule(VfuConn *conn)
{
	bool may_go_on = !conn_is_blocked(conn) && vfu_stream_has_message(&conn->stream);
	int64_t deadline, now;

	if (vfu_stream_n_received(&conn->stream) > 0 && conn->rx_deadline == 0 && !may_go_on)
		conn->rx_deadline = g_get_monotonic_time() + conn->server->stall_us;
	deadline = earlier(conn->hello_deadline, earlier(conn->rx_deadline, conn->tx_deadline));
	if (deadline != 0) {
		now = g_get_monotonic_time();
		if (is_past(deadline, now) && !may_go_on)
			return false;
	}
	if (!vfu_stream_has_reply(&conn->stream))
		conn_watch(conn, conn->server->holds ? 0 : READABLE_CONDITION);
	g_source_set_ready_time(&conn->source, may_go_on ? 0 : deadline != 0 ? deadline : -1);
	return true;
}

static void conn_close(VfuConn *conn)
{
	VfuServer *server = conn->server;

	/* From here on the server is free for the next client, also inside disconnected(). */
	server->conn = NULL;
	conn->server = NULL;
	g_source_destroy(&conn->source);
	vfu_stream_clear(&conn->stream);
	vfu_session_clear(&conn->session);
	socket_peer_clear(&conn->session.peer);
	g_source_unref(&conn->source);
}

/* False: the connection is gone. */
static bool conn_turn(VfuConn *conn)
{
	bool alive;

	conn->busy = true;
	alive = conn_service(conn) && !conn->doomed && conn_schedule(conn);
	conn->busy = false;
	if (!alive)
		conn_close(conn);
	return alive;
}

static gboolean conn_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	return conn_turn((VfuConn *)source) ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static GSourceFuncs conn_funcs = {
	.dispatch = conn_dispatch,
};

static bool is_stream_socket(int fd)
{
	int type = 0;
	socklen_t len = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

/* Starts serving FD. False: closed instead. */
static bool server_adopt(VfuServer *server, int fd)
{
	VfuConn *conn;
	VfuPeer peer;

	if (!is_stream_socket(fd)) {
		close(fd);
		return false;
	}
	conn = (VfuConn *)g_source_new(&conn_funcs, sizeof(*conn));
	if (!vfu_stream_init(&conn->stream, fd)) {
		g_source_unref(&conn->source);
		close(fd);
		return false;
	}
	(void)socket_peer_get(fd, &peer);
	conn->server = server;
	conn->hello_deadline = g_get_monotonic_time() + server->stall_us;
	vfu_session_init(&conn->session, server->ops, server->opaque, &server->notifier, &peer);
	conn->tag = g_source_add_unix_fd(&conn->source, fd, READABLE_CONDITION);
	g_source_set_ready_time(&conn->source, conn->hello_deadline);
	g_source_set_static_name(&conn->source, "vfu-conn");
	g_source_attach(&conn->source, server->context);
	server->conn = conn;
	server->holds = false;
	return true;
}

/* ---- listening ---- */

/*
 * A client that was killed may be replaced before its end of file was seen: let it finish, so that
 * the next one is not refused because of it.
 */
static void server_reap(VfuServer *server)
{
	while (server->conn != NULL && !server->conn->busy) {
		struct pollfd state = { .fd = server->conn->stream.fd };

		if (poll(&state, 1, 0) <= 0 || (state.revents & (POLLHUP | POLLERR)) == 0)
			return;
		if (!conn_turn(server->conn))
			return;
	}
}

static gboolean listener_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	VfuListener *listener = (VfuListener *)source;
	VfuServer *server = listener->server;

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
				g_source_set_ready_time(source, g_source_get_time(source) +
									ACCEPT_BACKOFF_US);
			}
			break;
		}
		server_reap(server);
		if (g_source_is_destroyed(source)) { /* in disconnected() */
			close(fd);
			break;
		}
		if (server->conn != NULL)
			close(fd);
		else
			server_adopt(server, fd);
	}
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs listener_funcs = {
	.dispatch = listener_dispatch,
};

static void server_unlisten(VfuServer *server)
{
	if (server->listener == NULL)
		return;
	g_source_destroy(&server->listener->source);
	close(server->listener->fd);
	g_source_unref(&server->listener->source);
	server->listener = NULL;
}

void vfu_server_listen(VfuServer *server, int fd)
{
	VfuListener *listener;

	server_unlisten(server);
	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	listener = (VfuListener *)g_source_new(&listener_funcs, sizeof(*listener));
	listener->server = server;
	listener->fd = fd;
	listener->tag = g_source_add_unix_fd(&listener->source, fd, G_IO_IN);
	g_source_set_static_name(&listener->source, "vfu-listen");
	g_source_attach(&listener->source, server->context);
	server->listener = listener;
}

/* ---- the rest of the interface ---- */

VfuServer *vfu_server_new(GMainContext *context, const VfuServerOps *ops, void *opaque)
{
	VfuServer *server = g_new0(VfuServer, 1);

	server->context = g_main_context_ref(context != NULL ? context : g_main_context_default());
	server->ops = ops;
	server->opaque = opaque;
	server->notifier = (VfuNotifier)VFU_NOTIFIER_INIT;
	server->stall_us = STALL_TIMEOUT_MS * G_TIME_SPAN_MILLISECOND;
	return server;
}

void vfu_server_free(VfuServer *server)
{
	if (server == NULL)
		return;
	server_unlisten(server);
	if (server->conn != NULL) {
		g_assert(!server->conn->busy);
		conn_close(server->conn);
	}
	vfu_notifier_clear(&server->notifier);
	g_main_context_unref(server->context);
	g_free(server);
}

bool vfu_server_attach(VfuServer *server, int fd)
{
	server_reap(server);
	if (server->conn != NULL) {
		close(fd);
		return false;
	}
	return server_adopt(server, fd);
}

bool vfu_server_is_connected(const VfuServer *server)
{
	return server->conn != NULL && !server->conn->doomed && server->conn->session.connected;
}

void vfu_server_disconnect(VfuServer *server)
{
	if (server->conn == NULL)
		return;
	if (server->conn->busy)
		server->conn->doomed = true;
	else
		conn_close(server->conn);
}

void vfu_server_hold(VfuServer *server, bool holds)
{
	if (server->holds == holds)
		return;
	server->holds = holds;
	/* Its next turn sees to it. */
	if (server->conn)
		g_source_set_ready_time(&server->conn->source, 0);
}

void vfu_server_irq(VfuServer *server, unsigned index, unsigned vector)
{
	if (server->conn != NULL && !server->conn->doomed)
		vfu_irq_signal(&server->conn->session.irqs, index, vector);
}

uint64_t vfu_server_n_messages(const VfuServer *server)
{
	return server->n_messages;
}

void vfu_server_set_stall_timeout(VfuServer *server, unsigned ms)
{
	server->stall_us = (int64_t)ms * G_TIME_SPAN_MILLISECOND;
}
