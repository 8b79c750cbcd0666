/* SPDX-License-Identifier: BSD-3-Clause */
/* Lines for stdout, written by a thread of their own, so that a slow reader stops nobody else. */
#include "cli/host_out.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define MAX_WAITING ((size_t)16 << 20)

struct HostOut {
	int fd;
	GThread *thread;
	GMutex lock;
	GCond changed;
	GQueue lines;
	size_t n_waiting; /* bytes, of LINES and of the one being written */
	bool is_over;
	bool is_broken;
};

static bool write_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		text += n;
		len -= (size_t)n;
	}
	return true;
}

/* With the lock held; gives it up while it writes. */
static void write_line(HostOut *out, char *line)
{
	size_t len = strlen(line);
	bool is_broken = out->is_broken;

	g_mutex_unlock(&out->lock);
	is_broken = is_broken || !write_all(out->fd, line, len);
	g_free(line);
	g_mutex_lock(&out->lock);
	if (is_broken && !out->is_broken && !out->is_over)
		kill(getpid(), SIGTERM);
	out->is_broken = is_broken;
	out->n_waiting -= len;
	g_cond_broadcast(&out->changed);
}

static gpointer run(gpointer opaque)
{
	HostOut *out = opaque;

	g_mutex_lock(&out->lock);
	for (;;) {
		char *line = g_queue_pop_head(&out->lines);

		if (line)
			write_line(out, line);
		else if (out->is_over)
			break;
		else
			g_cond_wait(&out->changed, &out->lock);
	}
	g_mutex_unlock(&out->lock);
	return NULL;
}

HostOut *host_out_new(int fd)
{
	HostOut *out = g_new0(HostOut, 1);

	/* A write tells it as well, and to one thread only. */
	signal(SIGPIPE, SIG_IGN);
	out->fd = fd;
	g_mutex_init(&out->lock);
	g_cond_init(&out->changed);
	g_queue_init(&out->lines);
	out->thread = g_thread_new("host-out", run, out);
	return out;
}

void host_out_line(HostOut *out, char *line)
{
	g_mutex_lock(&out->lock);
	while (out->n_waiting > MAX_WAITING)
		g_cond_wait(&out->changed, &out->lock);
	out->n_waiting += strlen(line);
	g_queue_push_tail(&out->lines, line);
	g_cond_broadcast(&out->changed);
	g_mutex_unlock(&out->lock);
}

void host_out_free(HostOut *out)
{
	if (!out)
		return;
	g_mutex_lock(&out->lock);
	out->is_over = true;
	g_cond_broadcast(&out->changed);
	g_mutex_unlock(&out->lock);
	g_thread_join(out->thread);
	g_mutex_clear(&out->lock);
	g_cond_clear(&out->changed);
	g_free(out);
}
