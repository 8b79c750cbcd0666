/* SPDX-License-Identifier: BSD-3-Clause */
/* One request and its reply with a vfio-user server that is not trusted. */
#include "link/vfu_client_conn.h"

#include "util/fdpass.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define HEADER_LEN sizeof(VfuHeader)

void vfu_client_conn_init(VfuClientConn *conn, int fd, unsigned timeout_ms)
{
	*conn = (VfuClientConn){
		.fd = fd,
		.alive = 1,
		.timeout_ms = timeout_ms,
		.patience_ms = timeout_ms,
		.spin = { .us = VFU_SPIN_DEFAULT_US },
	};
	g_mutex_init(&conn->lock);
	g_mutex_init(&conn->fd_lock);
}

static void set_fd(VfuClientConn *conn, int fd)
{
	g_mutex_lock(&conn->fd_lock);
	if (conn->fd >= 0)
		close(conn->fd);
	conn->fd = fd;
	g_mutex_unlock(&conn->fd_lock);
}

/* With the lock held. A socket that missed one reply can never be trusted to be in step again. */
static void close_locked(VfuClientConn *conn)
{
	__atomic_store_n(&conn->alive, 0, __ATOMIC_RELEASE);
	set_fd(conn, -1);
}

void vfu_client_conn_clear(VfuClientConn *conn)
{
	close_locked(conn);
	g_mutex_clear(&conn->fd_lock);
	g_mutex_clear(&conn->lock);
}

void vfu_client_conn_shutdown(VfuClientConn *conn)
{
	g_mutex_lock(&conn->fd_lock);
	if (conn->fd >= 0)
		shutdown(conn->fd, SHUT_RDWR);
	g_mutex_unlock(&conn->fd_lock);
}

void vfu_client_conn_close(VfuClientConn *conn)
{
	g_mutex_lock(&conn->lock);
	close_locked(conn);
	g_mutex_unlock(&conn->lock);
}

int vfu_client_conn_violated(VfuClientConn *conn)
{
	vfu_client_conn_close(conn);
	return -EPROTO;
}

void vfu_client_conn_take(VfuClientConn *conn, VfuClientConn *fresh)
{
	g_mutex_lock(&conn->lock);
	set_fd(conn, fresh->fd);
	conn->next_id = fresh->next_id;
	fresh->fd = -1;
	close_locked(fresh);
	__atomic_store_n(&conn->alive, 1, __ATOMIC_RELEASE);
	g_mutex_unlock(&conn->lock);
}

bool vfu_client_conn_is_alive(VfuClientConn *conn)
{
	struct pollfd state = { .events = POLLRDHUP };
	bool hung_up;

	if (__atomic_load_n(&conn->alive, __ATOMIC_ACQUIRE) == 0)
		return false;
	if (!g_mutex_trylock(&conn->lock))
		return true; /* a request is under way and will find out */
	state.fd = conn->fd;
	hung_up = conn->fd < 0 || (poll(&state, 1, 0) > 0 && state.revents != 0);
	g_mutex_unlock(&conn->lock);
	return !hung_up;
}

/* Waits for EVENTS until DEADLINE. 0, -ETIMEDOUT or -EIO. */
static int wait_for(int fd, short events, int64_t deadline)
{
	for (;;) {
		int64_t left_us = deadline - g_get_monotonic_time();
		struct pollfd state = { .fd = fd, .events = events };
		int n;

		if (left_us <= 0)
			return -ETIMEDOUT;
		n = poll(&state, 1, (int)MIN(left_us / 1000 + 1, (int64_t)G_MAXINT));
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -EIO;
	}
}

/* Takes LEN bytes off the front of an array of buffers; returns the first that is not empty. */
static struct iovec *iov_advance(struct iovec *iov, size_t *n_iov, size_t len)
{
	while (*n_iov > 0 && len >= iov->iov_len) {
		len -= iov->iov_len;
		iov++;
		(*n_iov)--;
	}
	if (*n_iov > 0) {
		iov->iov_base = (uint8_t *)iov->iov_base + len;
		iov->iov_len -= len;
	}
	return iov;
}

/* ---- request ---- */

static int send_all(int sock, struct msghdr *msg, size_t len, int64_t deadline)
{
	while (len > 0) {
		ssize_t sent = sendmsg(sock, msg, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			int rc = wait_for(sock, POLLOUT, deadline);

			if (rc < 0)
				return rc;
			continue;
		}
		if (sent < 0)
			return -EIO;
		len -= (size_t)sent;
		/* Descriptors have gone with the first byte. */
		msg->msg_control = NULL;
		msg->msg_controllen = 0;
		msg->msg_iov = iov_advance(msg->msg_iov, &msg->msg_iovlen, (size_t)sent);
	}
	return 0;
}

