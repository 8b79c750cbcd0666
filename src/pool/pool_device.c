/* SPDX-License-Identifier: BSD-3-Clause */
/* One device of the pool: joins capacity core, endpoint, vfio-user server and memory link. */
#include "capacity/restore.h"
#include "pool/pool_priv.h"
#include "util/autofd.h"

/*
 * Design. Requests to the host side come from two places, the core (prepare, expose, revoke, drop)
 * and the endpoint (decoder), and share one link. Both number theirs; on the link the lowest bit of
 * the number says whose it is.
 */
#define LINK_REQ_CORE(req)    ((req) << 1)
#define LINK_REQ_DECODER(req) ((req) << 1 | 1)

static bool has_link(const PoolDevice *device)
{
	return device->link && mem_link_server_is_connected(device->link);
}

/* ---- the core's effects ---- */

/* One descriptor per file, however many of its parts are mapped at once. */
static int open_map_file(GHashTable *fds, const DcMap *map)
{
	gpointer known;
	int fd;

	if (g_hash_table_lookup_extended(fds, map->file, NULL, &known))
		return GPOINTER_TO_INT(known);
	fd = mem_file_open_for_host(map->file, map->writable, NULL);
	if (fd >= 0)
		g_hash_table_insert(fds, map->file, GINT_TO_POINTER(fd));
	return fd;
}

static void close_fd_value(gpointer value)
{
	close(GPOINTER_TO_INT(value));
}

static void map_prepare(void *opaque, uint64_t req, const DcMap *maps, size_t n)
{
	PoolDevice *device = opaque;
	g_autoptr(GHashTable) fds = NULL;
	g_autofree MemLinkMap *out = NULL;

	if (!has_link(device)) {
		dc_device_effect_done(device->dc, req, false);
		return;
	}
	fds = g_hash_table_new_full(NULL, NULL, NULL, close_fd_value);
	out = g_new(MemLinkMap, n);
	for (size_t i = 0; i < n; i++) {
		const DcMap *map = &maps[i];
		int fd = open_map_file(fds, map);

		if (fd < 0) {
			dc_device_effect_done(device->dc, req, false);
			return;
		}
		out[i] = (MemLinkMap){
			.id = map->id,
			.dpa = map->dpa,
			.len = map->len,
			.offset = map->offset,
			.incarnation = map->incarnation,
			.fd = fd,
			.writable = map->writable,
		};
	}
	mem_link_server_prepare(device->link, LINK_REQ_CORE(req), out, n);
}

static void map_expose(void *opaque, uint64_t req, const uint64_t *ids, size_t n)
{
	PoolDevice *device = opaque;

	if (has_link(device))
		mem_link_server_expose(device->link, LINK_REQ_CORE(req), ids, n);
	else
		dc_device_effect_done(device->dc, req, false);
}

static void map_revoke(void *opaque, uint64_t req, const DcMapPart *parts, size_t n)
{
	PoolDevice *device = opaque;
	g_autofree MemLinkPart *out = NULL;

	/* Without a link it stays open: only the process's end can confirm it now. */
	if (!has_link(device))
		return;
	out = g_new(MemLinkPart, n);
	for (size_t i = 0; i < n; i++)
		out[i] = (MemLinkPart){ parts[i].map_id, parts[i].dpa, parts[i].len };
	mem_link_server_revoke(device->link, LINK_REQ_CORE(req), out, n);
}

static void map_drop(void *opaque, uint64_t req, const uint64_t *ids, size_t n)
{
	PoolDevice *device = opaque;

	if (has_link(device))
		mem_link_server_drop(device->link, LINK_REQ_CORE(req), ids, n);
}

/* The core may speak of its log while the endpoint around it is still being made or is gone. */
static bool log_reserve(void *opaque, uint32_t n)
{
	PoolDevice *device = opaque;

	return device->endpoint && device_dc_log_reserve(device->endpoint, n);
}

static void log_unreserve(void *opaque, uint32_t n)
{
	PoolDevice *device = opaque;

	if (device->endpoint)
		device_dc_log_unreserve(device->endpoint, n);
}

static void log_post(void *opaque, const DcEvent *event)
{
	PoolDevice *device = opaque;

	if (device->endpoint)
		device_dc_log_post(device->endpoint, event);
}

static void log_withdraw(void *opaque, uint64_t cookie)
{
	PoolDevice *device = opaque;

	if (device->endpoint)
		device_dc_log_withdraw(device->endpoint, cookie);
}

/* ---- the endpoint's effects ---- */

