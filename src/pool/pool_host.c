/* SPDX-License-Identifier: BSD-3-Clause */
/* Processes at the other end of devices: told apart by pid and start time, watched by pidfd. */
#include "pool/pool_priv.h"

#include <fcntl.h>
#include <glib-unix.h>
#include <unistd.h>

static gboolean host_ended(gint fd, GIOCondition condition, gpointer user_data)
{
	PoolHost *host = user_data;
	Pool *pool = host->pool;
	uint64_t serial = host->serial;

	g_hash_table_remove(pool->hosts, &host->serial);
	pool_sessions_host_gone(pool, serial);
	capacity_host_gone(pool->capacity, serial);
	return G_SOURCE_REMOVE;
}

static PoolHost *find_host(Pool *pool, pid_t pid, uint64_t start_time)
{
	GHashTableIter iter;
	gpointer value;

	/* As many as there are host processes: few, and only when one connects. */
	g_hash_table_iter_init(&iter, pool->hosts);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		PoolHost *host = value;

		if (host->pid == pid && host->start_time == start_time)
			return host;
	}
	return NULL;
}

PoolHost *pool_host_find(Pool *pool, const SocketPeer *peer)
{
	return peer->pidfd >= 0 ? find_host(pool, peer->pid, peer->start_time) : NULL;
}

/* Watches a process, whose serial is known and whose pidfd is handed over, from now on. */
static PoolHost *host_add(Pool *pool, const PoolHost *values)
{
	PoolHost *host = g_memdup2(values, sizeof(*values));

	host->pool = pool;
	pool->last_serial = MAX(pool->last_serial, host->serial);
	host->watch = g_unix_fd_source_new(host->pidfd, G_IO_IN);
	g_source_set_callback(host->watch, G_SOURCE_FUNC(host_ended), host, NULL);
	g_source_attach(host->watch, pool->context);
	g_hash_table_insert(pool->hosts, &host->serial, host);
	return host;
}

PoolHost *pool_host_get(Pool *pool, const SocketPeer *peer)
{
	PoolHost *host = pool_host_find(pool, peer);
	PoolHost values = { .pid = peer->pid, .start_time = peer->start_time, .uid = peer->uid };

	if (host || peer->pidfd < 0)
		return host;
	values.pidfd = fcntl(peer->pidfd, F_DUPFD_CLOEXEC, 3);
	if (values.pidfd < 0)
		return NULL;
	values.serial = pool->last_serial + 1;
	return host_add(pool, &values);
}

PoolHost *pool_host_restore(Pool *pool, const RowHost *row)
{
	PoolHost values = {
		.serial = row->serial,
		.pid = (pid_t)row->pid,
		.start_time = row->start_time,
		.uid = row->uid,
	};
	PoolHost *host = g_hash_table_lookup(pool->hosts, &row->serial);

	if (host)
		return host->pid == values.pid && host->start_time == values.start_time ? host
											: NULL;
	if (row->serial == 0 || row->pid <= 0 || row->pid > G_MAXINT)
		return NULL;
	values.pidfd = socket_peer_open(values.pid, row->start_time);
	return values.pidfd >= 0 ? host_add(pool, &values) : NULL;
}

PoolHost *pool_host_by_serial(Pool *pool, uint64_t serial)
{
	return g_hash_table_lookup(pool->hosts, &serial);
}

void pool_host_free(PoolHost *host)
{
	g_source_destroy(host->watch);
	g_source_unref(host->watch);
	close(host->pidfd);
	g_free(host);
}
