/* SPDX-License-Identifier: BSD-3-Clause */
/* Builds the fabric from its configuration and routes configuration and BAR accesses. */

#include "fabric/fabric_priv.h"
#include <gio/gio.h>
#include <inttypes.h>
#include <string.h>

#define DEFAULT_MAX_STRIPES 4096
#define DEFAULT_N_DECODERS  10

Bridge *fabric_find_bridge(Fabric *fabric, uint32_t uid)
{
	for (unsigned i = 0; i < fabric->n_bridges; i++) {
		if (fabric->bridges[i].config.uid == uid)
			return &fabric->bridges[i];
	}
	return NULL;
}

static Port *find_port(Fabric *fabric, uint32_t uid, unsigned port)
{
	Bridge *bridge = fabric_find_bridge(fabric, uid);

	return bridge && port < bridge->config.n_ports ? &bridge->ports[port] : NULL;
}

static bool refuse_window(const FabricWindow *window, const char *rule, GError **error)
{
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
		    "window at %#" PRIx64 ", %" PRIu64 " bytes, %u ways of %u bytes: %s",
		    window->hpa, window->len, window->ways, window->granularity, rule);
	return false;
}

/* The same rules as an operating system checks a CFMWS by. */
static bool window_init(Fabric *fabric, Window *window, const FabricWindow *config, GError **error)
{
	window->config = *config;
	window->interleave = (DecodeInterleave){ config->ways, config->granularity };
	if (cxl_iw_encode(config->ways) < 0)
		return refuse_window(config, "ways must be 1, 2, 4, 8, 16, 3, 6 or 12", error);
	if (cxl_ig_encode(config->granularity) < 0)
		return refuse_window(config, "granularity must be 256 bytes to 16 KiB", error);
	if (config->hpa % CXL_HDM_ALIGN != 0)
		return refuse_window(config, "its base is not a multiple of 256 MiB", error);
	if (config->len == 0 || config->len % (CXL_HDM_ALIGN * config->ways) != 0)
		return refuse_window(config, "its size is not a multiple of 256 MiB per way",
				     error);
	if (config->hpa + config->len < config->hpa)
		return refuse_window(config, "it goes beyond the last address", error);
	for (unsigned i = 0; i < config->ways; i++) {
		window->targets[i] = fabric_find_bridge(fabric, config->targets[i]);
		if (!window->targets[i])
			return refuse_window(config, "a target is no host bridge's UID", error);
		for (unsigned j = 0; j < i; j++) {
			if (window->targets[j] == window->targets[i])
				return refuse_window(config, "a host bridge is its target twice",
						     error);
		}
	}
	return true;
}

static int compare_windows(const void *a, const void *b)
{
	uint64_t hpa_a = ((const Window *)a)->config.hpa, hpa_b = ((const Window *)b)->config.hpa;

	return (hpa_a > hpa_b) - (hpa_a < hpa_b);
}

static bool add_windows(Fabric *fabric, const FabricConfig *config, GError **error)
{
	fabric->windows = g_new0(Window, config->n_windows);
	fabric->n_windows = config->n_windows;
	for (unsigned i = 0; i < config->n_windows; i++) {
		if (!window_init(fabric, &fabric->windows[i], &config->windows[i], error))
			return false;
	}
	if (config->n_windows > 0)
		qsort(fabric->windows, fabric->n_windows, sizeof(Window), compare_windows);
	for (unsigned i = 1; i < fabric->n_windows; i++) {
		const FabricWindow *below = &fabric->windows[i - 1].config;

		if (below->hpa + below->len > fabric->windows[i].config.hpa)
			return refuse_window(&fabric->windows[i].config,
					     "it overlaps another window", error);
	}
	return true;
}

static bool add_bridges(Fabric *fabric, const FabricConfig *config, GError **error)
{
	/* Grows one by one: the endings of those not begun are not run. */
	fabric->bridges = g_new0(Bridge, config->n_bridges);
	for (unsigned i = 0; i < config->n_bridges; i++) {
		FabricHostBridge bridge = config->bridges[i];

		for (unsigned j = 0; j < i; j++) {
			const FabricHostBridge *other = &config->bridges[j];

			if (bridge.uid == other->uid || (bridge.bus_first <= other->bus_last &&
							 other->bus_first <= bridge.bus_last)) {
				g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
					    "host bridge %u, buses %u-%u: UID or buses are those "
					    "of host bridge %u",
					    bridge.uid, bridge.bus_first, bridge.bus_last,
					    other->uid);
				return false;
			}
		}
		if (bridge.n_decoders == 0)
			bridge.n_decoders = DEFAULT_N_DECODERS;
		if (!host_bridge_init(&fabric->bridges[i], fabric, &bridge, error))
			return false;
		fabric->n_bridges = i + 1;
	}
	return true;
}

