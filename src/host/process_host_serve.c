/* SPDX-License-Identifier: BSD-3-Clause */
/* Process host: handling what devices ask, and going on when a device was away. */
#include "host/process_host_priv.h"
#include "link/unix_connect.h"
#include "util/autofd.h"

#include <errno.h>
#include <gio/gio.h>
#include <poll.h>
#include <sys/socket.h>

/*
 * Design. A device is away from the moment one of its two connections ends until both are made
 * again. Meanwhile nothing of it is touched but its memory: what was exposed stays mapped, as the
 * file behind it is ours until the device takes it back. Connecting again is the reverse of going
 * away: vfio-user first (the device lets nobody else open the memory link), then the link with the
 * same session and the list of all that is still mapped, then the registers, then the extents.
 */
#define BACKOFF_MIN_US (20 * UINT64_C(1000))
#define BACKOFF_MAX_US (1000 * UINT64_C(1000))
#define SLICE_US       (1000 * UINT64_C(1000)) /* an interrupt that got lost costs no more */
#define RETRY_US       (100 * UINT64_C(1000))  /* after a failure that is not the connection's */

static uint64_t now_us(void)
{
	return (uint64_t)g_get_monotonic_time();
}

G_GNUC_PRINTF(2, 3)
static void log_format(HostPort *port, const char *format, ...)
{
	g_autofree char *line = NULL;
	va_list args;

	va_start(args, format);
	line = g_strdup_vprintf(format, args);
	va_end(args);
	host_log(port->host, line);
}

/* ---- waking ---- */

void process_host_wake(ProcessHost *host)
{
	uint64_t one = 1;

	/* Full means that it is awake. */
	(void)!write(host->wake_fd, &one, sizeof(one));
}

void host_port_changed(HostPort *port)
{
	atomic_fetch_add(&port->n_changes, 1);
	/* An acceptance finds us waiting for its command: no need to wake anybody. */
	if (atomic_load(&port->host->is_sleeping))
		process_host_wake(port->host);
}

void host_port_closed(HostPort *port)
{
	atomic_store(&port->is_closed, true);
	process_host_wake(port->host);
}

static bool take_wake(ProcessHost *host)
{
	uint64_t count;

	return read(host->wake_fd, &count, sizeof(count)) == sizeof(count);
}

/* ---- going away ---- */

static bool is_lost(HostPort *port)
{
	return atomic_load(&port->is_closed) || !vfu_client_is_connected(port->vfu) ||
	       !fabric_link_is_connected(port->link);
}

static void close_connections(HostPort *port)
{
	vfu_client_disconnect(port->vfu);
	g_clear_pointer(&port->link, fabric_link_free);
	fabric_endpoint_drop_unexposed(port->endpoint);
	atomic_store(&port->is_closed, false);
}

static void lose(HostPort *port, const char *why)
{
	const ProcessHostConfig *config = &port->host->config;

	close_connections(port);
	port->is_away = true;
	port->away_us = now_us();
	port->next_us = port->away_us;
	port->backoff_us = BACKOFF_MIN_US;
	if (config->ops.away)
		config->ops.away(config->opaque, port->port, why);
}

/* ---- coming back ---- */

static bool reconnect(HostPort *port, GError **error)
{
	int fd = unix_connect(port->vfio_path, SOCK_STREAM, REQUEST_MS, error);

	if (fd < 0 || !vfu_client_reconnect(port->vfu, fd, error))
		return false;
	fd = unix_connect(port->mem_path, SOCK_SEQPACKET, REQUEST_MS, error);
	if (fd < 0 || !host_port_open_link(port, fd, error))
		return false;
	if (!vfu_client_replay(port->vfu))
		return true;
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_CONNECTION_CLOSED,
		    "the device went away again while its registers were written");
	return false;
}

static bool driver_failed(HostPort *port, GError **error)
{
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "%s",
		    cxl_driver_error(port->host->driver));
	return false;
}

