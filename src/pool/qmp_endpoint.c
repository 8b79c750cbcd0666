/* SPDX-License-Identifier: BSD-3-Clause */
/* Of query-devices what the device's registers say: decoders, event logs, mailbox, link. */
#include "pool/pool_daemon_priv.h"
#include "pool/pool_trace.h"
#include "trace/trace_decode.h"

typedef struct InfoCall {
	PoolDevice *device;
	PoolDeviceInfo info;
} InfoCall;

static void run_info(Pool *pool, void *opaque)
{
	InfoCall *call = opaque;

	pool_device_get_info(call->device, &call->info);
}

static void add_decoder(QmpText *text, const HdmDecoder *decoder)
{
	qmp_text_begin(text, NULL, '{');
	qmp_text_u64(text, "index", decoder->index);
	qmp_text_u64(text, "hpa", decoder->hpa);
	qmp_text_u64(text, "len", decoder->len);
	qmp_text_u64(text, "dpa", decoder->dpa);
	qmp_text_u64(text, "ways", decoder->ways);
	qmp_text_u64(text, "granularity", decoder->granularity);
	qmp_text_end(text, '}');
}

static void add_log(QmpText *text, unsigned log, const DeviceLogInfo *info)
{
	qmp_text_begin(text, NULL, '{');
	qmp_text_string(text, "log", trace_log_name((uint8_t)log));
	qmp_text_u64(text, "records", info->n_records);
	qmp_text_u64(text, "depth", info->depth);
	qmp_text_u64(text, "lost", info->n_lost);
	qmp_text_bool(text, "interrupts", info->raises_irq);
	qmp_text_end(text, '}');
}

void qmp_text_endpoint(PoolDaemon *daemon, QmpText *text, PoolDevice *device)
{
	InfoCall call = { .device = device };
	const DeviceInfo *endpoint = &call.info.endpoint;

	pool_call(daemon->pool, run_info, &call);
	qmp_text_string(text, "link", pool_link_state_name(call.info.link));
	qmp_text_bool(text, "resumed", call.info.resumed);
	qmp_text_u64(text, "messages", call.info.n_messages);
	qmp_text_u64(text, "commands", endpoint->n_commands);
	qmp_text_u64(text, "commands-failed", endpoint->n_failed);
	qmp_text_begin(text, "decoders", '[');
	for (unsigned i = 0; i < endpoint->n_decoders; i++)
		add_decoder(text, &endpoint->decoders[i]);
	qmp_text_end(text, ']');
	qmp_text_begin(text, "logs", '[');
	for (unsigned log = 0; log < CXL_N_LOGS; log++)
		add_log(text, log, &endpoint->logs[log]);
	qmp_text_end(text, ']');
}
