/* SPDX-License-Identifier: BSD-3-Clause */
/* Pumps: blocking threads, because descriptors shared with a shell must keep their mode. */
#include "machine/stdio_pump.h"

#include "util/autofd.h"

#include <errno.h>
#include <gio/gio.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#define CHUNK 4096u /* what a pipe that poll() calls writable takes without waiting */

struct PumpOut {
	Serial *serial;
	PumpOutFunc func;
	void *opaque;
	pthread_t thread;
};

struct PumpIn {
	int fd, stop_fd;
	Serial *serial;
	PumpInOps ops;
	void *opaque;
	pthread_t thread;
	bool has_thread;
};

/* With all signals blocked: they are the main thread's. */
static bool start(pthread_t *thread, void *(*run)(void *), void *opaque, GError **error)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(thread, NULL, run, opaque);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		g_set_error(error, G_IO_ERROR, g_io_error_from_errno(rc),
			    "cannot start a thread: %s", g_strerror(rc));
	return rc == 0;
}

/* ---- out ---- */

static void *out_thread(void *opaque)
{
	PumpOut *pump = opaque;
	uint8_t bytes[CHUNK];
	size_t n;

	while ((n = serial_receive(pump->serial, bytes, sizeof(bytes))))
		pump->func(pump->opaque, bytes, n);
	return NULL;
}

PumpOut *pump_out_new(Serial *serial, PumpOutFunc func, void *opaque, GError **error)
{
	g_autofree PumpOut *pump = g_new0(PumpOut, 1);

	*pump = (PumpOut){ .serial = serial, .func = func, .opaque = opaque };
	return start(&pump->thread, out_thread, pump, error) ? g_steal_pointer(&pump) : NULL;
}

void pump_out_free(PumpOut *pump)
{
	if (!pump)
		return;
	pthread_join(pump->thread, NULL);
	g_free(pump);
}

bool pump_write(int fd, const uint8_t *bytes, size_t len)
{
	while (len) {
		struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };
		ssize_t n = write(fd, bytes, MIN(len, CHUNK));

		if (n > 0) {
			bytes += n;
			len -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			poll(&poll_fd, 1, -1);
		} else if (n < 0 && errno != EINTR) {
			return false;
		}
	}
	return true;
}

/* ---- in ---- */

/* True if there is something to be read, false to stop. */
static bool wait_readable(const PumpIn *pump)
{
	struct pollfd poll_fds[] = {
		{ .fd = pump->fd, .events = POLLIN },
		{ .fd = pump->stop_fd, .events = POLLIN },
	};

	while (poll(poll_fds, G_N_ELEMENTS(poll_fds), -1) < 0) {
		if (errno != EINTR && errno != EAGAIN)
			return false;
	}
	return !poll_fds[1].revents;
}

static ssize_t read_some(const PumpIn *pump, uint8_t *bytes, size_t len)
{
	ssize_t n;

	do {
		if (!wait_readable(pump))
			return -1;
		n = read(pump->fd, bytes, len);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	return MAX(n, 0);
}

static void *in_thread(void *opaque)
{
	PumpIn *pump = opaque;
	uint8_t bytes[CHUNK];
	uint64_t sum = 0;
	ssize_t n;

	while ((n = read_some(pump, bytes, sizeof(bytes))) > 0) {
		size_t left = (size_t)n;

		if (pump->ops.filter)
			left = pump->ops.filter(pump->opaque, bytes, left);
		if (pump->ops.drops)
			serial_try_send(pump->serial, bytes, left);
		else if (!serial_send(pump->serial, bytes, left))
			return NULL;
		sum += left;
	}
	if (n == 0 && pump->ops.ended)
		pump->ops.ended(pump->opaque, sum);
	return NULL;
}

PumpIn *pump_in_new(int fd, Serial *serial, const PumpInOps *ops, void *opaque, GError **error)
{
	g_autoptr(PumpIn) pump = g_new0(PumpIn, 1);

	*pump = (PumpIn){ .fd = fd, .serial = serial, .ops = *ops, .opaque = opaque };
	pump->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (pump->stop_fd < 0) {
		g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno), "eventfd: %s",
			    g_strerror(errno));
		return NULL;
	}
	pump->has_thread = start(&pump->thread, in_thread, pump, error);
	return pump->has_thread ? g_steal_pointer(&pump) : NULL;
}

void pump_in_free(PumpIn *pump)
{
	if (!pump)
		return;
	if (pump->has_thread) {
		eventfd_write(pump->stop_fd, 1);
		pthread_join(pump->thread, NULL);
	}
	fd_close_auto(&pump->stop_fd);
	g_free(pump);
}
