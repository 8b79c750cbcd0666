/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands every component has: identify, firmware, timestamp, logs (CXL 3.1 8.2.9.1-8.2.9.5). */
#include "device/command.h"
#include "device/ids.h"

#include <string.h>

/* 0001h */
static int identify(Cci *cci, MailboxCall *call)
{
	CxlIdentifyOut out = {
		.vendor_id = le16_put(DEVICE_PCI_VENDOR),
		.device_id = le16_put(DEVICE_PCI_DEVICE),
		.subsys_vendor_id = le16_put(DEVICE_PCI_VENDOR),
		.subsys_id = le16_put(DEVICE_PCI_DEVICE),
		.serial = le64_put(cci->serial),
		.max_msg_log2 = (uint8_t)g_bit_nth_msf(cci->payload_size, -1),
		.component_type = CXL_COMPONENT_TYPE3,
	};

	call_reply(call, &out, sizeof(out));
	return CXL_RC_SUCCESS;
}

/* 0200h: one slot, active, which no command here can replace */
static int get_fw_info(Cci *cci, MailboxCall *call)
{
	CxlFwInfoOut out = {
		.n_slots = 1,
		.slot_info = CXL_FIELD_PUT(CXL_FW_SLOT_ACTIVE, 1),
	};

	memcpy(out.revision[0], DEVICE_FW_REVISION,
	       MIN(sizeof(DEVICE_FW_REVISION), sizeof(out.revision[0])));
	call_reply(call, &out, sizeof(out));
	return CXL_RC_SUCCESS;
}

/* ---- 03h: a clock that counts on from what the host said ---- */

uint64_t cci_timestamp(const Cci *cci)
{
	if (!cci->clock_is_set)
		return 0;
	return cci->clock_ns + (cci->now_us(cci->opaque) - cci->clock_at_us) * 1000;
}

static int get_timestamp(Cci *cci, MailboxCall *call)
{
	CxlTimestamp out = { .ns = le64_put(cci_timestamp(cci)) };

	call_reply(call, &out, sizeof(out));
	return CXL_RC_SUCCESS;
}

static int set_timestamp(Cci *cci, MailboxCall *call)
{
	const CxlTimestamp *in = (const CxlTimestamp *)call->in;

	cci->clock_is_set = true;
	cci->clock_ns = le64_get(in->ns);
	cci->clock_at_us = cci->now_us(cci->opaque);
	return CXL_RC_SUCCESS;
}

/* ---- 04h: the command effects log is the only log ---- */

static const uint8_t cel_uuid[CXL_UUID_LEN] = CXL_UUID_CEL;

static int get_supported_logs(Cci *cci, MailboxCall *call)
{
	struct {
		CxlSupportedLogsOut header;
		CxlSupportedLog cel;
	} out = {
		.header.n_logs = le16_put(1),
		.cel.len = le32_put(cci->cel_len),
	};

	memcpy(out.cel.uuid, cel_uuid, sizeof(cel_uuid));
	call_reply(call, &out, sizeof(out));
	return CXL_RC_SUCCESS;
}

static int get_log(Cci *cci, MailboxCall *call)
{
	const CxlGetLogIn *in = (const CxlGetLogIn *)call->in;
	uint64_t offset = le32_get(in->offset);
	uint64_t len = le32_get(in->len);

	if (memcmp(in->uuid, cel_uuid, sizeof(cel_uuid)) != 0)
		return CXL_RC_INVALID_LOG;
	if (offset + len > cci->cel_len || len > call->out_max)
		return CXL_RC_INVALID_INPUT;
	call_reply(call, (const uint8_t *)cci->cel + offset, len);
	return CXL_RC_SUCCESS;
}

static const Command commands[] = {
	{ CXL_OP_IDENTIFY, 0, 0, 0, 0, "identify", identify },
	{ CXL_OP_GET_FW_INFO, 0, 0, 0, 0, "get-fw-info", get_fw_info },
	{ CXL_OP_GET_TIMESTAMP, 0, 0, 0, 0, "get-timestamp", get_timestamp },
	{ CXL_OP_SET_TIMESTAMP, 8, 8, CXL_EFFECT_POLICY_NOW, 0, "set-timestamp", set_timestamp },
	{ CXL_OP_GET_SUPPORTED_LOGS, 0, 0, 0, 0, "get-supported-logs", get_supported_logs },
	{ CXL_OP_GET_LOG, 24, 24, 0, 0, "get-log", get_log },
};

const CommandSet command_set_generic = { commands, G_N_ELEMENTS(commands) };
