/* SPDX-License-Identifier: BSD-3-Clause */
/* Device at a port: two connections, and a thread that makes them again. */
#include "machine/device_port.h"

#include "host/fabric_link.h"
#include "link/unix_connect.h"
#include "machine/vfio_endpoint.h"

#include <gio/gio.h>
#include <sys/socket.h>

#define REQUEST_MS 5000u /* one that takes longer when connecting is taken for absent */
#define MS         INT64_C(1000)

#define BACKOFF_MIN (20 * MS)
#define BACKOFF_MAX (1000 * MS)
#define LOOK        (500 * MS) /* how long the end of the vfio-user connection may go unnoticed */

struct DevicePort {
	DevicePortConfig config;
	char *name, *vfio_path, *mem_path;
	FabricEndpoint *endpoint;
	VfioEndpoint *function;
	bool is_plugged;
	FabricLink *link; /* the thread's, once that runs; NULL while away */
	uint64_t told_reads, told_writes;
	char *last_error; /* of coming back, as logged */
	GThread *thread;
	GMutex lock; /* of what follows */
	GCond wake;
	bool is_closed; /* the link has said so */
	bool stops;
};

G_GNUC_PRINTF(2, 3)
static void log_format(DevicePort *port, const char *format, ...)
{
	g_autofree char *text = NULL, *line = NULL;
	va_list args;

	if (!port->config.log)
		return;
	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	line = g_strdup_printf("device %s: %s", port->name, text);
	port->config.log(port->config.opaque, line);
}

/* ---- connecting ---- */

static void link_closed(void *opaque)
{
	DevicePort *port = opaque;

	g_mutex_lock(&port->lock);
	port->is_closed = true;
	g_cond_signal(&port->wake);
	g_mutex_unlock(&port->lock);
}

static const FabricLinkOps link_ops = { .closed = link_closed };

static bool open_link(void *opaque, GError **error)
{
	DevicePort *port = opaque;
	int fd = unix_connect(port->mem_path, SOCK_SEQPACKET, REQUEST_MS, error);

	if (fd < 0)
		return false;
	g_mutex_lock(&port->lock);
	port->is_closed = false;
	g_mutex_unlock(&port->lock);
	port->link = fabric_link_new(port->endpoint, fd, port->config.session,
				     port->config.max_maps, &link_ops, port, REQUEST_MS, error);
	return port->link;
}

static void close_link(DevicePort *port)
{
	g_clear_pointer(&port->link, fabric_link_free);
	fabric_endpoint_drop_unexposed(port->endpoint);
}

/* ---- the thread ---- */

/* False: it is to stop. UNTIL: monotonic, in us; returns sooner if the link closes, but not when
 * it already has. */
static bool wait_until(DevicePort *port, int64_t until, bool or_closed)
{
	bool stops;

	g_mutex_lock(&port->lock);
	while (!port->stops && !(or_closed && port->is_closed) &&
	       g_cond_wait_until(&port->wake, &port->lock, until))
		;
	stops = port->stops;
	g_mutex_unlock(&port->lock);
	return !stops;
}

static bool is_lost(DevicePort *port)
{
	return !fabric_link_is_connected(port->link) || !vfio_endpoint_is_connected(port->function);
}

static void leave(DevicePort *port)
{
	size_t n;
	g_autofree FabricHeld *held = NULL;

	port->told_reads = port->told_writes = 0;
	vfio_endpoint_leave(port->function);
	close_link(port);
	held = fabric_endpoint_held(port->endpoint, &n);
	log_format(port,
		   "its pool has closed the connection, or is gone; %zu pieces of its memory "
		   "stay, its commands fail until it is back",
		   n);
}

/* Not that nobody is there, and nothing twice. */
static void log_failed_try(DevicePort *port, const GError *error)
{
	if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) ||
	    g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED) ||
	    g_strcmp0(error->message, port->last_error) == 0)
		return;
	g_free(port->last_error);
	port->last_error = g_strdup(error->message);
	log_format(port, "%s", error->message);
}

static bool try_return(DevicePort *port)
{
	g_autoptr(GError) error = NULL;
	int fd = unix_connect(port->vfio_path, SOCK_STREAM, REQUEST_MS, &error);

	if (fd >= 0 && vfio_endpoint_return(port->function, fd, open_link, port, &error))
		return true;
	close_link(port);
	log_failed_try(port, error);
	return false;
}

