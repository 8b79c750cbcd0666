/* SPDX-License-Identifier: BSD-3-Clause */
/* Process host: joins fabric, driver, vfio-user and memory links into one CXL host. */
#include "host/process_host_priv.h"
#include "link/vfu_wire.h"
#include "util/autofd.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>

#define BRIDGE_UID   1u
#define BUS_LAST     0x3f
#define WINDOW_HPA   (UINT64_C(0x50) << 32) /* above any RAM and PCI window a machine has */
#define WINDOW_ALIGN (UINT64_C(256) << 20)
#define GRANULARITY  256u   /* of the window; with one way it decodes nothing */
#define RESTRICTIONS 0x000e /* host-only, volatile, persistent */
#define SPIN_US      50u
#define MAX_VECTORS  16u

/* ---- what the fabric maps ---- */

static int alias_map(void *opaque, const FabricAlias *alias)
{
	ProcessHost *host = opaque;

	return window_map_put(host->window, alias->hpa, alias->len, alias->fd, alias->offset,
			      alias->writable);
}

static void alias_unmap(void *opaque, const FabricAlias *alias)
{
	ProcessHost *host = opaque;

	/*
	 * The same mapping once more, to be rid of its page tables now and in one go. Left to the
	 * next extent that is accepted here, which somebody waits for, it costs that one an
	 * interrupt on every CPU that runs this process.
	 */
	alias_map(host, alias);
	window_map_clear(host->window, alias->hpa, alias->len);
}

static void alias_cut(void *opaque, const FabricAlias *alias, uint64_t hpa, uint64_t len)
{
	ProcessHost *host = opaque;

	window_map_clear(host->window, hpa, len);
}

static const FabricMapper mapper = {
	.map = alias_map,
	.unmap = alias_unmap,
	.cut = alias_cut,
};

/* ---- the function behind a port ---- */

static int function_config_read(void *opaque, uint32_t offset, void *buf, uint32_t len)
{
	HostPort *port = opaque;

	return vfu_client_read(port->vfu, VFU_REGION_CONFIG, offset, buf, len);
}

static int function_config_write(void *opaque, uint32_t offset, const void *buf, uint32_t len)
{
	HostPort *port = opaque;

	return vfu_client_write(port->vfu, VFU_REGION_CONFIG, offset, buf, len, false);
}

static int function_bar_read(void *opaque, unsigned bar, uint64_t offset, void *buf, uint32_t len)
{
	HostPort *port = opaque;

	return vfu_client_read(port->vfu, bar, offset, buf, len);
}

static int function_bar_write(void *opaque, unsigned bar, uint64_t offset, const void *buf,
			      uint32_t len)
{
	HostPort *port = opaque;

	/* Posted like PCI's: a read that follows comes after it. */
	return vfu_client_write(port->vfu, bar, offset, buf, len, true);
}

static void function_reset(void *opaque)
{
	HostPort *port = opaque;

	vfu_client_reset(port->vfu);
}

static const FabricFunction function = {
	.config_read = function_config_read,
	.config_write = function_config_write,
	.bar_read = function_bar_read,
	.bar_write = function_bar_write,
	.reset = function_reset,
};

/* ---- the driver's bus ---- */

static int bus_config_read(void *opaque, uint32_t bdf, uint32_t offset, void *buf, uint32_t len)
{
	ProcessHost *host = opaque;

	return fabric_config_read(host->fabric, bdf, offset, buf, len);
}

static int bus_config_write(void *opaque, uint32_t bdf, uint32_t offset, const void *buf,
			    uint32_t len)
{
	ProcessHost *host = opaque;

	return fabric_config_write(host->fabric, bdf, offset, buf, len);
}

static int bus_bar_read(void *opaque, uint32_t bdf, unsigned bar, uint64_t offset, void *buf,
			uint32_t len)
{
	ProcessHost *host = opaque;

	return fabric_bar_read(host->fabric, bdf, bar, offset, buf, len);
}

static int bus_bar_write(void *opaque, uint32_t bdf, unsigned bar, uint64_t offset, const void *buf,
			 uint32_t len)
{
	ProcessHost *host = opaque;

	return fabric_bar_write(host->fabric, bdf, bar, offset, buf, len);
}

