/* SPDX-License-Identifier: BSD-3-Clause */
/* The front end's end of a vhost-user socket: requests, replies and deadlines. */
#include "machine/vhost_user_conn.h"

#include "machine/vhost_user_wire.h"
#include "util/autofd.h"

#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

void vhost_user_conn_init(VhostUserConn *conn, int fd)
{
	int on = 1;

	*conn = (VhostUserConn){ .fd = fd, .is_open = 1 };
	pthread_mutex_init(&conn->lock, NULL);
	/* Each message then names its sender: the process that holds the guest's memory, which
	 * need not be the one we started. */
	(void)setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
}

void vhost_user_conn_clear(VhostUserConn *conn)
{
	fd_close_auto(&conn->fd);
	pthread_mutex_destroy(&conn->lock);
}

void vhost_user_conn_shut(VhostUserConn *conn)
{
	__atomic_store_n(&conn->is_open, 0, __ATOMIC_RELEASE);
	(void)shutdown(conn->fd, SHUT_RDWR);
}

bool vhost_user_conn_is_open(const VhostUserConn *conn)
{
	return __atomic_load_n(&conn->is_open, __ATOMIC_ACQUIRE) != 0;
}

int64_t vhost_user_deadline(unsigned ms)
{
	return g_get_monotonic_time() + (int64_t)ms * 1000;
}

/* ---- bytes ---- */

static int wait_for(const VhostUserConn *conn, short events, int64_t deadline)
{
	for (;;) {
		int64_t left_us = deadline - g_get_monotonic_time();
		struct pollfd polled = { .fd = conn->fd, .events = events };
		struct timespec left;
		int n;

		if (left_us <= 0)
			return -ETIMEDOUT;
		left.tv_sec = left_us / G_USEC_PER_SEC;
		left.tv_nsec = left_us % G_USEC_PER_SEC * 1000;
		n = ppoll(&polled, 1, &left, NULL);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

/* Descriptors that nobody asked for are closed and make the message a bad one. */
static int read_control(VhostUserConn *conn, struct msghdr *msg)
{
	int rc = (msg->msg_flags & MSG_CTRUNC) != 0 ? -EPROTO : 0;

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL;
	     cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET)
			continue;
		if (cmsg->cmsg_type == SCM_CREDENTIALS) {
			struct ucred cred;

			memcpy(&cred, CMSG_DATA(cmsg), sizeof(cred));
			if (conn->sender != 0 && conn->sender != cred.pid)
				cred.pid = -1;
			conn->sender = cred.pid;
		} else if (cmsg->cmsg_type == SCM_RIGHTS) {
			size_t n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

			for (size_t i = 0; i < n; i++) {
				int fd;

				memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(fd), sizeof(fd));
				close(fd);
			}
			rc = -EPROTO;
		}
	}
	return rc;
}

static int receive(VhostUserConn *conn, void *buf, size_t len, int64_t deadline)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(253 * sizeof(int))];
	} control;

	for (size_t done = 0; done < len;) {
		struct iovec iov = { (uint8_t *)buf + done, len - done };
		struct msghdr msg = {
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = &control,
			.msg_controllen = sizeof(control),
		};
		ssize_t got = recvmsg(conn->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		int rc = 0;

		if (got < 0 && errno == EAGAIN)
			rc = wait_for(conn, POLLIN, deadline);
		else if (got < 0 && errno != EINTR)
			rc = -errno;
		else if (got == 0)
			rc = -EIO;
		else if (got > 0)
			rc = read_control(conn, &msg);
		if (rc < 0)
			return rc;
		done += got > 0 ? (size_t)got : 0;
	}
	return 0;
}

