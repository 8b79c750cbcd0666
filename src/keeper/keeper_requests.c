/* SPDX-License-Identifier: BSD-3-Clause */
/* What the keeper does with a message, and how it answers. */
#include "keeper/keeper_server_priv.h"

#include "util/fdpass.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Request {
	uint32_t id;
	uint16_t n;
	const uint8_t *body; /* after the header */
	int *fds;            /* those set to -1 have been taken */
} Request;

typedef struct RequestType {
	uint16_t type;
	uint16_t min_n, max_n;
	uint16_t item_len; /* of each of the n */
	uint16_t body_len; /* before them */
	bool has_fds;      /* one for each of the n */
	bool before_hello;
	bool for_observers;
	void (*run)(KeeperServer *server, KeeperConn *conn, const Request *request);
} RequestType;

static KeeperHeader header(KeeperType type, uint32_t n, uint32_t id)
{
	return (KeeperHeader){
		.type = le16_put((uint16_t)type),
		.n = le16_put((uint16_t)n),
		.id = le32_put(id),
	};
}

static KeeperStatus make_status(const KeeperServer *server, uint32_t id, KeeperRc rc,
				uint32_t count)
{
	return (KeeperStatus){
		.header = header(KEEPER_STATUS, 0, id),
		.rc = le32_put(rc),
		.count = le32_put(count),
		.n_held = le32_put(server->table.n),
		.n_max = le32_put(server->config.n_max),
	};
}

static void answer(KeeperServer *server, KeeperConn *conn, uint32_t id, KeeperRc rc, uint32_t count)
{
	conn->out.status = make_status(server, id, rc, count);
	conn->out_len = sizeof(conn->out.status);
	keeper_conn_flush(server, conn);
}

static void answer_and_close(KeeperServer *server, KeeperConn *conn, uint32_t id, KeeperRc rc)
{
	conn->last_answer = true;
	answer(server, conn, id, rc, 0);
}

void keeper_conn_dismiss(KeeperServer *server, KeeperConn *conn, KeeperRc rc)
{
	KeeperStatus status = make_status(server, 0, rc, 0);
	struct iovec iov = { .iov_base = &status, .iov_len = sizeof(status) };

	(void)fdpass_send(conn->fd, &iov, 1, NULL, 0, MSG_DONTWAIT);
	keeper_conn_close(conn);
}

static void run_hello(KeeperServer *server, KeeperConn *conn, const Request *request)
{
	KeeperHello hello;
	uint16_t version, role;

	memcpy((uint8_t *)&hello + sizeof(hello.header), request->body,
	       sizeof(hello) - sizeof(hello.header));
	version = le16_get(hello.version);
	role = le16_get(hello.role);
	if (conn->state != CONN_NEW || le32_get(hello.magic) != KEEPER_MAGIC || version == 0 ||
	    (role != KEEPER_OWNER && role != KEEPER_OBSERVER)) {
		answer_and_close(server, conn, request->id, KEEPER_MALFORMED);
		return;
	}
	for (unsigned i = 0; role == KEEPER_OWNER && i < KEEPER_MAX_CONNS; i++) {
		if (server->conns[i].state == CONN_OWNER)
			keeper_conn_dismiss(server, &server->conns[i], KEEPER_SUPERSEDED);
	}
	conn->state = role == KEEPER_OWNER ? CONN_OWNER : CONN_OBSERVER;
	conn->out.welcome = (KeeperWelcome){
		.header = header(KEEPER_WELCOME, 0, request->id),
		.magic = le32_put(KEEPER_MAGIC),
		.version = le16_put(version < KEEPER_VERSION ? version : KEEPER_VERSION),
		.instance = le64_put(server->instance),
		.n_held = le32_put(server->table.n),
		.n_max = le32_put(server->config.n_max),
	};
	conn->out_len = sizeof(conn->out.welcome);
	keeper_conn_flush(server, conn);
}

static bool is_same_file(int fd, const struct stat *st)
{
	struct stat held;

	return fstat(fd, &held) == 0 && held.st_dev == st->st_dev && held.st_ino == st->st_ino;
}