static bool resume_device(HostPort *port, bool *ret_kept, GError **error)
{
	int rc = -EIO;

	for (unsigned i = 0; (rc == -EIO || rc == -ETIMEDOUT) && i < MAX_COMMITS; i++) {
		g_usleep(i * COMMIT_PAUSE_US);
		rc = cxl_memdev_resume(port->memdev);
		if (is_lost(port))
			break;
	}
	if (rc < 0)
		return driver_failed(port, error);
	*ret_kept = rc > 0;
	return true;
}

/* Not that nobody is there, and nothing twice. */
static void log_failed_try(HostPort *port, const GError *error)
{
	if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) ||
	    g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED) ||
	    g_strcmp0(error->message, port->last_error) == 0)
		return;
	g_free(port->last_error);
	port->last_error = g_strdup(error->message);
	log_format(port, "port %u: %s", port->port, error->message);
}

static int start_dcd(HostPort *port)
{
	return cxl_dcd_start(port->memdev, &port->dcd_ops, port->dcd_opaque, &port->dcd_options,
			     &port->dcd);
}

static void try_events_later(HostPort *port)
{
	log_format(port, "port %u: %s", port->port, cxl_driver_error(port->host->driver));
	port->next_us = now_us() + RETRY_US;
}

/* Once more; what fails is tried again later. */
static void try_return(HostPort *port)
{
	const ProcessHostConfig *config = &port->host->config;
	g_autoptr(GError) error = NULL;
	bool kept;

	if (!reconnect(port, &error) || !resume_device(port, &kept, &error)) {
		close_connections(port);
		port->next_us = now_us() + port->backoff_us;
		log_failed_try(port, error);
		port->backoff_us = MIN(port->backoff_us * 2, BACKOFF_MAX_US);
		return;
	}
	port->is_away = false;
	g_clear_pointer(&port->last_error, g_free);
	/* What was called out meanwhile nobody has heard: look at once. */
	port->next_us = 0;
	if (config->ops.resumed)
		config->ops.resumed(config->opaque, port->port, kept, now_us() - port->away_us);
	if (port->is_served && (port->dcd ? cxl_dcd_resume(port->dcd) : start_dcd(port)) < 0)
		try_events_later(port);
}

static bool has_given_up(const HostPort *port, GError **error)
{
	uint64_t limit = port->host->config.reconnect_ms * UINT64_C(1000);

	if (!limit || now_us() - port->away_us < limit)
		return false;
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
		    "%s has not come back within %u ms; what was mapped of it stays mapped until "
		    "this process ends",
		    port->vfio_path, port->host->config.reconnect_ms);
	return true;
}

/* ---- events ---- */

static bool take_irq(HostPort *port)
{
	uint64_t count;

	return read(port->irq_fd, &count, sizeof(count)) == sizeof(count);
}

/* Handles the device's event logs if it called or has not been looked at for long. */
static int look_at_events(HostPort *port)
{
	uint64_t now = now_us();
	int total = 0, n;

	if (!take_irq(port) && now < port->next_us)
		return 0;
	port->next_us = now + SLICE_US;
	n = port->dcd ? 0 : start_dcd(port);
	while (n >= 0 && (n = cxl_dcd_poll(port->dcd, 0)) > 0)
		total += n;
	if (n < 0 && !is_lost(port))
		try_events_later(port);
	return total;
}

static int tell_changes(HostPort *port)
{
	const ProcessHostConfig *config = &port->host->config;
	unsigned n = atomic_load(&port->n_changes);

	if (n == port->n_seen)
		return 0;
	port->n_seen = n;
	if (config->ops.remapped)
		config->ops.remapped(config->opaque, port->port);
	return 1;
}

/* Number of things that happened, -1 = given up. */
static int step(HostPort *port, GError **error)
{
	int n = tell_changes(port);

	if (!port->is_away && port->is_served && !atomic_load(&port->is_closed))
		n += look_at_events(port);
	if (!port->is_away) {
		if (!is_lost(port))
			return n;
		if (!port->vfio_path) {
			g_set_error(error, G_IO_ERROR, G_IO_ERROR_CONNECTION_CLOSED,
				    "port %u: the device has closed the connection", port->port);
			return -1;
		}
		lose(port, "the pool has closed the connection, or is gone");
		n++;
	}
	if (has_given_up(port, error))
		return -1;
	if (now_us() >= port->next_us) {
		try_return(port);
		n += !port->is_away;
	}
	return n;
}

