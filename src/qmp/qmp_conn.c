/* SPDX-License-Identifier: BSD-3-Clause */
/* One client of the QMP server: its socket, what came, what waits to be sent. */

/*
 * A connection is one GSource. A turn takes values out of what was received and runs them until one
 * does not complete at once, the client does not take its answers, or it is the others' turn. Only
 * a turn closes a connection; what happens outside of one (an event that is one too many, a call
 * answered later) leaves a mark and asks for a turn.
 *
 * A peer that has closed its socket altogether makes poll return for ever: the descriptor is then
 * taken out of the poll set, and what it had sent is read turn by turn.
 */
#include "qmp/qmp_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_LEN          (32u << 10)
#define READS_PER_TURN    32u
#define COMMANDS_PER_TURN 64u
#define RX_KEEP           (128u << 10) /* a larger buffer is given back when it is empty */
#define TX_HIGH           (64u << 10)  /* more waits: nothing more is read or run */
#define CLOSE_TIMEOUT_US  (5 * G_TIME_SPAN_SECOND)
#define MAX_IOV           16

/* ---- sending ---- */

static void drop_tx(QmpConn *conn)
{
	GBytes *message;

	while ((message = g_queue_pop_head(&conn->tx)))
		g_bytes_unref(message);
	conn->tx_offset = conn->tx_len = 0;
}

static void conn_set_mute(QmpConn *conn)
{
	conn->mute = true;
	drop_tx(conn);
}

static int fill_iov(QmpConn *conn, struct iovec iov[MAX_IOV])
{
	size_t skip = conn->tx_offset;
	int n = 0;

	for (GList *at = conn->tx.head; at && n < MAX_IOV; at = at->next) {
		gsize len;
		const char *data = g_bytes_get_data(at->data, &len);

		iov[n++] = (struct iovec){ (void *)(data + skip), len - skip };
		skip = 0;
	}
	return n;
}

static void tx_sent(QmpConn *conn, size_t n)
{
	conn->tx_len -= n;
	conn->tx_offset += n;
	while (conn->tx.head) {
		gsize len = g_bytes_get_size(conn->tx.head->data);

		if (conn->tx_offset < len)
			break;
		conn->tx_offset -= len;
		g_bytes_unref(g_queue_pop_head(&conn->tx));
	}
}

void qmp_conn_flush(QmpConn *conn)
{
	while (conn->tx_len > 0) {
		struct iovec iov[MAX_IOV];
		struct msghdr msg = { .msg_iov = iov };
		ssize_t sent;

		msg.msg_iovlen = (size_t)fill_iov(conn, iov);
		sent = sendmsg(conn->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (sent < 0)
			conn_set_mute(conn);
		else
			tx_sent(conn, (size_t)sent);
	}
}

/* ---- when to wake up ---- */

static bool conn_is_blocked(const QmpConn *conn)
{
	return conn->tx_len > TX_HIGH;
}

static bool conn_may_run(const QmpConn *conn)
{
	return !conn->call && !conn->closing && !conn->server->stopped && !conn_is_blocked(conn);
}

static bool conn_is_over(const QmpConn *conn)
{
	if (conn->doomed)
		return true;
	return (conn->drained || conn->closing) && !conn->call && conn->tx_len == 0;
}

static void conn_schedule(QmpConn *conn)
{
	GIOCondition condition = G_IO_HUP | G_IO_ERR;
	bool may_run = conn_may_run(conn);
	/* Of what was received, or what only reading tells: poll is not asked any more. */
	bool has_more = conn->rx_scanned < conn->rx->len ||
			((conn->eof || !conn->tag) && !conn->drained);

	if (conn_is_over(conn) || (may_run && has_more))
		g_source_set_ready_time(&conn->source, 0);
	else
		g_source_set_ready_time(&conn->source,
					conn->closing ? conn->close_deadline_us : -1);
	if (!conn->tag)
		return;
	if (may_run && !conn->eof)
		condition |= G_IO_IN;
	if (conn->tx_len > 0)
		condition |= G_IO_OUT;
	g_source_modify_unix_fd(&conn->source, conn->tag, condition);
}

void qmp_conn_go_on(QmpConn *conn)
{
	if (!conn->in_turn)
		conn_schedule(conn);
}

void qmp_conn_send(QmpConn *conn, GBytes *message)
{
	if (conn->mute || conn->doomed)
		return;
	if (conn->tx_len > conn->server->config.max_queue_len) {
		/* It does not read: it gets no more. */
		conn->doomed = true;
		drop_tx(conn);
	} else {
		g_queue_push_tail(&conn->tx, g_bytes_ref(message));
		conn->tx_len += g_bytes_get_size(message);
	}
	if (conn->in_turn)
		return;
	qmp_conn_flush(conn);
	conn_schedule(conn);
}

void qmp_conn_end(QmpConn *conn, GBytes *message)
{
	conn->closing = true;
	conn->close_deadline_us = g_get_monotonic_time() + CLOSE_TIMEOUT_US;
	qmp_conn_send(conn, message);
}

/* ---- receiving ---- */

static void conn_refuse_input(QmpConn *conn, const GError *error)
{
	g_autoptr(GBytes)
		message = qmp_call_error_message(qmp_error_class_of(error), error->message);

	qmp_conn_end(conn, message);
}

static void conn_compact(QmpConn *conn)
{
	conn->rx_peak = MAX(conn->rx_peak, conn->rx->len);
	if (conn->rx_start == 0)
		return;
	g_byte_array_remove_range(conn->rx, 0, conn->rx_start);
	conn->rx_scanned -= conn->rx_start;
	conn->rx_start = 0;
	if (conn->rx->len == 0 && conn->rx_peak > RX_KEEP) {
		g_byte_array_unref(conn->rx);
		conn->rx = g_byte_array_new();
		conn->rx_peak = 0;
	}
}

/* False: nothing there now. RET_FULL: there may be more. */
static bool conn_receive(QmpConn *conn, bool *ret_full)
{
	uint8_t buf[READ_LEN];
	ssize_t got;

	if (conn->eof)
		return false;
	do {
		got = recv(conn->fd, buf, sizeof(buf), MSG_DONTWAIT);
	} while (got < 0 && errno == EINTR);
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && conn->tag)
		return false;
	if (got <= 0) {
		conn->eof = true;
		if (got < 0)
			conn_set_mute(conn);
		return true;
	}
	conn_compact(conn);
	g_byte_array_append(conn->rx, buf, (guint)got);
	*ret_full = (size_t)got == sizeof(buf);
	return true;
}