/* Until it is back, or the port is to stop. */
static void come_back(DevicePort *port)
{
	int64_t since = g_get_monotonic_time(), backoff = BACKOFF_MIN;

	leave(port);
	while (wait_until(port, g_get_monotonic_time() + backoff, false)) {
		if (try_return(port)) {
			g_clear_pointer(&port->last_error, g_free);
			log_format(port, "back after %" G_GINT64_FORMAT " ms",
				   (g_get_monotonic_time() - since) / MS);
			return;
		}
		backoff = MIN(2 * backoff, BACKOFF_MAX);
	}
}

/* Accesses to the window that met no memory, for who looks at the pool. */
static void tell_misses(DevicePort *port)
{
	FabricStats stats;

	fabric_bridge_stats(port->config.fabric, port->config.uid, &stats);
	if ((stats.n_unmapped_reads != port->told_reads ||
	     stats.n_unmapped_writes != port->told_writes) &&
	    fabric_link_tell_misses(port->link, stats.n_unmapped_reads, stats.n_unmapped_writes)) {
		port->told_reads = stats.n_unmapped_reads;
		port->told_writes = stats.n_unmapped_writes;
	}
}

static void *run(void *data)
{
	DevicePort *port = data;

	while (wait_until(port, g_get_monotonic_time() + LOOK, true)) {
		if (is_lost(port))
			come_back(port);
		else
			tell_misses(port);
	}
	return NULL;
}

/* ---- life ---- */

/* A device that has a host closes the connection of another one without a word. */
static VfioEndpoint *connect_function(const DevicePortConfig *config, int fd, GError **error)
{
	VfioEndpoint *function = vfio_endpoint_new(config->vm, config->bus, &config->windows, fd,
						   REQUEST_MS, error);

	if (!function && error && g_error_matches(*error, G_IO_ERROR, G_IO_ERROR_FAILED)) {
		g_autoptr(GError) why = g_steal_pointer(error);

		g_set_error(error, why->domain, why->code, "%s; does it have another host already?",
			    why->message);
	}
	return function;
}

static bool connect_both(DevicePort *port, GError **error)
{
	int fd = unix_connect(port->vfio_path, SOCK_STREAM, REQUEST_MS, error);

	if (fd < 0)
		return false;
	port->function = connect_function(&port->config, fd, error);
	/* Only now: a link that is silent for a second is closed. */
	return port->function && open_link(port, error);
}

DevicePort *device_port_new(const DevicePortConfig *config, GError **error)
{
	g_autoptr(DevicePort) port = g_new0(DevicePort, 1);

	port->config = *config;
	port->name = g_strdup(config->name);
	port->vfio_path = g_strdup(config->vfio_path);
	port->mem_path = g_strdup(config->mem_path);
	g_mutex_init(&port->lock);
	g_cond_init(&port->wake);
	port->endpoint = fabric_endpoint_new(config->fabric, config->uid, config->port);
	if (!port->endpoint) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "device %s: host bridge %u has no port %u that is free", config->name,
			    config->uid, config->port);
		return NULL;
	}
	if (!connect_both(port, error)) {
		g_prefix_error(error, "device %s: ", config->name);
		return NULL;
	}
	port->is_plugged = fabric_plug(config->fabric, config->uid, config->port,
				       &vfio_endpoint_function, port->function);
	port->thread = g_thread_try_new("device-port", run, port, error);
	return port->thread ? g_steal_pointer(&port) : NULL;
}

void device_port_abort(DevicePort *port)
{
	g_mutex_lock(&port->lock);
	port->stops = true;
	g_cond_signal(&port->wake);
	g_mutex_unlock(&port->lock);
	vfio_endpoint_abort(port->function);
}

void device_port_free(DevicePort *port)
{
	if (!port)
		return;
	if (port->function)
		device_port_abort(port);
	if (port->thread)
		g_thread_join(port->thread);
	if (port->is_plugged)
		fabric_plug(port->config.fabric, port->config.uid, port->config.port, NULL, NULL);
	/* The link before the endpoint it works on. */
	g_clear_pointer(&port->link, fabric_link_free);
	g_clear_pointer(&port->endpoint, fabric_endpoint_free);
	vfio_endpoint_free(port->function);
	g_cond_clear(&port->wake);
	g_mutex_clear(&port->lock);
	g_free(port->last_error);
	g_free(port->name);
	g_free(port->vfio_path);
	g_free(port->mem_path);
	g_free(port);
}
