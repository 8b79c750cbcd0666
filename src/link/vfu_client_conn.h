/* SPDX-License-Identifier: BSD-3-Clause */
/* One request and its reply with a vfio-user server that is not trusted. */
#ifndef LINK_VFU_CLIENT_CONN_H
#define LINK_VFU_CLIENT_CONN_H

#include "link/vfu_spin.h"
#include "link/vfu_wire.h"

#include <glib.h>
#include <stdbool.h>

typedef struct VfuClientConn {
	GMutex lock;
	int fd;    /* -1 = closed for good */
	int alive; /* atomic: fd >= 0, readable without the lock */
	unsigned timeout_ms;
	unsigned patience_ms; /* for each request from now on */
	GMutex fd_lock;       /* of fd, which changes with LOCK held too; taken after it */
	VfuSpin spin;
	uint16_t next_id;
	uint64_t n_messages; /* atomic */
} VfuClientConn;

/* Parts that are not there are NULL and 0. */
typedef struct VfuExchange {
	enum vfu_command command;
	bool no_reply;
	const void *request;
	size_t request_len;
	const void *data; /* follows request */
	size_t data_len;
	const int *fds;
	unsigned n_fds;

	/* The reply's payload is reply_min bytes at least, and at most what these two hold. */
	size_t reply_min;
	void *reply;
	size_t reply_len;
	void *reply_data;
	size_t reply_data_len;

	bool wants_fd; /* one descriptor may come with the reply */
	/* Set on success. */
	size_t ret_len;
	int ret_fd; /* the caller's; -1 = none */
} VfuExchange;

void vfu_client_conn_init(VfuClientConn *conn, int fd, unsigned timeout_ms);
void vfu_client_conn_clear(VfuClientConn *conn);
/*
 * 0 or -errno. An error that the server answered leaves the connection as it is; -EIO, -EPROTO and
 * -ETIMEDOUT of our own have closed it. The contents of reply buffers are undefined on failure.
 */
int vfu_client_conn_exchange(VfuClientConn *conn, VfuExchange *x);
/* For replies whose contents are a lie. Returns -EPROTO. */
int vfu_client_conn_violated(VfuClientConn *conn);
bool vfu_client_conn_is_alive(VfuClientConn *conn);
void vfu_client_conn_close(VfuClientConn *conn);
/* The end for a request that waits, and for the server; waits for neither. */
void vfu_client_conn_shutdown(VfuClientConn *conn);
/* Goes on with the socket of FRESH, which nobody else uses and which is closed afterwards. */
void vfu_client_conn_take(VfuClientConn *conn, VfuClientConn *fresh);

#endif
