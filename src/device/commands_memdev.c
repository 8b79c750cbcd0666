/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory device commands: identify, partitions, label storage, health (CXL 3.1 8.2.9.9.1-3). */
#include "device/command.h"
#include "device/ids.h"

#include <string.h>

/* ---- 4000h, 4100h: the split between ram and pmem is fixed, dynamic capacity not counted ---- */

static int identify_memdev(Cci *cci, MailboxCall *call)
{
	uint64_t volatile_units = cci->ram_len / CXL_CAPACITY_UNIT;
	uint64_t persistent_units = cci->pmem_len / CXL_CAPACITY_UNIT;
	uint16_t depth[CXL_N_LOGS];
	CxlIdentifyMemdevOut out = { .poison_caps = 0 };

	for (unsigned log = 0; log < CXL_N_LOGS; log++)
		depth[log] = (uint16_t)event_log_depth(cci->logs[log]);
	memcpy(out.fw_revision, DEVICE_FW_REVISION,
	       MIN(sizeof(DEVICE_FW_REVISION), sizeof(out.fw_revision)));
	out.total_capacity = le64_put(volatile_units + persistent_units);
	out.volatile_capacity = le64_put(volatile_units);
	out.persistent_capacity = le64_put(persistent_units);
	out.info_event_log_size = le16_put(depth[CXL_LOG_INFO]);
	out.warning_event_log_size = le16_put(depth[CXL_LOG_WARNING]);
	out.failure_event_log_size = le16_put(depth[CXL_LOG_FAILURE]);
	out.fatal_event_log_size = le16_put(depth[CXL_LOG_FATAL]);
	out.dc_event_log_size = le16_put(depth[CXL_LOG_DC]);
	out.lsa_len = le32_put(cci->lsa ? (uint32_t)mem_file_len(cci->lsa) : 0);
	call_reply(call, &out, sizeof(out));
	return CXL_RC_SUCCESS;
}

static int get_partition_info(Cci *cci, MailboxCall *call)
{
	CxlPartitionInfoOut out = {
		.active_volatile = le64_put(cci->ram_len / CXL_CAPACITY_UNIT),
		.active_persistent = le64_put(cci->pmem_len / CXL_CAPACITY_UNIT),
	};

	call_reply(call, &out, sizeof(out));
	return CXL_RC_SUCCESS;
}

/* ---- 4102h, 4103h: label storage area ---- */

static int get_lsa(Cci *cci, MailboxCall *call)
{
	const CxlGetLsaIn *in = (const CxlGetLsaIn *)call->in;
	uint64_t offset = le32_get(in->offset);
	uint64_t len = le32_get(in->len);

	if (offset + len > mem_file_len(cci->lsa))
		return CXL_RC_INVALID_INPUT;
	if (len > call->out_max)
		return CXL_RC_INVALID_PAYLOAD_LENGTH;
	if (mem_file_read(cci->lsa, offset, call->out, len) != 0)
		return CXL_RC_INTERNAL_ERROR;
	call->out_len = (uint32_t)len;
	return CXL_RC_SUCCESS;
}

/* A write that fails half way is taken back: the output buffer keeps what was there before. */
static int set_lsa(Cci *cci, MailboxCall *call)
{
	const CxlSetLsaIn *in = (const CxlSetLsaIn *)call->in;
	const uint8_t *data = call->in + sizeof(*in);
	uint64_t offset = le32_get(in->offset);
	uint32_t len = call->in_len - (uint32_t)sizeof(*in);

	if (offset + len > mem_file_len(cci->lsa))
		return CXL_RC_INVALID_INPUT;
	if (mem_file_read(cci->lsa, offset, call->out, len) != 0)
		return CXL_RC_INTERNAL_ERROR;
	if (mem_file_write(cci->lsa, offset, data, len) != 0) {
		(void)mem_file_write(cci->lsa, offset, call->out, len);
		return CXL_RC_INTERNAL_ERROR;
	}
	return CXL_RC_SUCCESS;
}

/* ---- 42h: health ---- */

/* Software does not wear out and has no temperature; nothing was ever corrected or lost. */
static int get_health_info(Cci *cci, MailboxCall *call)
{
	CxlHealthInfo out = {
		.media_status = CXL_MEDIA_STATUS_NORMAL,
		.life_used = 0,
		.temperature = le16_put(CXL_TEMPERATURE_UNKNOWN),
	};

	call_reply(call, &out, sizeof(out));
	return CXL_RC_SUCCESS;
}

