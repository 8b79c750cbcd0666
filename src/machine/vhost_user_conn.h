/* SPDX-License-Identifier: BSD-3-Clause */
/* The front end's end of a vhost-user socket: requests, replies and deadlines. */
#ifndef MACHINE_VHOST_USER_CONN_H
#define MACHINE_VHOST_USER_CONN_H

/*
 * The back end is not trusted. Every byte it sends is checked, descriptors from it are closed, and
 * it never gets more time than the deadline: after a time-out, a violation or its end the
 * connection is closed for good and all calls return -EIO.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct VhostUserConn {
	pthread_mutex_t lock;
	int fd;
	int is_open;  /* atomic */
	bool acks;    /* REPLY_ACK negotiated: all is acknowledged */
	pid_t sender; /* of the last message; 0 before, -1 if they came from several */
} VhostUserConn;

typedef struct VhostUserExchange {
	uint32_t request; /* enum vhost_user_request */
	const void *payload;
	uint32_t payload_len;
	const int *fds; /* borrowed */
	unsigned n_fds;
	/* A request that has a reply of its own, of just that length; else an acknowledgement is
	 * asked for where they are negotiated. */
	void *reply;
	uint32_t reply_len;
} VhostUserExchange;

/* Owns FD, a connected stream socket. */
void vhost_user_conn_init(VhostUserConn *conn, int fd);
void vhost_user_conn_clear(VhostUserConn *conn);
/* Any thread, at once: whoever waits in a call fails. */
void vhost_user_conn_shut(VhostUserConn *conn);
bool vhost_user_conn_is_open(const VhostUserConn *conn);

/* Now plus so many milliseconds, as a deadline. */
int64_t vhost_user_deadline(unsigned ms);
/*
 * DEADLINE: microseconds of CLOCK_MONOTONIC, for waiting for the turn too. 0, -EREMOTEIO refused by
 * the back end, -ETIMEDOUT, -EPROTO, -EIO; with the last three the connection is closed.
 */
int vhost_user_conn_exchange(VhostUserConn *conn, const VhostUserExchange *x, int64_t deadline);

/*
 * Several exchanges in a row that nobody else may come between. 0, or -ETIMEDOUT: the connection is
 * then closed.
 */
int vhost_user_conn_begin(VhostUserConn *conn, int64_t deadline);
void vhost_user_conn_end(VhostUserConn *conn);
/* One of them. */
int vhost_user_conn_step(VhostUserConn *conn, const VhostUserExchange *x, int64_t deadline);

#endif
