/* SPDX-License-Identifier: BSD-3-Clause */
/* One device of the pool: joins capacity core, endpoint, vfio-user server and memory link. */
#include "pool/pool_priv.h"
#include "util/autofd.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

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

static const DcDeviceOps dc_ops = {
	.prepare = map_prepare,
	.expose = map_expose,
	.revoke = map_revoke,
	.drop = map_drop,
	.log_reserve = log_reserve,
	.log_unreserve = log_unreserve,
	.log_post = log_post,
	.log_withdraw = log_withdraw,
};

/* ---- the endpoint's effects ---- */

static void endpoint_irq(void *opaque, unsigned vector)
{
	PoolDevice *device = opaque;

	/* Closing its connection ends commands, and each of these may raise one. */
	if (device->vfu)
		vfu_server_irq(device->vfu, VFU_IRQ_MSIX, vector);
}

static void endpoint_decoder(void *opaque, uint64_t req, const HdmDecoder *decoder)
{
	PoolDevice *device = opaque;
	MemLinkDecoderState state = {
		.index = decoder->index,
		.committed = decoder->committed,
		.hpa = decoder->hpa,
		.len = decoder->len,
		.dpa = decoder->dpa,
		.granularity = decoder->granularity,
		.ways = decoder->ways,
	};

	if (has_link(device))
		mem_link_server_decoder(device->link, LINK_REQ_DECODER(req), &state);
	else
		/* Control-only: nobody maps anything. A link that was there and is lost can
		 * commit nothing; taking back is right in any case, its maps stay listed. */
		device_decoder_done(device->endpoint, req,
				    !device->had_link || !decoder->committed);
}

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

static const DeviceOps endpoint_ops = {
	.irq = endpoint_irq,
	.decoder = endpoint_decoder,
	.now_us = now_us,
	.deadline_changed = deadline_changed,
};

/* ---- vfio-user ---- */

static void vfu_region_info(void *opaque, unsigned index, VfuRegion *ret)
{
	PoolDevice *device = opaque;

	*ret = (VfuRegion){ .fd = -1 };
	if (index == VFU_REGION_CONFIG) {
		ret->len = DEVICE_CONFIG_LEN;
		ret->writable = true;
	} else if (index <= PCI_STD_NUM_BARS - 1) {
		ret->len = device_bar_len(device->endpoint, index);
		ret->writable = true;
	}
	if (index == DEVICE_BAR_REGS && device_peek_payload_fd(device->endpoint) >= 0) {
		uint64_t offset = device_payload_offset(device->endpoint);

		ret->fd = device_peek_payload_fd(device->endpoint);
		ret->n_sparse = 1;
		ret->sparse[0].offset = offset;
		ret->sparse[0].len = device_payload_len(device->endpoint);
	}
}

static int vfu_region_read(void *opaque, unsigned index, uint64_t offset, void *buf, uint32_t count)
{
	PoolDevice *device = opaque;

	if (index == VFU_REGION_CONFIG)
		return device_config_read(device->endpoint, (uint32_t)offset, buf, count);
	return device_bar_read(device->endpoint, index, offset, buf, count);
}

static int vfu_region_write(void *opaque, unsigned index, uint64_t offset, const void *buf,
			    uint32_t count)
{
	PoolDevice *device = opaque;

	if (index == VFU_REGION_CONFIG)
		return device_config_write(device->endpoint, (uint32_t)offset, buf, count);
	return device_bar_write(device->endpoint, index, offset, buf, count);
}

static uint32_t vfu_n_irqs(void *opaque, unsigned index)
{
	return index == VFU_IRQ_MSIX ? DEVICE_N_VECTORS : 0;
}

static void vfu_reset(void *opaque)
{
	PoolDevice *device = opaque;

	device_reset(device->endpoint, DEVICE_RESET_CONVENTIONAL);
}

static void attach_core(PoolDevice *device, const DcHost *host, const DcHeldMap *held,
			size_t n_held)
{
	if (device->attached)
		dc_device_detach_host(device->dc);
	device->attached = true;
	dc_device_attach_host(device->dc, host, held, n_held);
}

static bool vfu_connected(void *opaque, const VfuPeer *peer)
{
	PoolDevice *device = opaque;
	PoolHost *host = pool_host_get(device->pool, peer->pid, peer->uid);
	/* Until a memory link says otherwise this host has none, like a stock VMM. */
	DcHost dc_host = { .control_only = true, .max_maps = UINT32_MAX };

	if (!host)
		return false;
	dc_host.serial = host->serial;
	dc_host.same_uid = host->uid == geteuid();
	device->host = host->serial;
	device->had_link = false;
	device_reset(device->endpoint, DEVICE_RESET_NEW_SESSION);
	attach_core(device, &dc_host, NULL, 0);
	return true;
}

static void vfu_disconnected(void *opaque)
{
	PoolDevice *device = opaque;

	device->host = 0;
	if (device->link)
		mem_link_server_disconnect(device->link);
	if (device->attached)
		dc_device_detach_host(device->dc);
	device->attached = false;
}