static HostPort *find_port(ProcessHost *host, uint32_t bdf)
{
	uint32_t uid;
	unsigned port;

	if (!fabric_find_function(host->fabric, bdf, &uid, &port) || port >= host->n_ports)
		return NULL;
	return &host->ports[port];
}

static void *bus_bar_map(void *opaque, uint32_t bdf, unsigned bar, uint64_t offset, uint64_t len)
{
	HostPort *port = find_port(opaque, bdf);

	return port ? vfu_client_peek_mapped(port->vfu, bar, offset, len) : NULL;
}

static int bus_chbcr_read(void *opaque, uint32_t uid, uint32_t offset, void *buf, uint32_t len)
{
	ProcessHost *host = opaque;

	fabric_chbcr_read(host->fabric, uid, offset, buf, len);
	return 0;
}

static int bus_chbcr_write(void *opaque, uint32_t uid, uint32_t offset, const void *buf,
			   uint32_t len)
{
	ProcessHost *host = opaque;

	fabric_chbcr_write(host->fabric, uid, offset, buf, len);
	return 0;
}

static int take_irq(HostPort *port)
{
	uint64_t count;

	return read(port->irq_fd, &count, sizeof(count)) < 0 && errno != EAGAIN ? -errno : 1;
}

static int bus_irq_wait(void *opaque, uint32_t bdf, unsigned timeout_ms)
{
	HostPort *port = find_port(opaque, bdf);
	struct pollfd poll_fd = { .events = POLLIN };
	int n;

	if (!port)
		return -ENODEV;
	poll_fd.fd = port->irq_fd;
	n = poll(&poll_fd, 1, timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	return n > 0 ? take_irq(port) : 0;
}

/* Mapping is what the device waits for. */
static int bus_command_wait(void *opaque, uint32_t bdf, uint64_t timeout_us)
{
	HostPort *port = find_port(opaque, bdf);
	int rc;

	if (!port || !port->link)
		return -ENODEV;
	rc = fabric_link_help(port->link, port->irq_fd, timeout_us);
	return rc > 0 ? take_irq(port) : rc;
}

static uint64_t bus_now_us(void *opaque)
{
	return (uint64_t)g_get_monotonic_time();
}

static void bus_sleep_us(void *opaque, uint64_t us)
{
	g_usleep(us);
}

void host_log(ProcessHost *host, const char *line)
{
	if (host->config.log)
		host->config.log(host->config.log_opaque, line);
}

static void bus_log(void *opaque, const char *line)
{
	host_log(opaque, line);
}

static const CxlBus bus = {
	.config_read = bus_config_read,
	.config_write = bus_config_write,
	.bar_read = bus_bar_read,
	.bar_write = bus_bar_write,
	.bar_map = bus_bar_map,
	.chbcr_read = bus_chbcr_read,
	.chbcr_write = bus_chbcr_write,
	.irq_wait = bus_irq_wait,
	.command_wait = bus_command_wait,
	.now_us = bus_now_us,
	.sleep_us = bus_sleep_us,
	.log = bus_log,
	.reads_bursts = true,
};

/* ---- life ---- */

static bool make_fabric(ProcessHost *host, GError **error)
{
	FabricWindow window = {
		.hpa = host->window_hpa,
		.len = host->config.window_len,
		.ways = 1,
		.granularity = GRANULARITY,
		.restrictions = RESTRICTIONS,
		.targets = { BRIDGE_UID },
	};
	FabricHostBridge bridge = {
		.uid = BRIDGE_UID,
		.bus_last = BUS_LAST,
		.n_ports = PROCESS_HOST_MAX_PORTS,
		.n_decoders = 32,
	};
	FabricConfig config = {
		.windows = &window,
		.n_windows = 1,
		.bridges = &bridge,
		.n_bridges = 1,
	};

	host->fabric = fabric_new(&config, &mapper, host, error);
	return host->fabric;
}

static bool make_driver(ProcessHost *host, GError **error)
{
	CxlWindow window = {
		.hpa = host->window_hpa,
		.len = host->config.window_len,
		.ways = 1,
		.granularity = GRANULARITY,
		.restrictions = RESTRICTIONS,
		.targets = { BRIDGE_UID },
	};
	CxlHostBridge bridge = { .uid = BRIDGE_UID, .bus_last = BUS_LAST };
	CxlPlatform platform = {
		.windows = &window,
		.n_windows = 1,
		.bridges = &bridge,
		.n_bridges = 1,
		.assign_buses = true,
	};

	host->driver = cxl_driver_new(&bus, host, &platform, &host->config.driver);
	if (!host->driver)
		g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOMEM, "driver: out of memory");
	return host->driver;
}

