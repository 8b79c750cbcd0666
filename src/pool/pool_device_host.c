/* SPDX-License-Identifier: BSD-3-Clause */
/* The host at the other end of a device: its registers, its memory link, its coming and going. */
#include "pool/pool_priv.h"

#include <linux/pci_regs.h>
#include <string.h>

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

static void vfu_irqs_changed(void *opaque)
{
	PoolDevice *device = opaque;

	/* While the daemon was away nobody raised any. */
	if (device->session.resumed)
		device_renew_irqs(device->endpoint);
}

static void attach_core(PoolDevice *device, const DcHost *host, const DcHeldMap *held,
			size_t n_held)
{
	if (device->attached)
		dc_device_detach_host(device->dc);
	device->attached = true;
	dc_device_attach_host(device->dc, host, held, n_held);
}

static void describe_host(DcHost *dc_host, const PoolHost *host)
{
	dc_host->serial = host->serial;
	dc_host->same_uid = host->uid == geteuid();
	dc_host->pid = host->pid;
	dc_host->start_time = host->start_time;
	dc_host->uid = host->uid;
}

/* Until a memory link says otherwise a host has none, like a stock VMM. */
static void attach_control_only(PoolDevice *device, const PoolHost *host)
{
	DcHost dc_host = { .control_only = true, .max_maps = UINT32_MAX };

	describe_host(&dc_host, host);
	attach_core(device, &dc_host, NULL, 0);
}

/* It drives the registers as they were; its memory link may be there already, or come. */
static void resume_registers(PoolDevice *device, const PoolHost *host)
{
	pool_session_awaited_is_back(device);
	device->host = host->serial;
	if (!device->had_link)
		attach_control_only(device, host);
	pool_session_save(device);
}

static void begin_session(PoolDevice *device, const PoolHost *host)
{
	device->host = host->serial;
	device->had_link = false;
	device->missed_reads = device->missed_writes = 0;
	device->session.resumed = false;
	pool_device_drop_waiting(device);
	device_reset(device->endpoint, DEVICE_RESET_NEW_SESSION);
	attach_control_only(device, host);
}

/* A memory link is then let in only for the same process. */
static bool is_trusted(const Pool *pool, const VfuPeer *peer)
{
	return !pool->config.own_uid_only || peer->uid == 0 || peer->uid == geteuid();
}

static bool vfu_connected(void *opaque, const VfuPeer *peer)
{
	PoolDevice *device = opaque;
	PoolHost *host = is_trusted(device->pool, peer) ? pool_host_get(device->pool, peer) : NULL;

	if (!host)
		return false;
	if (device->session.awaited == host->serial)
		resume_registers(device, host);
	else if (device->session.awaited == 0)
		begin_session(device, host);
	else
		return false;
	pool_tell_host(device, true);
	return true;
}

static void vfu_disconnected(void *opaque)
{
	PoolDevice *device = opaque;

	pool_tell_host(device, false);
	device->host = 0;
	if (device->link)
		mem_link_server_disconnect(device->link);
	if (device->attached)
		dc_device_detach_host(device->dc);
	device->attached = false;
	device->session.resumed = false;
	pool_session_clear(device);
}

const VfuServerOps pool_vfu_ops = {
	.region_info = vfu_region_info,
	.region_read = vfu_region_read,
	.region_write = vfu_region_write,
	.n_irqs = vfu_n_irqs,
	.reset = vfu_reset,
	.irqs_changed = vfu_irqs_changed,
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
	pool_device_ask_decoder(resend->device, 0, decoder);
}

/* A host that comes back may have missed commits, and decoders that were taken back. */
static void resend_decoders(PoolDevice *device)
{
	DecoderResend resend = { .device = device };

	device_foreach_decoder(device->endpoint, resend_committed, &resend);
	for (unsigned i = 0; i < DEVICE_N_DECODERS; i++) {
		HdmDecoder decoder = { .index = i };

		if (!(resend.committed & UINT32_C(1) << i))
			pool_device_ask_decoder(device, 0, &decoder);
	}
}

static DcHeldMap *copy_held(const MemLinkHello *hello)
{
	DcHeldMap *held = g_new(DcHeldMap, hello->n_held);

	for (uint32_t i = 0; i < hello->n_held; i++) {
		held[i] = (DcHeldMap){
			.map_id = le64_get(hello->held[i].map_id),
			.dpa = le64_get(hello->held[i].dpa),
			.len = le64_get(hello->held[i].len),
			.incarnation = le64_get(hello->held[i].incarnation),
		};
	}
	return held;
}

static bool is_same_session(const PoolSession *session, const MemLinkHello *hello)
{
	return session->has_name &&
	       memcmp(session->name, hello->session, sizeof(session->name)) == 0;
}

/*
 * Only the process that drives the registers may hold the memory. Others are not even kept in
 * mind: each would cost a descriptor for as long as it lives. After a restart the link may come
 * before the registers, but only for a session that is known.
 */
static bool is_welcome(const PoolDevice *device, const PoolHost *host, const MemLinkHello *hello)
{
	if (!host)
		return false;
	if (device->host == host->serial)
		return true;
	return device->session.awaited == host->serial && is_same_session(&device->session, hello);
}

static bool link_hello(void *opaque, const MemLinkHello *hello, const MemLinkPeer *peer)
{
	PoolDevice *device = opaque;
	PoolSession *session = &device->session;
	PoolHost *host = pool_host_find(device->pool, peer);
	g_autofree DcHeldMap *held = NULL;
	DcHost dc_host = { .max_maps = hello->max_maps };

	if (!is_welcome(device, host, hello))
		return false;
	held = copy_held(hello);
	describe_host(&dc_host, host);
	dc_host.new_session = !is_same_session(session, hello);
	/* The same process, but not the session whose registers it was given. */
	if (dc_host.new_session && session->resumed)
		device_reset(device->endpoint, DEVICE_RESET_CONVENTIONAL);
	if (dc_host.new_session)
		session->resumed = false;
	memcpy(session->name, hello->session, sizeof(session->name));
	session->has_name = true;
	device->had_link = true;
	pool_session_save(device);
	resend_decoders(device);
	attach_core(device, &dc_host, held, hello->n_held);
	if (device->host != 0)
		pool_tell_host(device, true);
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

static void link_misses(void *opaque, uint64_t reads, uint64_t writes)
{
	PoolDevice *device = opaque;

	device->missed_reads = reads;
	device->missed_writes = writes;
}

static void link_closed(void *opaque)
{
	PoolDevice *device = opaque;

	pool_device_drop_waiting(device);
	/* The process may still hold its mappings; its registers still work. */
	if (device->attached)
		dc_device_detach_host(device->dc);
	device->attached = false;
}

const MemLinkServerOps pool_link_ops = {
	.hello = link_hello,
	.done = link_done,
	.closed = link_closed,
	.misses = link_misses,
};
