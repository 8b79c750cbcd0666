/* SPDX-License-Identifier: BSD-3-Clause */
/* A device's trace and what it says of itself for queries. */
#include "pool/pool_trace.h"

#include "pool/pool_priv.h"

void pool_device_set_trace(PoolDevice *device, TraceRing *ring)
{
	TraceRing *old = device->trace;

	device->trace = ring ? trace_ring_ref(ring) : NULL;
	trace_ring_unref(old);
	if (device->endpoint)
		device_set_tracing(device->endpoint, ring);
}

static const TraceKind kinds[] = {
	[DEVICE_TRACE_COMMAND] = TRACE_COMMAND, [DEVICE_TRACE_POSTED] = TRACE_POSTED,
	[DEVICE_TRACE_READ] = TRACE_READ,       [DEVICE_TRACE_CLEARED] = TRACE_CLEARED,
	[DEVICE_TRACE_LOST] = TRACE_LOST,       [DEVICE_TRACE_WITHDRAWN] = TRACE_WITHDRAWN,
};

void pool_device_trace(void *opaque, const DeviceTrace *trace)
{
	PoolDevice *device = opaque;
	TraceEntry entry = {
		.kind = kinds[trace->kind],
		.time_us = (uint64_t)g_get_real_time(),
		.opcode = trace->opcode,
		.rc = (uint16_t)trace->rc,
		.took_us = trace->took_us,
		.in = trace->in,
		.out = trace->out,
		.in_len = trace->in_len,
		.out_len = trace->out_len,
		.log = trace->log,
	};

	if (!device->trace)
		return;
	if (trace->record)
		entry.record = *trace->record;
	trace_ring_put(device->trace, &entry);
}

/* ---- queries ---- */

const char *pool_link_state_name(PoolLinkState state)
{
	static const char *const names[] = {
		[POOL_LINK_NONE] = "none", [POOL_LINK_AWAITED] = "awaited",
		[POOL_LINK_UP] = "up",     [POOL_LINK_CONTROL_ONLY] = "control-only",
		[POOL_LINK_LOST] = "lost",
	};

	return names[state];
}

static PoolLinkState link_state(const PoolDevice *device)
{
	if (device->session.awaited)
		return POOL_LINK_AWAITED;
	if (device->host == 0)
		return POOL_LINK_NONE;
	if (!device->had_link)
		return POOL_LINK_CONTROL_ONLY;
	return mem_link_server_is_connected(device->link) ? POOL_LINK_UP : POOL_LINK_LOST;
}

void pool_device_get_info(PoolDevice *device, PoolDeviceInfo *ret)
{
	ret->link = link_state(device);
	ret->resumed = device->session.resumed;
	ret->n_messages = vfu_server_n_messages(device->vfu);
	device_get_info(device->endpoint, &ret->endpoint);
}
