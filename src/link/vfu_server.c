/* SPDX-License-Identifier: BSD-3-Clause */
/* vfio-user server: sockets, framing, descriptors and deadlines; no message contents. */

/*
 * One connection is one GSource. Input is received into a buffer that holds the largest message, as
 * much as is there, so that a message costs one recvmsg and its reply one sendmsg, and pipelined
 * messages share the recvmsg.
 *
 * Which message do descriptors belong to? The kernel never continues a recvmsg past a write that
 * carried descriptors, so what it returned ends inside or at the end of that write: they belong to
 * the message that owns the last byte. This is right for every client that puts the descriptors of
 * a message on a write that holds nothing behind that message, which all known ones do; one that
 * writes several messages at once with descriptors for an earlier one gets EINVAL for the last.
 * While a message is incomplete and has descriptors, no more than its rest is received, hence there
 * is never more than one set.
 *
 * A reply that does not fit the socket stops all processing until it has gone: order is kept and
 * there is no queue that a client could grow.
 */
#include "link/vfu_server.h"

#include "link/vfu_session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER_LEN         ((uint32_t)sizeof(VfuHeader))
#define STALL_TIMEOUT_MS   5000
#define MESSAGES_PER_TURN  64 /* then other sources of the main loop get theirs */
#define ACCEPTS_PER_TURN   16
#define ACCEPT_BACKOFF_US  100000 /* when descriptors or memory ran out */
#define READABLE_CONDITION (G_IO_IN | G_IO_HUP | G_IO_ERR)

typedef struct VfuConn {
	GSource source; /* first: this is the source */
	VfuServer *server;
	int fd;
	gpointer tag;
	bool busy;   /* inside conn_service(): closing has to wait */
	bool doomed; /* close as soon as possible */

	uint8_t *rx; /* VFU_MAX_MESSAGE bytes */
	uint32_t rx_start, rx_end;
	int fds[VFU_MAX_FDS];
	unsigned n_fds;

	uint8_t *tx;               /* VFU_MAX_MESSAGE bytes */
	uint32_t tx_start, tx_end; /* the part of a reply that did not fit the socket */
	int tx_fd;                 /* to go with its first byte; ours */

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

/* ---- sending ---- */

static bool conn_has_reply(const VfuConn *conn)
{
	return conn->tx_end > conn->tx_start;
}

static bool conn_is_blocked(const VfuConn *conn)
{
	return conn_has_reply(conn) || conn->server->holds;
}

static ssize_t send_some(int sock, const uint8_t *buf, size_t len, int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;
	ssize_t sent;

	if (fd >= 0) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	}
	do {
		sent = sendmsg(sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
	return sent;
}

static void conn_watch(VfuConn *conn, GIOCondition condition)
{
	g_source_modify_unix_fd(&conn->source, conn->tag, condition);
}

/* Sends a reply from the start of tx, or what the socket takes of it. */
static bool conn_send(VfuConn *conn, uint32_t len, int fd)
{
	ssize_t sent = send_some(conn->fd, conn->tx, len, fd);

	if (sent == (ssize_t)len)
		return true;
	if (sent < 0)
		return false;
	if (sent == 0 && fd >= 0) {
		conn->tx_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (conn->tx_fd < 0)
			return false;
	}
	conn->tx_start = (uint32_t)sent;
	conn->tx_end = len;
	conn->tx_deadline = g_get_monotonic_time() + conn->server->stall_us;
	conn_watch(conn, G_IO_OUT | G_IO_HUP | G_IO_ERR);
	return true;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static bool conn_flush(VfuConn *conn)
{
	ssize_t sent;

	if (!conn_has_reply(conn))
		return true;
	sent = send_some(conn->fd, conn->tx + conn->tx_start, conn->tx_end - conn->tx_start,
			 conn->tx_fd);
	if (sent < 0)
		return false;
	if (sent > 0)
		close_fd(&conn->tx_fd);
	conn->tx_start += (uint32_t)sent;
	if (conn_has_reply(conn))
		return true;
	conn->tx_start = conn->tx_end = 0;
	conn->tx_deadline = 0;
	conn_watch(conn, READABLE_CONDITION);
	return true;
}

/* ---- receiving ---- */

enum step {
	STEP_CLOSE,
	STEP_WAIT,
	STEP_DONE
};

static bool conn_take_fds(VfuConn *conn, struct msghdr *msg)
{
	bool fits = (msg->msg_flags & MSG_CTRUNC) == 0;

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL;
	     cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
			if (conn->n_fds < VFU_MAX_FDS) {
				conn->fds[conn->n_fds++] = fd;
			} else {
				close(fd);
				fits = false;
			}
		}
	}
	return fits;
}

/* The buffer holds no whole message. How many bytes may be asked for (see the top). */
static uint32_t conn_wanted(const VfuConn *conn)
{
	uint32_t have = conn->rx_end - conn->rx_start;

	if (conn->n_fds == 0)
		return VFU_MAX_MESSAGE - have;
	if (have < HEADER_LEN)
		return HEADER_LEN - have;
	return le32_get(((const VfuHeader *)(conn->rx + conn->rx_start))->size) - have;
}

static enum step conn_receive(VfuConn *conn)
{
	/* More descriptors than we said we take are not even installed: MSG_CTRUNC. */
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(VFU_MAX_FDS * sizeof(int))];
	} control;
	struct iovec iov;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t got;

	if (conn->rx_start > 0) {
		conn->rx_end -= conn->rx_start;
		memmove(conn->rx, conn->rx + conn->rx_start, conn->rx_end);
		conn->rx_start = 0;
	}
	iov.iov_base = conn->rx + conn->rx_end;
	iov.iov_len = conn_wanted(conn);
	got = recvmsg(conn->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got < 0) {
		if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
			return STEP_WAIT;
		return STEP_CLOSE;
	}
	conn->rx_end += (uint32_t)got;
	if (!conn_take_fds(conn, &msg))
		return STEP_CLOSE;
	return got == 0 ? STEP_CLOSE : STEP_DONE;
}