ProcessHost *process_host_new(const ProcessHostConfig *config, GError **error)
{
	g_autoptr(ProcessHost) host = g_new0(ProcessHost, 1);

	host->config = *config;
	host->window_hpa = WINDOW_HPA;
	host->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uuid_random(&host->session);
	if (config->window_len % WINDOW_ALIGN) {
		g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
			    "window of %" G_GUINT64_FORMAT
			    " bytes: the length must be a multiple of 256 MiB",
			    config->window_len);
		return NULL;
	}
	host->window = window_map_new(host->window_hpa, config->window_len, error);
	if (!host->window || !make_fabric(host, error) || !make_driver(host, error))
		return NULL;
	if (host->wake_fd < 0) {
		g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_MFILE, "eventfd: %s",
			    g_strerror(errno));
		return NULL;
	}
	return g_steal_pointer(&host);
}

/* Links last: what they mapped must be gone from the fabric before it is. */
void host_port_clear(HostPort *port)
{
	g_clear_pointer(&port->link, fabric_link_free);
	g_clear_pointer(&port->endpoint, fabric_endpoint_free);
	if (port->host->fabric)
		fabric_plug(port->host->fabric, BRIDGE_UID, port->port, NULL, NULL);
	g_clear_pointer(&port->vfu, vfu_client_free);
	fd_close_auto(&port->irq_fd);
	g_clear_pointer(&port->vfio_path, g_free);
	g_clear_pointer(&port->mem_path, g_free);
	g_clear_pointer(&port->last_error, g_free);
}

void process_host_free(ProcessHost *host)
{
	if (!host)
		return;
	cxl_driver_free(host->driver);
	for (unsigned i = 0; i < host->n_ports; i++)
		host_port_clear(&host->ports[i]);
	g_clear_pointer(&host->fabric, fabric_free);
	window_map_free(host->window);
	fd_close_auto(&host->wake_fd);
	g_free(host);
}

static bool bind_irqs(HostPort *port, GError **error)
{
	uint32_t n = MIN(vfu_client_n_irqs(port->vfu, VFU_IRQ_MSIX), MAX_VECTORS);
	int fds[MAX_VECTORS];
	int rc = 0;

	port->irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (uint32_t i = 0; i < n; i++)
		fds[i] = port->irq_fd;
	if (port->irq_fd >= 0 && n)
		rc = vfu_client_set_irqs(port->vfu, VFU_IRQ_MSIX, 0, fds, n);
	if (port->irq_fd >= 0 && !rc)
		return true;
	g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "port %u: cannot bind interrupts: %s",
		    port->port, g_strerror(rc ? -rc : errno));
	return false;
}

HostPort *host_port_new(ProcessHost *host, int vfu_fd, GError **error)
{
	AUTOFD int owned_fd = vfu_fd;
	HostPort *port = &host->ports[host->n_ports];

	if (host->n_ports == PROCESS_HOST_MAX_PORTS) {
		g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOSPC,
			    "a process host has %u ports, and all are taken",
			    PROCESS_HOST_MAX_PORTS);
		return NULL;
	}
	*port = (HostPort){ .host = host, .port = host->n_ports, .irq_fd = -EBADF };
	port->endpoint = fabric_endpoint_new(host->fabric, BRIDGE_UID, port->port);
	port->vfu = vfu_client_new(fd_steal(&owned_fd), REQUEST_MS, error);
	if (!port->vfu || !bind_irqs(port, error)) {
		host_port_clear(port);
		return NULL;
	}
	vfu_client_set_spin(port->vfu, SPIN_US);
	return port;
}