static const VfuServerOps vfu_ops = {
	.region_info = vfu_region_info,
	.region_read = vfu_region_read,
	.region_write = vfu_region_write,
	.n_irqs = vfu_n_irqs,
	.reset = vfu_reset,
	.connected = vfu_connected,
	.disconnected = vfu_disconnected,
};

/* ---- memory link ---- */

typedef struct DecoderResend {
	PoolDevice *device;
	uint32_t committed; /* bit n: decoder n was told */
} DecoderResend;
G_STATIC_ASSERT(DEVICE_N_DECODERS <= 32);

/* Request 0 is nobody's: the registers say already what is told here. */
static void resend_committed(const HdmDecoder *decoder, void *opaque)
{
	DecoderResend *resend = opaque;

	resend->committed |= UINT32_C(1) << decoder->index;
	endpoint_decoder(resend->device, 0, decoder);
}

/* A host that comes back may have missed commits, and decoders that were taken back. */
static void resend_decoders(PoolDevice *device)
{
	DecoderResend resend = { .device = device };

	device_foreach_decoder(device->endpoint, resend_committed, &resend);
	for (unsigned i = 0; i < DEVICE_N_DECODERS; i++) {
		HdmDecoder decoder = { .index = i };

		if (!(resend.committed & UINT32_C(1) << i))
			endpoint_decoder(device, 0, &decoder);
	}
}

static bool link_hello(void *opaque, const MemLinkHello *hello, const MemLinkPeer *peer)
{
	PoolDevice *device = opaque;
	PoolHost *host = pool_host_find(device->pool, peer->pid);
	g_autofree DcHeldMap *held = NULL;
	DcHost dc_host = { .max_maps = hello->max_maps };

	/* Only the process that drives the registers may hold the memory. Others are not even kept
	 * in mind: each would cost a descriptor for as long as it lives. */
	if (!host || host->serial != device->host)
		return false;
	held = g_new(DcHeldMap, hello->n_held);
	for (uint32_t i = 0; i < hello->n_held; i++) {
		held[i] = (DcHeldMap){
			.map_id = le64_get(hello->held[i].map_id),
			.dpa = le64_get(hello->held[i].dpa),
			.len = le64_get(hello->held[i].len),
			.incarnation = le64_get(hello->held[i].incarnation),
		};
	}
	dc_host.serial = host->serial;
	dc_host.same_uid = host->uid == geteuid();
	dc_host.new_session = !device->has_session ||
			      memcmp(device->session, hello->session, sizeof(device->session)) != 0;
	memcpy(device->session, hello->session, sizeof(device->session));
	device->has_session = true;
	device->had_link = true;
	resend_decoders(device);
	attach_core(device, &dc_host, held, hello->n_held);
	return true;
}

static void link_done(void *opaque, uint64_t req, bool ok)
{
	PoolDevice *device = opaque;

	if (req & 1)
		device_decoder_done(device->endpoint, req >> 1, ok);
	else if (device->dc)
		dc_device_effect_done(device->dc, req >> 1, ok);
}

static void link_closed(void *opaque)
{
	PoolDevice *device = opaque;

	/* The process may still hold its mappings; its registers still work. */
	if (device->attached)
		dc_device_detach_host(device->dc);
	device->attached = false;
}

static const MemLinkServerOps link_ops = {
	.hello = link_hello,
	.done = link_done,
	.closed = link_closed,
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

	if (config->ram_len)
		device->ram = backend_new(&ram, error);
	if (config->ram_len && !device->ram)
		return false;
	if (config->pmem_len)
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
	};
	PoolDevice *device = g_new0(PoolDevice, 1);

	device->pool = pool;
	device->name = g_strdup(config->name);
	device->dc = capacity_add_device(pool->capacity, &dc, &dc_ops, device, error);
	if (device->dc)
		return device;
	pool_device_free(device);
	return NULL;
}

bool pool_device_open(PoolDevice *device, const PoolDeviceConfig *config, GError **error)
{
	return open_static(device, config, error) && open_lsa(device, config, error);
}

bool pool_device_start(PoolDevice *device, const PoolDeviceConfig *config, GError **error)
{
	if (!add_static(device, config, error) || !add_endpoint(device, config, error))
		return false;
	device->vfu = vfu_server_new(device->pool->context, &vfu_ops, device);
	device->link = mem_link_server_new(device->pool->context, &link_ops, device);
	return true;
}

bool pool_device_remove(PoolDevice *device, GError **error)
{
	if (!capacity_remove_device(device->pool->capacity, device->dc, error))
		return false;
	/* Its connections end after it: what they would tell it nobody wants to know. */
	device->dc = NULL;
	device->attached = false;
	pool_device_close(device);
	return true;
}

void pool_device_close(PoolDevice *device)
{
	g_clear_pointer(&device->vfu, vfu_server_free);
	g_clear_pointer(&device->link, mem_link_server_free);
	g_clear_pointer(&device->endpoint, device_free);
}

void pool_device_free(PoolDevice *device)
{
	pool_device_close(device);
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