static void endpoint_irq(void *opaque, unsigned vector)
{
	PoolDevice *device = opaque;

	/* Closing its connection ends commands, and each of these may raise one. */
	if (device->vfu)
		vfu_server_irq(device->vfu, VFU_IRQ_MSIX, vector);
}

/*
 * Linux: what it asks next is whether the decoder is committed, and it does not ask for long. So
 * the answer is held until there is one.
 */
static void hold_registers(PoolDevice *device)
{
	if (device->endpoint && device->vfu)
		vfu_server_hold(device->vfu, device_is_deciding(device->endpoint));
}

static void tell_decoder(PoolDevice *device, uint64_t req, const HdmDecoder *decoder)
{
	MemLinkDecoderState state = {
		.index = decoder->index,
		.committed = decoder->committed,
		.hpa = decoder->hpa,
		.len = decoder->len,
		.dpa = decoder->dpa,
		.granularity = decoder->granularity,
		.ways = decoder->ways,
	};

	if (has_link(device)) {
		mem_link_server_decoder(device->link, LINK_REQ_DECODER(req), &state);
		hold_registers(device);
	} else {
		/* Control-only: nobody maps anything. A link that was there and is lost can
		 * commit nothing; taking back is right in any case, its maps stay listed. */
		device_decoder_done(device->endpoint, req,
				    !device->had_link || !decoder->committed);
	}
}

/* COMMITTED means that memory can be used. */
static bool lacks_memory(const PoolDevice *device, const HdmDecoder *decoder)
{
	return decoder->committed && has_link(device) && device->dc &&
	       dc_device_owes_static(device->dc, decoder->dpa, decoder->len / decoder->ways);
}

/* A host that commits as soon as it is there may be faster than static memory, which is recorded
 * before it is mapped. If that takes longer than an answer may, the commit ends with an error. */
void pool_device_ask_decoder(void *opaque, uint64_t req, const HdmDecoder *decoder)
{
	PoolDevice *device = opaque;

	if (req == 0 || !lacks_memory(device, decoder)) {
		tell_decoder(device, req, decoder);
		return;
	}
	device->waiting_req = req;
	device->waiting = *decoder;
	hold_registers(device);
}

static void static_mapped(void *opaque)
{
	PoolDevice *device = opaque;
	uint64_t req = device->waiting_req;

	if (req == 0 || lacks_memory(device, &device->waiting))
		return;
	device->waiting_req = 0;
	tell_decoder(device, req, &device->waiting);
}

void pool_device_drop_waiting(PoolDevice *device)
{
	uint64_t req = device->waiting_req;

	device->waiting_req = 0;
	if (req != 0)
		device_decoder_done(device->endpoint, req, false);
}

static const DcDeviceOps dc_ops = {
	.prepare = map_prepare,
	.expose = map_expose,
	.revoke = map_revoke,
	.drop = map_drop,
	.log_reserve = log_reserve,
	.log_unreserve = log_unreserve,
	.log_post = log_post,
	.log_withdraw = log_withdraw,
	.static_mapped = static_mapped,
};

static uint64_t now_us(void *opaque)
{
	return (uint64_t)g_get_monotonic_time();
}

static void deadline_changed(void *opaque)
{
	PoolDevice *device = opaque;

	if (device->endpoint)
		pool_update_timer(device->pool);
}

static void endpoint_state_changed(void *opaque)
{
	PoolDevice *device = opaque;

	/* While it is being made there is nobody to see anything. */
	if (!device->endpoint)
		return;
	pool_session_save(device);
	hold_registers(device);
}

static const DeviceOps endpoint_ops = {
	.irq = endpoint_irq,
	.decoder = pool_device_ask_decoder,
	.now_us = now_us,
	.deadline_changed = deadline_changed,
	.trace = pool_device_trace,
	.state_changed = endpoint_state_changed,
};

/* ---- life ---- */

static bool open_static(PoolDevice *device, const PoolDeviceConfig *config, GError **error)
{
	g_autofree char *ram_name = g_strdup_printf("%s.ram", config->name);
	g_autofree char *pmem_name = g_strdup_printf("%s.pmem", config->name);
	BackendConfig ram = {
		.name = ram_name,
		.type = BACKEND_MEMFD,
		.size = config->ram_len,
	};
	BackendConfig pmem = {
		.name = pmem_name,
		.type = BACKEND_FILE,
		.size = config->pmem_len,
		.path = config->pmem_path,
	};

	/* A restored device has them already, unless their contents are lost. */
	if (config->ram_len && !device->ram)
		device->ram = backend_new(&ram, error);
	if (config->ram_len && !device->ram)
		return false;
	if (config->pmem_len && !device->pmem)
		device->pmem = backend_new(&pmem, error);
	return !config->pmem_len || device->pmem;
}

