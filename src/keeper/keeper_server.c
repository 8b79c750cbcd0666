/* SPDX-License-Identifier: BSD-3-Clause */
/* The keeper's loop: accepts, reads, waits, and knows when to end. */
#include "keeper/keeper_server.h"

#include "keeper/keeper_server_priv.h"
#include "util/fdpass.h"
#include "util/peer_cred.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HELLO_MS       5000 /* for a new connection to say hello, when its slot is wanted */
#define RETRY_MS       10
#define MAX_PER_TURN   64 /* messages of one connection before the others' turn */
#define MAX_PER_ACCEPT 16

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void keeper_conn_close(KeeperConn *conn)
{
	close(conn->fd);
	*conn = (KeeperConn){ .fd = -EBADF };
}

/* A free slot; if there is none, that of the longest silent newcomer or of the oldest observer. */
static KeeperConn *find_room(KeeperServer *server)
{
	KeeperConn *oldest = NULL;

	for (unsigned i = 0; i < KEEPER_MAX_CONNS; i++) {
		KeeperConn *conn = &server->conns[i];
		bool is_worse;

		if (conn->state == CONN_NONE)
			return conn;
		if (conn->state == CONN_OWNER)
			continue;
		is_worse = oldest == NULL ||
			   (conn->state == CONN_NEW && oldest->state != CONN_NEW) ||
			   (conn->state == oldest->state && conn->since_ms < oldest->since_ms);
		if (is_worse)
			oldest = conn;
	}
	keeper_conn_close(oldest); /* there is at most one owner, so there is another one */
	return oldest;
}

static void accept_some(KeeperServer *server)
{
	for (unsigned i = 0; i < MAX_PER_ACCEPT; i++) {
		int fd = accept4(server->config.listen_fd, NULL, NULL,
				 SOCK_CLOEXEC | SOCK_NONBLOCK);
		PeerCred cred;
		KeeperConn *conn;

		if (fd < 0) {
			/* No room for one in the system: it waits, and we do not spin. */
			server->accept_pauses = errno != EAGAIN && errno != ECONNABORTED;
			return;
		}
		if (peer_cred_get(fd, &cred) != 0 || !peer_cred_is_trusted(&cred)) {
			close(fd);
			continue;
		}
		conn = find_room(server);
		*conn = (KeeperConn){ .state = CONN_NEW, .fd = fd, .since_ms = now_ms() };
	}
}

static bool has_to_send(const KeeperConn *conn)
{
	return conn->streams || conn->out_len > 0;
}

static void read_some(KeeperServer *server, KeeperConn *conn)
{
	uint8_t packet[KEEPER_MAX_LEN];
	int fds[KEEPER_MAX_FDS];

	for (unsigned i = 0; i < MAX_PER_TURN; i++) {
		int n_fds = 0;
		ssize_t len;

		if (conn->state == CONN_NONE || has_to_send(conn) || server->ends)
			return;
		len = fdpass_recv(conn->fd, packet, sizeof(packet), fds, KEEPER_MAX_FDS, &n_fds,
				  MSG_DONTWAIT);
		if (len == -EAGAIN)
			return;
		if (len == -EPROTO || len == -EMSGSIZE) {
			keeper_conn_dismiss(server, conn, KEEPER_MALFORMED);
			return;
		}
		if (len <= 0) {
			keeper_conn_close(conn);
			return;
		}
		keeper_conn_request(server, conn, packet, (size_t)len, fds, n_fds);
	}
}

static bool is_in_place(const KeeperServer *server)
{
	struct stat st;

	return lstat(server->config.socket_path, &st) == 0 && st.st_dev == server->socket_dev &&
	       st.st_ino == server->socket_ino;
}

/* Memory that nobody can ask for any more would be lost until the next boot. */
static bool is_reachable(KeeperServer *server)
{
	server->n_misses = is_in_place(server) ? 0 : server->n_misses + 1;
	return server->n_misses < 2;
}

static bool is_alone(const KeeperServer *server)
{
	for (unsigned i = 0; i < KEEPER_MAX_CONNS; i++) {
		if (server->conns[i].state != CONN_NONE)
			return false;
	}
	return true;
}