/* The next value of what was received. False: there is none (yet). */
static bool conn_next_value(QmpConn *conn)
{
	g_autoptr(GError) error = NULL;
	const char *data = (const char *)conn->rx->data;
	QmpFrameResult result = QMP_FRAME_MORE;
	size_t used = 0;

	if (conn->rx_scanned < conn->rx->len)
		result = qmp_frame_feed(&conn->frame, data + conn->rx_scanned,
					conn->rx->len - conn->rx_scanned, &used, &error);
	conn->rx_scanned += (guint)used;
	if (result == QMP_FRAME_MORE && conn->eof) {
		conn->drained = true;
		result = qmp_frame_end(&conn->frame, &error);
	}
	if (result == QMP_FRAME_ERROR) {
		conn_refuse_input(conn, error);
		return false;
	}
	if (result == QMP_FRAME_MORE) {
		if (conn->frame.len == 0)
			conn->rx_start = conn->rx_scanned;
		return false;
	}
	conn->rx_start = conn->rx_scanned;
	return qmp_call_run(conn, data + conn->rx_scanned - conn->frame.len, conn->frame.len);
}

static void conn_run(QmpConn *conn)
{
	unsigned n_reads = 0, n_commands = 0;
	bool full = true;

	while (conn_may_run(conn) && !conn->doomed && !conn->drained &&
	       n_commands < COMMANDS_PER_TURN) {
		if (conn_next_value(conn)) {
			n_commands++;
			continue;
		}
		/* Answers go before anything that may take long. */
		qmp_conn_flush(conn);
		if (conn->closing || conn->eof || !full || ++n_reads > READS_PER_TURN ||
		    !conn_receive(conn, &full))
			break;
	}
}

/* ---- the connection as an event source ---- */

void qmp_conn_close(QmpConn *conn)
{
	g_assert(!conn->in_turn);
	g_queue_unlink(&conn->server->conns, &conn->link);
	if (conn->call)
		conn->call->conn = NULL;
	drop_tx(conn);
	g_source_destroy(&conn->source);
	close(conn->fd);
	g_source_unref(&conn->source);
}

static gboolean conn_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	QmpConn *conn = (QmpConn *)source;
	QmpServer *server = conn->server;
	QmpPeer peer = conn->peer;

	if (conn->tag && (g_source_query_unix_fd(source, conn->tag) & (G_IO_HUP | G_IO_ERR)) != 0) {
		g_source_remove_unix_fd(source, conn->tag);
		conn->tag = NULL;
		conn_set_mute(conn);
	}
	conn->in_turn = true;
	qmp_conn_flush(conn);
	conn_run(conn);
	qmp_conn_flush(conn);
	conn->in_turn = false;
	if (conn->closing && g_get_monotonic_time() >= conn->close_deadline_us)
		conn->doomed = true;
	if (!conn_is_over(conn)) {
		conn_schedule(conn);
		return G_SOURCE_CONTINUE;
	}
	qmp_conn_close(conn);
	if (server->config.gone)
		server->config.gone(&peer, server->config.opaque);
	return G_SOURCE_REMOVE;
}

static void conn_finalize(GSource *source)
{
	g_byte_array_unref(((QmpConn *)source)->rx);
}

static GSourceFuncs conn_funcs = {
	.dispatch = conn_dispatch,
	.finalize = conn_finalize,
};

QmpConn *qmp_conn_new(QmpServer *server, int fd, const QmpPeer *peer)
{
	QmpConn *conn = (QmpConn *)g_source_new(&conn_funcs, sizeof(*conn));

	conn->server = server;
	conn->peer = *peer;
	conn->since_us = g_get_monotonic_time();
	conn->fd = fd;
	conn->rx = g_byte_array_new();
	g_queue_init(&conn->tx);
	qmp_frame_init(&conn->frame, server->config.limits);
	conn->tag = g_source_add_unix_fd(&conn->source, fd, G_IO_IN | G_IO_HUP | G_IO_ERR);
	g_source_set_static_name(&conn->source, "qmp-client");
	g_source_attach(&conn->source, server->context);
	conn->link.data = conn;
	g_queue_push_tail_link(&server->conns, &conn->link);
	return conn;
}