/* Thresholds are kept for the host; what they watch never happens. No warning is on. */
void cci_reset_alerts(Cci *cci)
{
	cci->alerts = (CxlAlertConfigOut){
		.programmable = CXL_ALERT_ALL,
		.life_used_critical = 100,
		.life_used_warning = 80,
		.over_temperature_critical = le16_put(95),
		.under_temperature_critical = le16_put((uint16_t)-40),
		.over_temperature_warning = le16_put(85),
		.under_temperature_warning = le16_put((uint16_t)-20),
		.corrected_volatile_warning = le16_put(1000),
		.corrected_persistent_warning = le16_put(1000),
	};
}

static int get_alert_config(Cci *cci, MailboxCall *call)
{
	call_reply(call, &cci->alerts, sizeof(cci->alerts));
	return CXL_RC_SUCCESS;
}

static int16_t celsius(le16 wire)
{
	return (int16_t)le16_get(wire);
}

/* A warning that is switched on must come before the critical level; all are checked first. */
static int set_alert_config(Cci *cci, MailboxCall *call)
{
	const CxlAlertConfigIn *in = (const CxlAlertConfigIn *)call->in;
	CxlAlertConfigOut next = cci->alerts;
	uint8_t changed = in->valid_actions & CXL_ALERT_ALL;
	uint8_t on = changed & in->enable_actions;

	if (on & CXL_ALERT_LIFE_USED && in->life_used_warning >= next.life_used_critical)
		return CXL_RC_INVALID_INPUT;
	if (on & CXL_ALERT_OVER_TEMPERATURE &&
	    celsius(in->over_temperature_warning) >= celsius(next.over_temperature_critical))
		return CXL_RC_INVALID_INPUT;
	if (on & CXL_ALERT_UNDER_TEMPERATURE &&
	    celsius(in->under_temperature_warning) <= celsius(next.under_temperature_critical))
		return CXL_RC_INVALID_INPUT;

	next.valid = (uint8_t)((next.valid & ~changed) | on);
	if (on & CXL_ALERT_LIFE_USED)
		next.life_used_warning = in->life_used_warning;
	if (on & CXL_ALERT_OVER_TEMPERATURE)
		next.over_temperature_warning = in->over_temperature_warning;
	if (on & CXL_ALERT_UNDER_TEMPERATURE)
		next.under_temperature_warning = in->under_temperature_warning;
	if (on & CXL_ALERT_CORRECTED_VOLATILE)
		next.corrected_volatile_warning = in->corrected_volatile_warning;
	if (on & CXL_ALERT_CORRECTED_PERSISTENT)
		next.corrected_persistent_warning = in->corrected_persistent_warning;
	cci->alerts = next;
	return CXL_RC_SUCCESS;
}

static int get_shutdown_state(Cci *cci, MailboxCall *call)
{
	CxlShutdownState out = { .state = cci->shutdown_state };

	call_reply(call, &out, sizeof(out));
	return CXL_RC_SUCCESS;
}

static int set_shutdown_state(Cci *cci, MailboxCall *call)
{
	const CxlShutdownState *in = (const CxlShutdownState *)call->in;

	cci->shutdown_state = in->state & CXL_SHUTDOWN_DIRTY;
	return CXL_RC_SUCCESS;
}

static const Command commands[] = {
	{ CXL_OP_IDENTIFY_MEMDEV, 0, 0, 0, 0, "identify-memdev", identify_memdev },
	{ CXL_OP_GET_PARTITION_INFO, 0, 0, 0, 0, "get-partition-info", get_partition_info },
	{ CXL_OP_GET_LSA, 8, 8, 0, COMMAND_NEEDS_LSA, "get-lsa", get_lsa },
	{ CXL_OP_SET_LSA, 8, COMMAND_VAR, CXL_EFFECT_CONFIG_NOW | CXL_EFFECT_DATA_NOW,
	  COMMAND_NEEDS_LSA, "set-lsa", set_lsa },
	{ CXL_OP_GET_HEALTH_INFO, 0, 0, 0, 0, "get-health-info", get_health_info },
	{ CXL_OP_GET_ALERT_CONFIG, 0, 0, 0, 0, "get-alert-config", get_alert_config },
	{ CXL_OP_SET_ALERT_CONFIG, 12, 12, CXL_EFFECT_POLICY_NOW, 0, "set-alert-config",
	  set_alert_config },
	{ CXL_OP_GET_SHUTDOWN_STATE, 0, 0, 0, 0, "get-shutdown-state", get_shutdown_state },
	{ CXL_OP_SET_SHUTDOWN_STATE, 1, 1, CXL_EFFECT_POLICY_NOW, 0, "set-shutdown-state",
	  set_shutdown_state },
};

const CommandSet command_set_memdev = { commands, G_N_ELEMENTS(commands) };