static bool has_changes(ProcessHost *host)
{
	for (unsigned i = 0; i < host->n_ports; i++) {
		if (atomic_load(&host->ports[i].n_changes) != host->ports[i].n_seen)
			return true;
	}
	return false;
}

/* Until something may have happened, at most until END. */
static void sleep_until(ProcessHost *host, uint64_t end)
{
	struct pollfd fds[PROCESS_HOST_MAX_PORTS + 1] = { { .fd = host->wake_fd,
							    .events = POLLIN } };
	uint64_t now = now_us();

	for (unsigned i = 0; i < host->n_ports; i++) {
		HostPort *port = &host->ports[i];

		/* Negative ones are ignored. */
		fds[i + 1].fd = port->is_away || !port->is_served ? -1 : port->irq_fd;
		fds[i + 1].events = POLLIN;
		if (port->is_served || port->is_away)
			end = MIN(end, port->next_us);
	}
	if (end <= now)
		return;
	atomic_store(&host->is_sleeping, true);
	if (!has_changes(host))
		poll(fds, host->n_ports + 1, (int)MIN((end - now + 999) / 1000, (uint64_t)INT_MAX));
	atomic_store(&host->is_sleeping, false);
}

int process_host_poll(ProcessHost *host, unsigned timeout_ms, GError **error)
{
	uint64_t end = now_us() + timeout_ms * UINT64_C(1000);

	for (;;) {
		bool is_woken = take_wake(host);
		int total = 0;

		for (unsigned i = 0; i < host->n_ports; i++) {
			int n = step(&host->ports[i], error);

			if (n < 0)
				return -1;
			total += n;
		}
		if (total > 0 || is_woken || now_us() >= end)
			return total;
		sleep_until(host, end);
	}
}

/* ---- what callers set up ---- */

int process_host_connect(ProcessHost *host, const char *vfio_path, const char *mem_path,
			 GError **error)
{
	int fd = unix_connect(vfio_path, SOCK_STREAM, REQUEST_MS, error);
	HostPort *port = fd < 0 ? NULL : host_port_new(host, fd, error);

	if (!port)
		return -1;
	/* Only now: a link that is silent for a second is closed. */
	fd = unix_connect(mem_path, SOCK_SEQPACKET, REQUEST_MS, error);
	if (fd < 0 || !host_port_open_link(port, fd, error)) {
		host_port_clear(port);
		return -1;
	}
	port->vfio_path = g_strdup(vfio_path);
	port->mem_path = g_strdup(mem_path);
	return host_port_plug(port);
}

bool process_host_serve(ProcessHost *host, unsigned number, const CxlDcdOps *ops, void *opaque,
			const CxlDcdOptions *options, GError **error)
{
	HostPort *port = &host->ports[number];

	g_return_val_if_fail(number < host->n_ports && !port->is_served, false);
	port->is_served = true;
	port->dcd_ops = *ops;
	port->dcd_opaque = opaque;
	if (options)
		port->dcd_options = *options;
	/* One that goes away at this moment is served when it is back. */
	return start_dcd(port) == 0 || (port->vfio_path && is_lost(port)) ||
	       driver_failed(port, error);
}

CxlDcd *process_host_dcd(ProcessHost *host, unsigned port)
{
	return port < host->n_ports ? host->ports[port].dcd : NULL;
}

bool process_host_is_away(ProcessHost *host, unsigned port)
{
	return port < host->n_ports && host->ports[port].is_away;
}

bool process_host_find(ProcessHost *host, unsigned port, uint64_t dpa, ProcessHostPlace *ret)
{
	FabricPlace place;

	if (port >= host->n_ports || fabric_endpoint_find(host->ports[port].endpoint, dpa, &place))
		return false;
	*ret = (ProcessHostPlace){
		.incarnation = place.incarnation,
		.offset = place.offset,
		.run = place.run,
		.fd = place.fd,
		.writable = place.writable,
	};
	return true;
}