int host_port_plug(HostPort *port)
{
	ProcessHost *host = port->host;

	fabric_plug(host->fabric, BRIDGE_UID, port->port, &function, port);
	return (int)host->n_ports++;
}

int process_host_plug(ProcessHost *host, int vfu_fd, int mem_fd, GError **error)
{
	AUTOFD int owned_fd = mem_fd;
	HostPort *port = host_port_new(host, vfu_fd, error);

	if (!port)
		return -1;
	if (!host_port_open_link(port, fd_steal(&owned_fd), error)) {
		host_port_clear(port);
		return -1;
	}
	return host_port_plug(port);
}

/* ---- bringing it up ---- */

static bool driver_failed(ProcessHost *host, unsigned port, const char *what, GError **error)
{
	g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "port %u: %s: %s", port, what,
		    cxl_driver_error(host->driver));
	return false;
}

static bool program(ProcessHost *host, HostPort *port, uint64_t dpa, uint64_t len, GError **error)
{
	CxlRegionSpec spec = { .memdevs = &port->memdev, .n_memdevs = 1, .dpa = dpa, .len = len };
	CxlRegion *region;
	int rc = len ? -EIO : 0;

	for (unsigned i = 0; rc == -EIO && i < MAX_COMMITS; i++) {
		g_usleep(i * COMMIT_PAUSE_US);
		rc = cxl_driver_program(host->driver, &spec, &region);
	}
	return rc >= 0 || driver_failed(host, port->port, "cannot program decoders", error);
}

/* One decoder for each partition and region, in ascending order of DPA, as endpoints ask for. */
static bool program_all(ProcessHost *host, HostPort *port, GError **error)
{
	const CxlMemdevInfo *info = cxl_memdev_info(port->memdev);

	if (!program(host, port, 0, info->ram_len, error) ||
	    !program(host, port, info->ram_len, info->pmem_len, error))
		return false;
	for (unsigned i = 0; i < info->n_dc_regions; i++) {
		const CxlDcRegionInfo *region = cxl_memdev_dc_region(port->memdev, i);

		if (!program(host, port, region->dpa, region->decode_len, error))
			return false;
	}
	return true;
}

bool process_host_start(ProcessHost *host, GError **error)
{
	/*
	 * The driver sleeps for tens of microseconds between looks at a doorbell; by default the
	 * kernel may make that 50 more. This thread is the host's, see the header.
	 */
	prctl(PR_SET_TIMERSLACK, 1000ul);
	if (cxl_driver_enumerate(host->driver) < 0)
		return driver_failed(host, 0, "cannot enumerate", error);
	for (unsigned i = 0; i < cxl_driver_n_memdevs(host->driver); i++) {
		CxlMemdev *memdev = cxl_driver_memdev(host->driver, i);
		HostPort *port = find_port(host, cxl_memdev_info(memdev)->bdf);

		if (port)
			port->memdev = memdev;
	}
	for (unsigned i = 0; i < host->n_ports; i++) {
		HostPort *port = &host->ports[i];

		if (!port->memdev || *cxl_memdev_error(port->memdev)) {
			g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NODEV,
				    "port %u: no usable CXL memory device: %s", i,
				    port->memdev ? cxl_memdev_error(port->memdev) : "none found");
			return false;
		}
		if (!program_all(host, port, error))
			return false;
	}
	return true;
}

CxlDriver *process_host_peek_driver(ProcessHost *host)
{
	return host->driver;
}

CxlMemdev *process_host_memdev(ProcessHost *host, unsigned port)
{
	return port < host->n_ports ? host->ports[port].memdev : NULL;
}

void *process_host_hva(ProcessHost *host, uint64_t hpa)
{
	if (hpa < host->window_hpa || hpa - host->window_hpa >= host->config.window_len)
		return NULL;
	return (uint8_t *)window_map_base(host->window) + (hpa - host->window_hpa);
}

void process_host_access(ProcessHost *host, uint64_t hpa, void *buf, uint64_t len, bool is_write)
{
	fabric_access(host->fabric, hpa, buf, len, is_write);
}