Fabric *fabric_new(const FabricConfig *config, const FabricMapper *mapper, void *opaque,
		   GError **error)
{
	Fabric *fabric = g_new0(Fabric, 1);

	fabric->max_stripes = config->max_stripes ? config->max_stripes : DEFAULT_MAX_STRIPES;
	fabric->mapper = *mapper;
	fabric->opaque = opaque;
	access_lock_init(&fabric->access);
	if (config->max_span_pieces > 0) {
		fabric->spans = spans_new(config->max_span_pieces, &fabric->mapper, opaque,
					  &fabric->n_aliases, error);
		if (!fabric->spans) {
			fabric_free(fabric);
			return NULL;
		}
	}
	if (!add_bridges(fabric, config, error) || !add_windows(fabric, config, error)) {
		fabric_free(fabric);
		return NULL;
	}
	return fabric;
}

void fabric_free(Fabric *fabric)
{
	spans_free(fabric->spans);
	for (unsigned i = 0; i < fabric->n_bridges; i++)
		host_bridge_clear(&fabric->bridges[i]);
	access_lock_clear(&fabric->access);
	g_free(fabric->bridges);
	g_free(fabric->windows);
	g_free(fabric);
}

static void add_window_stats(const Window *window, FabricStats *stats)
{
	stats->n_unmapped_reads += __atomic_load_n(&window->n_unmapped_reads, __ATOMIC_RELAXED);
	stats->n_unmapped_writes += __atomic_load_n(&window->n_unmapped_writes, __ATOMIC_RELAXED);
}

void fabric_stats(Fabric *fabric, FabricStats *ret)
{
	/* Before the aliases: if it is over, all of them count. */
	ret->is_composing = fabric->spans && spans_are_busy(fabric->spans);
	ret->n_unmapped_reads = __atomic_load_n(&fabric->n_unmapped_reads, __ATOMIC_RELAXED);
	ret->n_unmapped_writes = __atomic_load_n(&fabric->n_unmapped_writes, __ATOMIC_RELAXED);
	ret->n_aliases = __atomic_load_n(&fabric->n_aliases, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < fabric->n_windows; i++)
		add_window_stats(&fabric->windows[i], ret);
}

void fabric_bridge_stats(Fabric *fabric, uint32_t uid, FabricStats *ret)
{
	*ret = (FabricStats){ 0 };
	for (unsigned i = 0; i < fabric->n_windows; i++) {
		const Window *window = &fabric->windows[i];

		for (unsigned j = 0; j < window->config.ways; j++) {
			if (window->targets[j]->config.uid == uid)
				add_window_stats(window, ret);
		}
	}
}

bool fabric_plug(Fabric *fabric, uint32_t uid, unsigned port_number, const FabricFunction *function,
		 void *opaque)
{
	Port *port = find_port(fabric, uid, port_number);

	if (!port || (function && port->is_plugged))
		return false;
	port->is_plugged = function != NULL;
	port->function = function ? *function : (FabricFunction){ 0 };
	port->function_opaque = opaque;
	return true;
}

/* ---- Whose is a bus, device and function? ---- */

/* IS_BEHIND: what is plugged there, and not the port itself. */
typedef struct Target {
	Bridge *bridge;
	unsigned number;
	Port *port;
	bool is_behind;
} Target;

static bool find_on_bridge(Bridge *bridge, uint8_t bus, unsigned devfn, Target *ret)
{
	*ret = (Target){ .bridge = bridge };
	if (bus == bridge->config.bus_first) {
		ret->number = devfn >> 3;
		ret->port = &bridge->ports[ret->number];
		return (devfn & 7) == 0 && ret->number < bridge->config.n_ports;
	}
	for (unsigned i = 0; i < bridge->config.n_ports; i++) {
		uint8_t secondary, subordinate;

		if (!root_port_buses(&bridge->ports[i], &secondary, &subordinate) ||
		    secondary <= bridge->config.bus_first || bus < secondary || bus > subordinate)
			continue;
		ret->number = i;
		ret->port = &bridge->ports[i];
		ret->is_behind = true;
		/* No switches: one function, on the port's own bus. */
		return bus == secondary && devfn == 0 && ret->port->is_plugged;
	}
	return false;
}

static bool find_target(Fabric *fabric, uint32_t bdf, Target *ret)
{
	if (bdf > 0xffff)
		return false;
	for (unsigned i = 0; i < fabric->n_bridges; i++) {
		Bridge *bridge = &fabric->bridges[i];
		uint8_t bus = (uint8_t)(bdf >> 8);

		if (bus >= bridge->config.bus_first && bus <= bridge->config.bus_last)
			return find_on_bridge(bridge, bus, bdf & 0xff, ret);
	}
	return false;
}