static KeeperRc store_one(KeeperServer *server, const KeeperWireItem *item, int *fd)
{
	KeeperEntry entry = {
		.incarnation = le64_get(item->incarnation),
		.len = le64_get(item->len),
		.fd = *fd,
	};
	const KeeperEntry *held = keeper_table_find(&server->table, entry.incarnation);
	struct stat st;

	if (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode))
		return KEEPER_BAD_FILE;
	if (st.st_size < 0 || (uint64_t)st.st_size != entry.len)
		return KEEPER_BAD_FILE_LEN;
	if (held != NULL)
		return is_same_file(held->fd, &st) ? KEEPER_OK : KEEPER_EXISTS;
	if (server->table.n >= server->config.n_max)
		return KEEPER_FULL;
	memcpy(entry.label, item->label, sizeof(entry.label));
	if (!keeper_table_add(&server->table, &entry))
		return KEEPER_NO_MEMORY;
	*fd = -1;
	return KEEPER_OK;
}

static void run_store(KeeperServer *server, KeeperConn *conn, const Request *request)
{
	uint32_t n_before = server->table.n;
	KeeperRc rc = KEEPER_OK;
	uint32_t i;

	for (i = 0; i < request->n && rc == KEEPER_OK; i++) {
		KeeperWireItem item;

		memcpy(&item, request->body + i * sizeof(item), sizeof(item));
		rc = store_one(server, &item, &request->fds[i]);
	}
	/* What this message added is at the end: all of it goes again. */
	while (rc != KEEPER_OK && server->table.n > n_before) {
		KeeperEntry *last = &server->table.entries[server->table.n - 1];

		keeper_table_remove(&server->table, last->incarnation);
	}
	answer(server, conn, request->id, rc, rc == KEEPER_OK ? i : i - 1);
}

static void run_drop(KeeperServer *server, KeeperConn *conn, const Request *request)
{
	uint32_t n_dropped = 0;

	for (uint32_t i = 0; i < request->n; i++) {
		uint64_t key = le64_load(request->body + i * sizeof(KeeperKey));

		n_dropped += keeper_table_remove(&server->table, key);
	}
	answer(server, conn, request->id, KEEPER_OK, n_dropped);
}

static void begin_stream(KeeperServer *server, KeeperConn *conn, uint32_t id, bool with_fds)
{
	conn->streams = true;
	conn->with_fds = with_fds;
	conn->stream_id = id;
	conn->stream_next = 0;
	keeper_conn_flush(server, conn);
}

static void run_list(KeeperServer *server, KeeperConn *conn, const Request *request)
{
	begin_stream(server, conn, request->id, false);
}

static void run_fetch(KeeperServer *server, KeeperConn *conn, const Request *request)
{
	begin_stream(server, conn, request->id, true);
}

static void run_bye(KeeperServer *server, KeeperConn *conn, const Request *request)
{
	server->ends = true;
	answer_and_close(server, conn, request->id, KEEPER_OK);
}

/* clang-format off */
static const RequestType request_types[] = {
	/* type          n              item                    body  fds    new    observer */
	{ KEEPER_HELLO,  0, 0,               0,                      8,    false, true,  true,  run_hello },
	{ KEEPER_STORE,  1, KEEPER_MAX_FDS,  sizeof(KeeperWireItem), 0,    true,  false, false, run_store },
	{ KEEPER_DROP,   1, KEEPER_MAX_KEYS, sizeof(KeeperKey),      0,    false, false, false, run_drop },
	{ KEEPER_LIST,   0, 0,               0,                      0,    false, false, true,  run_list },
	{ KEEPER_FETCH,  0, 0,               0,                      0,    false, false, false, run_fetch },
	{ KEEPER_BYE,    0, 0,               0,                      0,    false, false, false, run_bye },
};
/* clang-format on */

static const RequestType *find_type(uint16_t type)
{
	for (size_t i = 0; i < sizeof(request_types) / sizeof(request_types[0]); i++) {
		if (request_types[i].type == type)
			return &request_types[i];
	}
	return NULL;
}

static bool is_well_formed(const RequestType *type, const Request *request, size_t len, int n_fds)
{
	return request->n >= type->min_n && request->n <= type->max_n &&
	       len == sizeof(KeeperHeader) + type->body_len + (size_t)request->n * type->item_len &&
	       n_fds == (type->has_fds ? request->n : 0);
}

