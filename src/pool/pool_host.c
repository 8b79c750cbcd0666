/* SPDX-License-Identifier: BSD-3-Clause */
/* Processes at the other end of devices: told apart by pid and start time, watched by pidfd. */
#include "pool/pool_priv.h"

#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <glib-unix.h>

/* Field 22 of /proc/PID/stat; 0 if the process is not there. */
static uint64_t process_start_time(pid_t pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid);
	g_autofree char *text = NULL;
	g_auto(GStrv) fields = NULL;
	const char *rest;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return 0;
	/* The second field is the program's name in parentheses and may hold anything. */
	rest = strrchr(text, ')');
	if (!rest)
		return 0;
	fields = g_strsplit(rest + 1, " ", 0);
	/* rest begins with a space, so fields[1] is field 3 of the file. */
	return g_strv_length(fields) > 20 ? g_ascii_strtoull(fields[20], NULL, 10) : 0;
}

static gboolean host_ended(gint fd, GIOCondition condition, gpointer user_data)
{
	PoolHost *host = user_data;
	Pool *pool = host->pool;
	uint64_t serial = host->serial;

	g_hash_table_remove(pool->hosts, &host->serial);
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

PoolHost *pool_host_find(Pool *pool, pid_t pid)
{
	uint64_t start_time = process_start_time(pid);

	return start_time ? find_host(pool, pid, start_time) : NULL;
}

PoolHost *pool_host_get(Pool *pool, pid_t pid, uid_t uid)
{
	uint64_t start_time = process_start_time(pid);
	PoolHost *host = start_time ? find_host(pool, pid, start_time) : NULL;
	int pidfd;

	if (host || !start_time)
		return host;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return NULL;
	/* Between reading the start time and pidfd_open the pid may have passed to another process.
	 */
	if (process_start_time(pid) != start_time) {
		close(pidfd);
		return NULL;
	}

	host = g_new0(PoolHost, 1);
	host->pool = pool;
	host->serial = ++pool->last_serial;
	host->pid = pid;
	host->start_time = start_time;
	host->uid = uid;
	host->pidfd = pidfd;
	host->watch = g_unix_fd_source_new(pidfd, G_IO_IN);
	g_source_set_callback(host->watch, G_SOURCE_FUNC(host_ended), host, NULL);
	g_source_attach(host->watch, pool->context);
	g_hash_table_insert(pool->hosts, &host->serial, host);
	return host;
}

void pool_host_free(PoolHost *host)
{
	g_source_destroy(host->watch);
	g_source_unref(host->watch);
	close(host->pidfd);
	g_free(host);
}