bool fabric_find_function(Fabric *fabric, uint32_t bdf, uint32_t *ret_uid, unsigned *ret_port)
{
	Target target;

	if (!find_target(fabric, bdf, &target) || !target.is_behind)
		return false;
	*ret_uid = target.bridge->config.uid;
	*ret_port = target.number;
	return true;
}

/* ---- Configuration space and BARs ---- */

static void port_config_read(Port *port, uint32_t offset, void *buf, uint32_t len)
{
	g_mutex_lock(&port->lock);
	reg_block_read(&port->config, offset, buf, len);
	g_mutex_unlock(&port->lock);
}

static void port_bar_read(Port *port, uint64_t offset, void *buf, uint32_t len)
{
	g_mutex_lock(&port->lock);
	reg_block_read(&port->component, offset, buf, len);
	g_mutex_unlock(&port->lock);
}

static void port_bar_write(Port *port, uint64_t offset, const void *buf, uint32_t len)
{
	g_mutex_lock(&port->lock);
	reg_block_write(&port->component, offset, buf, len);
	g_mutex_unlock(&port->lock);
}

int fabric_config_read(Fabric *fabric, uint32_t bdf, uint32_t offset, void *buf, uint32_t len)
{
	Target target;
	int ret = 0;

	if (!find_target(fabric, bdf, &target)) {
		memset(buf, 0xff, len);
		return 0;
	}
	if (!target.is_behind) {
		port_config_read(target.port, offset, buf, len);
		return 0;
	}
	if (target.port->function.config_read)
		ret = target.port->function.config_read(target.port->function_opaque, offset, buf,
							len);
	if (ret != 0 || !target.port->function.config_read)
		memset(buf, 0xff, len);
	return ret;
}

int fabric_config_write(Fabric *fabric, uint32_t bdf, uint32_t offset, const void *buf,
			uint32_t len)
{
	Target target;

	if (!find_target(fabric, bdf, &target))
		return 0;
	if (!target.is_behind) {
		root_port_config_write(target.port, offset, buf, len);
		return 0;
	}
	if (!target.port->function.config_write)
		return 0;
	return target.port->function.config_write(target.port->function_opaque, offset, buf, len);
}

int fabric_bar_read(Fabric *fabric, uint32_t bdf, unsigned bar, uint64_t offset, void *buf,
		    uint32_t len)
{
	Target target;
	int ret = 0;

	memset(buf, 0xff, len);
	if (!find_target(fabric, bdf, &target))
		return 0;
	if (!target.is_behind) {
		if (bar == 0)
			port_bar_read(target.port, offset, buf, len);
		return 0;
	}
	if (target.port->function.bar_read)
		ret = target.port->function.bar_read(target.port->function_opaque, bar, offset, buf,
						     len);
	if (ret != 0)
		memset(buf, 0xff, len);
	return ret;
}

int fabric_bar_write(Fabric *fabric, uint32_t bdf, unsigned bar, uint64_t offset, const void *buf,
		     uint32_t len)
{
	Target target;

	if (!find_target(fabric, bdf, &target))
		return 0;
	if (!target.is_behind) {
		if (bar == 0)
			port_bar_write(target.port, offset, buf, len);
		return 0;
	}
	if (!target.port->function.bar_write)
		return 0;
	return target.port->function.bar_write(target.port->function_opaque, bar, offset, buf, len);
}

void fabric_port_config_read(Fabric *fabric, uint32_t uid, unsigned port, uint32_t offset,
			     void *buf, uint32_t len)
{
	Port *found = find_port(fabric, uid, port);

	memset(buf, 0xff, len);
	if (found)
		port_config_read(found, offset, buf, len);
}

void fabric_port_config_write(Fabric *fabric, uint32_t uid, unsigned port, uint32_t offset,
			      const void *buf, uint32_t len)
{
	Port *found = find_port(fabric, uid, port);

	if (found)
		root_port_config_write(found, offset, buf, len);
}

void fabric_port_bar_read(Fabric *fabric, uint32_t uid, unsigned port, uint64_t offset, void *buf,
			  uint32_t len)
{
	Port *found = find_port(fabric, uid, port);

	memset(buf, 0xff, len);
	if (found)
		port_bar_read(found, offset, buf, len);
}

void fabric_port_bar_write(Fabric *fabric, uint32_t uid, unsigned port, uint64_t offset,
			   const void *buf, uint32_t len)
{
	Port *found = find_port(fabric, uid, port);

	if (found)
		port_bar_write(found, offset, buf, len);
}