static int send_request(VfuClientConn *conn, const VfuExchange *x, uint16_t id, int64_t deadline)
{
	size_t len = HEADER_LEN + x->request_len + x->data_len;
	VfuHeader header = {
		.id = le16_put(id),
		.command = le16_put((uint16_t)x->command),
		.size = le32_put((uint32_t)len),
		.flags = le32_put(VFU_TYPE_COMMAND | (x->no_reply ? VFU_FLAGS_NO_REPLY : 0)),
	};
	struct iovec iov[] = {
		{ &header, HEADER_LEN },
		{ (void *)x->request, x->request_len },
		{ (void *)x->data, x->data_len },
	};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(VFU_MAX_FDS * sizeof(int))];
	} control;
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = G_N_ELEMENTS(iov) };

	g_assert(x->n_fds <= VFU_MAX_FDS);
	if (x->n_fds > 0) {
		struct cmsghdr *cmsg;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(x->n_fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(x->n_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), x->fds, x->n_fds * sizeof(int));
	}
	return send_all(conn->fd, &msg, len, deadline);
}

/* ---- reply ---- */

/* Bytes received (> 0), or -errno; -EAGAIN when there are none. */
static ssize_t receive_some(int sock, struct iovec *iov, size_t n_iov, VfuExchange *x)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr msg = {
		.msg_iov = iov,
		.msg_iovlen = n_iov,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	unsigned n_fds = x->ret_fd >= 0;
	ssize_t got;

	do {
		got = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? -EAGAIN : -EIO;
	if (!fdpass_take(&msg, &x->ret_fd, x->wants_fd, &n_fds))
		return -EPROTO;
	return got == 0 ? -EIO : got;
}

/* The same, waiting until DEADLINE. */
static ssize_t receive_wait(VfuClientConn *conn, struct iovec *iov, size_t n_iov, VfuExchange *x,
			    int64_t deadline)
{
	for (;;) {
		ssize_t got = receive_some(conn->fd, iov, n_iov, x);
		int rc;

		if (got != -EAGAIN) {
			vfu_spin_found(&conn->spin);
			return got;
		}
		if (vfu_spin_again(&conn->spin))
			continue;
		rc = wait_for(conn->fd, POLLIN, deadline);
		if (rc < 0)
			return rc;
	}
}

/* 0: a good reply; > 0: a good error reply, the errno; < 0: neither. */
static int check_header(const VfuHeader *header, const VfuExchange *x, uint16_t id)
{
	uint32_t flags = le32_get(header->flags);
	uint32_t size = le32_get(header->size);
	uint32_t error = le32_get(header->error);

	if (le16_get(header->id) != id || le16_get(header->command) != x->command)
		return -EPROTO;
	if (flags == (VFU_TYPE_REPLY | VFU_FLAGS_ERROR))
		return size == HEADER_LEN && error > 0 && error < 4096 ? (int)error : -EPROTO;
	if (flags != VFU_TYPE_REPLY || size < HEADER_LEN + x->reply_min ||
	    size > HEADER_LEN + x->reply_len + x->reply_data_len)
		return -EPROTO;
	return 0;
}

/* As check_header(), with the payload in the buffers of X. */
static int receive_reply(VfuClientConn *conn, VfuExchange *x, uint16_t id, int64_t deadline)
{
	VfuHeader header;
	uint8_t excess; /* nothing may follow a reply: we have not asked again yet */
	struct iovec parts[] = {
		{ &header, HEADER_LEN },
		{ x->reply, x->reply_len },
		{ x->reply_data, x->reply_data_len },
		{ &excess, sizeof(excess) },
	};
	struct iovec *iov = parts;
	size_t n_iov = G_N_ELEMENTS(parts);
	size_t have = 0;
	size_t size = HEADER_LEN; /* until the header says more */
	int rc = 0;

	while (have < size) {
		ssize_t got = receive_wait(conn, iov, n_iov, x, deadline);

		if (got < 0)
			return (int)got;
		if (have < HEADER_LEN && have + (size_t)got >= HEADER_LEN) {
			rc = check_header(&header, x, id);
			if (rc < 0)
				return rc;
			size = le32_get(header.size);
		}
		have += (size_t)got;
		iov = iov_advance(iov, &n_iov, (size_t)got);
	}
	if (have > size || (rc > 0 && x->ret_fd >= 0))
		return -EPROTO;
	x->ret_len = size - HEADER_LEN;
	return rc;
}

static int exchange_locked(VfuClientConn *conn, VfuExchange *x)
{
	int64_t deadline = g_get_monotonic_time() + (int64_t)conn->patience_ms * 1000;
	uint16_t id = conn->next_id++;
	int rc;

	if (conn->fd < 0)
		return -EIO;
	__atomic_add_fetch(&conn->n_messages, 1, __ATOMIC_RELAXED);
	rc = send_request(conn, x, id, deadline);
	if (rc == 0 && !x->no_reply)
		rc = receive_reply(conn, x, id, deadline);
	if (rc > 0)
		return -rc;
	if (rc < 0) {
		if (x->ret_fd >= 0)
			close(x->ret_fd);
		x->ret_fd = -1;
		close_locked(conn);
	}
	return rc;
}

int vfu_client_conn_exchange(VfuClientConn *conn, VfuExchange *x)
{
	int rc;

	x->ret_fd = -1;
	x->ret_len = 0;
	g_mutex_lock(&conn->lock);
	rc = exchange_locked(conn, x);
	g_mutex_unlock(&conn->lock);
	return rc;
}