static bool open_lsa(PoolDevice *device, const PoolDeviceConfig *config, GError **error)
{
	MemFileConfig lsa = {
		.name = "lsa",
		.type = config->lsa_path ? BACKEND_FILE : BACKEND_MEMFD,
		.len = config->lsa_len,
		.path = config->lsa_path,
	};

	if (config->lsa_len)
		device->lsa = mem_file_new(&lsa, error);
	return !config->lsa_len || device->lsa;
}

static bool add_static(PoolDevice *device, const PoolDeviceConfig *config, GError **error)
{
	return (!device->ram || dc_device_add_static(device->dc, 0, device->ram, true, error)) &&
	       (!device->pmem ||
		dc_device_add_static(device->dc, config->ram_len, device->pmem, false, error));
}

static bool add_endpoint(PoolDevice *device, const PoolDeviceConfig *config, GError **error)
{
	DeviceConfig endpoint = {
		.name = device->name,
		.serial = config->serial,
		.ram_len = config->ram_len,
		.pmem_len = config->pmem_len,
		.lsa = device->lsa,
		.log_depth[CXL_LOG_DC] = config->dc_log_depth,
		.read_latency_ns = config->read_latency_ns,
		.write_latency_ns = config->write_latency_ns,
		.bandwidth_mbps = config->bandwidth_mbps,
	};

	device->endpoint = device_new(&endpoint, device->dc, &endpoint_ops, device, error);
	return device->endpoint;
}

PoolDevice *pool_device_new(Pool *pool, const PoolDeviceConfig *config, GError **error)
{
	DcDeviceConfig dc = {
		.name = config->name,
		.static_len = config->ram_len + config->pmem_len,
		.regions = config->regions,
		.n_regions = config->n_regions,
		.max_extents = config->max_extents,
		.max_chain = config->max_chain,
		.hold_off = config->hold_off,
		.pool_config = config->settings,
	};
	PoolDevice *device = g_new0(PoolDevice, 1);

	device->pool = pool;
	device->name = g_strdup(config->name);
	if (config->row && config->ram_len)
		device->ram = capacity_restore_take_static(pool->capacity, config->row, 0);
	if (config->row && config->pmem_len)
		device->pmem = capacity_restore_take_static(pool->capacity, config->row,
							    config->ram_len);
	device->dc = capacity_add_device(pool->capacity, &dc, &dc_ops, device, error);
	if (device->dc)
		return device;
	pool_device_free(device);
	return NULL;
}

bool pool_device_open(PoolDevice *device, const PoolDeviceConfig *config, GError **error)
{
	return open_static(device, config, error) && open_lsa(device, config, error) &&
	       pool_session_open(device, config->session_path, error);
}

bool pool_device_start(PoolDevice *device, const PoolDeviceConfig *config, GError **error)
{
	if (!add_static(device, config, error) || !add_endpoint(device, config, error))
		return false;
	/* What stands in the file of a device that is new was another one's. */
	if (!config->row)
		pool_session_clear(device);
	device->vfu = vfu_server_new(device->pool->context, &pool_vfu_ops, device);
	device->link = mem_link_server_new(device->pool->context, &pool_link_ops, device);
	return true;
}

bool pool_device_remove(PoolDevice *device, GError **error)
{
	if (!capacity_remove_device(device->pool->capacity, device->dc, error))
		return false;
	/* Its connections end after it: what they would tell it nobody wants to know. */
	device->dc = NULL;
	device->attached = false;
	pool_session_remove(device);
	pool_device_close(device);
	return true;
}

void pool_device_close(PoolDevice *device)
{
	/* First: the session does not end with us. */
	pool_session_close(device);
	g_clear_pointer(&device->vfu, vfu_server_free);
	g_clear_pointer(&device->link, mem_link_server_free);
	g_clear_pointer(&device->endpoint, device_free);
}

void pool_device_free(PoolDevice *device)
{
	pool_device_close(device);
	g_clear_pointer(&device->trace, trace_ring_unref);
	g_clear_pointer(&device->ram, backend_free);
	g_clear_pointer(&device->pmem, backend_free);
	g_clear_pointer(&device->lsa, mem_file_unref);
	g_free(device->name);
	g_free(device);
}

DcDevice *pool_device_peek_dc(PoolDevice *device)
{
	return device->dc;
}

Device *pool_device_peek_endpoint(PoolDevice *device)
{
	return device->endpoint;
}