static bool may_ask(const RequestType *type, const KeeperConn *conn)
{
	switch (conn->state) {
	case CONN_NEW:
		return type->before_hello;
	case CONN_OBSERVER:
		return type->for_observers;
	default:
		return true;
	}
}

void keeper_conn_request(KeeperServer *server, KeeperConn *conn, const uint8_t *packet, size_t len,
			 int *fds, int n_fds)
{
	const RequestType *type = NULL;
	Request request = { .fds = fds };

	if (len >= sizeof(KeeperHeader)) {
		type = find_type(le16_load(packet + offsetof(KeeperHeader, type)));
		request.n = le16_load(packet + offsetof(KeeperHeader, n));
		request.id = le32_load(packet + offsetof(KeeperHeader, id));
		request.body = packet + sizeof(KeeperHeader);
	}
	if (type == NULL || !is_well_formed(type, &request, len, n_fds))
		answer_and_close(server, conn, request.id, KEEPER_MALFORMED);
	else if (!may_ask(type, conn))
		answer_and_close(server, conn, request.id, KEEPER_REFUSED);
	else
		type->run(server, conn, &request);
	for (int i = 0; i < n_fds; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
}

/* One ITEMS message: 0 or -errno. */
static int send_items(KeeperServer *server, KeeperConn *conn, uint32_t n)
{
	struct {
		KeeperHeader header;
		KeeperWireItem items[KEEPER_MAX_FDS];
	} message = { .header = header(KEEPER_ITEMS, n, conn->stream_id) };
	struct iovec iov = {
		.iov_base = &message,
		.iov_len = sizeof(message.header) + n * sizeof(message.items[0]),
	};
	int fds[KEEPER_MAX_FDS];
	ssize_t sent;

	for (uint32_t i = 0; i < n; i++) {
		const KeeperEntry *entry = &server->table.entries[conn->stream_next + i];

		message.items[i].incarnation = le64_put(entry->incarnation);
		message.items[i].len = le64_put(entry->len);
		memcpy(message.items[i].label, entry->label, sizeof(entry->label));
		fds[i] = entry->fd;
	}
	sent = fdpass_send(conn->fd, &iov, 1, fds, conn->with_fds ? (int)n : 0, MSG_DONTWAIT);
	return sent < 0 ? (int)sent : 0;
}

/* 0 when all of it is sent and the closing status waits, or -errno. */
static int flush_stream(KeeperServer *server, KeeperConn *conn)
{
	/* An observer's list may shrink meanwhile. */
	while (conn->stream_next < server->table.n) {
		uint32_t n = server->table.n - conn->stream_next;
		int rc;

		if (n > KEEPER_MAX_FDS)
			n = KEEPER_MAX_FDS;
		rc = send_items(server, conn, n);
		if (rc < 0)
			return rc;
		conn->stream_next += n;
	}
	conn->streams = false;
	conn->out.status = make_status(server, conn->stream_id, KEEPER_OK, conn->stream_next);
	conn->out_len = sizeof(conn->out.status);
	return 0;
}

static int flush_out(KeeperConn *conn)
{
	struct iovec iov = { .iov_base = &conn->out, .iov_len = conn->out_len };
	ssize_t sent = fdpass_send(conn->fd, &iov, 1, NULL, 0, MSG_DONTWAIT);

	if (sent < 0)
		return (int)sent;
	conn->out_len = 0;
	return 0;
}

void keeper_conn_flush(KeeperServer *server, KeeperConn *conn)
{
	int rc = 0;

	conn->stuck = false;
	if (conn->streams)
		rc = flush_stream(server, conn);
	if (rc == 0 && conn->out_len > 0)
		rc = flush_out(conn);
	if (rc == -EAGAIN)
		return;
	/* More descriptors are under way between all of this user's processes than one may have
	 * open: the one who is to take them from here will. */
	if (rc == -ETOOMANYREFS || rc == -ENOBUFS || rc == -ENOMEM)
		conn->stuck = true;
	else if (rc < 0 || conn->last_answer)
		keeper_conn_close(conn);
}