static void sooner(int *timeout_ms, uint64_t wait_ms)
{
	if (*timeout_ms < 0 || wait_ms < (uint64_t)*timeout_ms)
		*timeout_ms = (int)wait_ms;
}

/* Who does not say hello has no claim to a slot, nor keeps an idle keeper alive. */
static void expire_newcomers(KeeperServer *server, int *timeout_ms)
{
	uint64_t now = now_ms();

	for (unsigned i = 0; i < KEEPER_MAX_CONNS; i++) {
		KeeperConn *conn = &server->conns[i];

		if (conn->state != CONN_NEW)
			continue;
		if (now - conn->since_ms >= HELLO_MS)
			keeper_conn_close(conn);
		else
			sooner(timeout_ms, HELLO_MS - (now - conn->since_ms));
	}
}

static int wait_for_events(KeeperServer *server, struct pollfd polled[KEEPER_MAX_CONNS + 1])
{
	int timeout_ms = -1;

	expire_newcomers(server, &timeout_ms);
	for (unsigned i = 0; i < KEEPER_MAX_CONNS; i++) {
		const KeeperConn *conn = &server->conns[i];

		polled[i] = (struct pollfd){ .fd = conn->fd, .events = POLLIN };
		if (conn->state != CONN_NONE && has_to_send(conn))
			polled[i].events = conn->stuck ? 0 : POLLOUT;
		if (conn->state != CONN_NONE && conn->stuck)
			sooner(&timeout_ms, RETRY_MS);
	}
	polled[KEEPER_MAX_CONNS] = (struct pollfd){
		.fd = server->accept_pauses ? -1 : server->config.listen_fd,
		.events = POLLIN,
	};
	if (server->accept_pauses)
		sooner(&timeout_ms, RETRY_MS);
	server->accept_pauses = false;
	if (is_alone(server))
		sooner(&timeout_ms, server->config.idle_ms);
	return poll(polled, KEEPER_MAX_CONNS + 1, timeout_ms);
}

static void serve_conn(KeeperServer *server, KeeperConn *conn, int revents)
{
	if (conn->state == CONN_NONE)
		return;
	if (has_to_send(conn)) {
		if ((revents & (POLLHUP | POLLERR)) != 0)
			keeper_conn_close(conn);
		else if (conn->stuck || (revents & POLLOUT) != 0)
			keeper_conn_flush(server, conn);
	} else if (revents != 0) {
		read_some(server, conn);
	}
}

static void serve(KeeperServer *server)
{
	while (!server->ends) {
		struct pollfd polled[KEEPER_MAX_CONNS + 1];
		int n = wait_for_events(server, polled);

		if (n == 0 && is_alone(server)) {
			server->ends = server->table.n == 0 || !is_reachable(server);
			continue;
		}
		if (n < 0)
			continue; /* a signal */
		for (unsigned i = 0; i < KEEPER_MAX_CONNS; i++)
			serve_conn(server, &server->conns[i], polled[i].revents);
		/* Last: a slot must not change hands between poll() and its turn. */
		if (polled[KEEPER_MAX_CONNS].revents != 0)
			accept_some(server);
	}
}

int keeper_server_run(const KeeperConfig *config)
{
	KeeperServer server = { .config = *config };
	uint64_t seed;
	struct stat st;

	for (unsigned i = 0; i < KEEPER_MAX_CONNS; i++)
		server.conns[i].fd = -EBADF;
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed) ||
	    getrandom(&server.instance, sizeof(server.instance), 0) != sizeof(server.instance) ||
	    lstat(config->socket_path, &st) != 0)
		return -errno;
	server.instance |= 1; /* 0 is "none" to clients */
	server.socket_dev = st.st_dev;
	server.socket_ino = st.st_ino;
	if (!keeper_table_init(&server.table, seed))
		return -ENOMEM;
	serve(&server);
	if (is_in_place(&server))
		unlink(config->socket_path);
	for (unsigned i = 0; i < KEEPER_MAX_CONNS; i++) {
		if (server.conns[i].state != CONN_NONE)
			keeper_conn_close(&server.conns[i]);
	}
	keeper_table_finish(&server.table);
	return 0;
}