static int transmit(const VhostUserConn *conn, const VhostUserExchange *x, uint32_t flags,
		    int64_t deadline)
{
	VhostUserHeader header = {
		.request = le32_put(x->request),
		.flags = le32_put(flags),
		.len = le32_put(x->payload_len),
	};
	const size_t len = sizeof(header) + x->payload_len;
	uint8_t bytes[sizeof(header) + sizeof(VhostUserTable)];
	size_t fds_len = x->n_fds * sizeof(int);
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(VHOST_USER_TABLE_MAX * sizeof(int))];
	} control = { 0 };

	g_assert(len <= sizeof(bytes) && x->n_fds <= VHOST_USER_TABLE_MAX);
	memcpy(bytes, &header, sizeof(header));
	if (x->payload_len > 0)
		memcpy(bytes + sizeof(header), x->payload, x->payload_len);
	for (size_t done = 0; done < len;) {
		struct iovec iov = { bytes + done, len - done };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
		ssize_t sent;
		int rc = 0;

		if (done == 0 && fds_len > 0) {
			struct cmsghdr *cmsg = &control.align;

			msg.msg_control = &control;
			msg.msg_controllen = CMSG_SPACE(fds_len);
			cmsg->cmsg_level = SOL_SOCKET;
			cmsg->cmsg_type = SCM_RIGHTS;
			cmsg->cmsg_len = CMSG_LEN(fds_len);
			memcpy(CMSG_DATA(cmsg), x->fds, fds_len);
		}
		sent = sendmsg(conn->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && errno == EAGAIN)
			rc = wait_for(conn, POLLOUT, deadline);
		else if (sent < 0 && errno != EINTR)
			rc = -errno;
		if (rc < 0)
			return rc;
		done += sent > 0 ? (size_t)sent : 0;
	}
	return 0;
}

/* ---- messages ---- */

static int receive_reply(VhostUserConn *conn, const VhostUserExchange *x, void *reply,
			 uint32_t reply_len, int64_t deadline)
{
	VhostUserHeader header;
	int rc = receive(conn, &header, sizeof(header), deadline);
	uint32_t flags;

	if (rc < 0)
		return rc;
	flags = le32_get(header.flags);
	if (le32_get(header.request) != x->request || (flags & VHOST_USER_IS_REPLY) == 0 ||
	    (flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION ||
	    le32_get(header.len) != reply_len)
		return -EPROTO;
	return receive(conn, reply, reply_len, deadline);
}

/* It would pass for the answer to what is asked next. */
static bool has_unasked_answer(const VhostUserConn *conn)
{
	uint8_t byte;

	return recv(conn->fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) > 0;
}

static int exchange(VhostUserConn *conn, const VhostUserExchange *x, int64_t deadline)
{
	uint32_t flags = VHOST_USER_VERSION;
	le64 status;
	int rc;

	if (has_unasked_answer(conn))
		return -EPROTO;
	if (x->reply == NULL && conn->acks)
		flags |= VHOST_USER_NEED_REPLY;
	rc = transmit(conn, x, flags, deadline);
	if (rc < 0)
		return rc;
	if (x->reply != NULL)
		return receive_reply(conn, x, x->reply, x->reply_len, deadline);
	if (!conn->acks)
		return 0;
	rc = receive_reply(conn, x, &status, sizeof(status), deadline);
	if (rc == 0 && le64_get(status) != 0)
		return -EREMOTEIO;
	return rc;
}

int vhost_user_conn_step(VhostUserConn *conn, const VhostUserExchange *x, int64_t deadline)
{
	int rc;

	if (!vhost_user_conn_is_open(conn))
		return -EIO;
	rc = exchange(conn, x, deadline);
	if (rc == 0 || rc == -EREMOTEIO)
		return rc;
	vhost_user_conn_shut(conn);
	return rc == -ETIMEDOUT || rc == -EPROTO ? rc : -EIO;
}

int vhost_user_conn_begin(VhostUserConn *conn, int64_t deadline)
{
	struct timespec until = {
		.tv_sec = deadline / G_USEC_PER_SEC,
		.tv_nsec = deadline % G_USEC_PER_SEC * 1000,
	};

	if (pthread_mutex_clocklock(&conn->lock, CLOCK_MONOTONIC, &until) == 0)
		return 0;
	/* Somebody waits longer for the back end than we may: it is too slow for us. */
	vhost_user_conn_shut(conn);
	return -ETIMEDOUT;
}

void vhost_user_conn_end(VhostUserConn *conn)
{
	pthread_mutex_unlock(&conn->lock);
}

int vhost_user_conn_exchange(VhostUserConn *conn, const VhostUserExchange *x, int64_t deadline)
{
	int rc = vhost_user_conn_begin(conn, deadline);

	if (rc < 0)
		return rc;
	rc = vhost_user_conn_step(conn, x, deadline);
	vhost_user_conn_end(conn);
	return rc;
}