/* Handles one buffered message, if there is a whole one. */
static enum step conn_handle_next(VfuConn *conn)
{
	const uint8_t *start = conn->rx + conn->rx_start;
	uint32_t have = conn->rx_end - conn->rx_start;
	const VfuHeader *header = (const VfuHeader *)start;
	unsigned n_fds = 0;
	enum vfu_verdict verdict;
	uint32_t size, reply_len;
	int reply_fd;

	if (have < HEADER_LEN)
		return STEP_WAIT;
	if (!vfu_session_accepts_header(&conn->session, header))
		return STEP_CLOSE;
	size = le32_get(header->size);
	if (have < size)
		return STEP_WAIT;
	if (have == size) {
		n_fds = conn->n_fds;
		conn->n_fds = 0;
	}
	conn->server->n_messages++;
	verdict = vfu_session_handle(&conn->session, start, conn->fds, n_fds, conn->tx, &reply_len,
				     &reply_fd);
	conn->rx_start += size;
	if (have == size)
		conn->rx_start = conn->rx_end = 0;
	conn->rx_deadline = 0;
	if (conn->session.connected)
		conn->hello_deadline = 0;
	if (reply_len > 0 && !conn_send(conn, reply_len, reply_fd))
		return STEP_CLOSE;
	return verdict == VFU_CLOSE || conn->doomed ? STEP_CLOSE : STEP_DONE;
}

/* Does all there is to do, within limits. False: to be closed. */
static bool conn_service(VfuConn *conn)
{
	unsigned n_handled = 0;

	if (!conn_flush(conn))
		return false;
	while (!conn_is_blocked(conn) && n_handled < MESSAGES_PER_TURN) {
		enum step step = conn_handle_next(conn);

		if (step == STEP_DONE) {
			n_handled++;
			continue;
		}
		if (step == STEP_WAIT)
			step = conn_receive(conn);
		if (step == STEP_CLOSE)
			return false;
		if (step == STEP_WAIT)
			break;
	}
	return true;
}

/* ---- the connection as an event source ---- */

static bool conn_has_whole_message(const VfuConn *conn)
{
	uint32_t have = conn->rx_end - conn->rx_start;

	return have >= HEADER_LEN &&
	       have >= le32_get(((const VfuHeader *)(conn->rx + conn->rx_start))->size);
}

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
	bool may_go_on = !conn_is_blocked(conn) && conn_has_whole_message(conn);
	int64_t deadline, now;

	if (conn->rx_end > conn->rx_start && conn->rx_deadline == 0 && !may_go_on)
		conn->rx_deadline = g_get_monotonic_time() + conn->server->stall_us;
	deadline = earlier(conn->hello_deadline, earlier(conn->rx_deadline, conn->tx_deadline));
	if (deadline != 0) {
		now = g_get_monotonic_time();
		if (is_past(deadline, now) && !may_go_on)
			return false;
	}
	if (!conn_has_reply(conn))
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
	close_fd(&conn->fd);
	close_fd(&conn->tx_fd);
	for (unsigned i = 0; i < conn->n_fds; i++)
		close(conn->fds[i]);
	conn->n_fds = 0;
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

static void unmap_buffer(uint8_t *buf)
{
	if (buf != NULL)
		munmap(buf, VFU_MAX_MESSAGE);
}

static void conn_finalize(GSource *source)
{
	VfuConn *conn = (VfuConn *)source;

	unmap_buffer(conn->rx);
	unmap_buffer(conn->tx);
}

static GSourceFuncs conn_funcs = {
	.dispatch = conn_dispatch,
	.finalize = conn_finalize,
};

/* Fresh zero pages, resident only as far as used, and never with bytes of another client. */
static uint8_t *map_buffer(void)
{
	void *buf = mmap(NULL, VFU_MAX_MESSAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return buf == MAP_FAILED ? NULL : buf;
}

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
	conn->rx = map_buffer();
	conn->tx = map_buffer();
	if (conn->rx == NULL || conn->tx == NULL) {
		g_source_unref(&conn->source);
		close(fd);
		return false;
	}
	(void)socket_peer_get(fd, &peer);
	conn->server = server;
	conn->fd = fd;
	conn->tx_fd = -1;
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
		struct pollfd state = { .fd = server->conn->fd };

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

static void listener_finalize(GSource *source)
{
	close_fd(&((VfuListener *)source)->fd);
}

static GSourceFuncs listener_funcs = {
	.dispatch = listener_dispatch,
	.finalize = listener_finalize,
};

static void server_unlisten(VfuServer *server)
{
	if (server->listener == NULL)
		return;
	g_source_destroy(&server->listener->source);
	close_fd(&server->listener->fd);
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
