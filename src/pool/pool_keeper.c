/* SPDX-License-Identifier: BSD-3-Clause */
/* Watches the keeper: one that dies is replaced at once, and not with the next file stored. */
#include "pool/pool_daemon_priv.h"

#include "util/peer_cred.h"

#include <glib-unix.h>
#include <unistd.h>

#define RETRY_MS 1000

static void seek_keeper(PoolDaemon *daemon);

typedef struct Attempt {
	PoolDaemon *daemon;
	int sock; /* a copy of the connection's, to see its end by; -1 = there is none */
	char *trouble;
} Attempt;

static gboolean keeper_has_gone(int sock, GIOCondition condition, gpointer data)
{
	PoolDaemon *daemon = data;

	close(sock);
	daemon->keeper_watch = 0;
	daemon->keeper_sock = -1;
	daemon->keeper_pid = 0;
	g_printerr("softdcd serve: the connection to the keeper has ended: taken up again, with "
		   "another keeper if need be\n");
	seek_keeper(daemon);
	return G_SOURCE_REMOVE;
}

static gboolean try_again(gpointer data)
{
	PoolDaemon *daemon = data;

	daemon->keeper_watch = 0;
	seek_keeper(daemon);
	return G_SOURCE_REMOVE;
}

static void watch_keeper(PoolDaemon *daemon, int sock)
{
	PeerCred cred = { 0 };

	(void)peer_cred_get(sock, &cred);
	daemon->keeper_pid = cred.pid;
	daemon->keeper_sock = sock;
	daemon->keeper_watch = g_unix_fd_add(sock, G_IO_HUP | G_IO_ERR, keeper_has_gone, daemon);
	g_atomic_int_set(&daemon->keeper_is_lost, 0);
}

static void tell_lost(PoolDaemon *daemon, const char *trouble)
{
	if (g_atomic_int_get(&daemon->keeper_is_lost))
		return;
	g_atomic_int_set(&daemon->keeper_is_lost, 1);
	g_printerr("softdcd serve: %s\n", trouble);
	daemon_event_object(daemon, "KEEPER_LOST", "message", trouble);
}

static gboolean attempt_over(gpointer data)
{
	Attempt *attempt = data;
	PoolDaemon *daemon = attempt->daemon;

	if (daemon->keeper_ends) {
		if (attempt->sock >= 0)
			close(attempt->sock);
	} else if (attempt->sock >= 0) {
		watch_keeper(daemon, attempt->sock);
	} else {
		tell_lost(daemon, attempt->trouble);
		daemon->keeper_watch = g_timeout_add(RETRY_MS, try_again, daemon);
	}
	g_free(attempt->trouble);
	g_free(attempt);
	return G_SOURCE_REMOVE;
}

/* On the ledger's thread, whose the client is. A new keeper gets everything before it returns. */
static void connect_keeper(void *opaque)
{
	Attempt *attempt = opaque;
	KeeperClient *keeper = attempt->daemon->keeper;
	g_autoptr(GError) error = NULL;

	if (keeper_client_connect(keeper, &error))
		attempt->sock = keeper_client_dup_socket(keeper);
	if (attempt->sock < 0)
		attempt->trouble = g_strdup(error ? error->message : "the keeper has gone again");
	g_idle_add_full(G_PRIORITY_DEFAULT, attempt_over, attempt, NULL);
}

static void seek_keeper(PoolDaemon *daemon)
{
	Attempt *attempt = g_new(Attempt, 1);

	*attempt = (Attempt){ .daemon = daemon, .sock = -1 };
	ledger_run(daemon->ledger, connect_keeper, attempt);
}

void daemon_watch_keeper(PoolDaemon *daemon)
{
	daemon->keeper_sock = -1;
	if (daemon->keeper)
		seek_keeper(daemon);
}

void daemon_unwatch_keeper(PoolDaemon *daemon)
{
	daemon->keeper_ends = true;
	if (daemon->keeper_watch == 0)
		return;
	g_source_remove(daemon->keeper_watch);
	daemon->keeper_watch = 0;
	if (daemon->keeper_sock >= 0)
		close(daemon->keeper_sock);
}
