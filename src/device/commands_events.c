/* SPDX-License-Identifier: BSD-3-Clause */
/* Event commands: reading and clearing the logs, interrupt policy (CXL 3.1 8.2.9.2). */
#include "device/command.h"

#include <string.h>

static void record_read(void *opaque, uint64_t cookie)
{
	Cci *cci = opaque;

	dc_device_record_read(cci->dc, cookie);
}

static void record_cleared(void *opaque, uint64_t cookie)
{
	Cci *cci = opaque;

	dc_device_record_cleared(cci->dc, cookie);
}

static int get_event_records(Cci *cci, MailboxCall *call)
{
	const CxlGetEventRecordsIn *in = (const CxlGetEventRecordsIn *)call->in;

	if (in->log >= CXL_N_LOGS)
		return CXL_RC_INVALID_INPUT;
	call->out_len = event_log_read(cci->logs[in->log], call->out, call->out_max,
				       in->log == CXL_LOG_DC ? record_read : NULL, cci);
	return CXL_RC_SUCCESS;
}

/* The DC log is not saved. */
static void logs_changed(Cci *cci, unsigned log)
{
	if (log != CXL_LOG_DC)
		cci_state_changed(cci);
}

/*
 * The spec asks for temporal order, and refuses a list that would leave an older record behind.
 * It also allows clear-all only after an overflow; a host that wants an empty log gets it here in
 * any case, since refusing helps nobody.
 */
static int clear_event_records(Cci *cci, MailboxCall *call)
{
	const CxlClearEventRecordsIn *in = (const CxlClearEventRecordsIn *)call->in;
	const le16 *handles = (const le16 *)(call->in + sizeof(*in));
	EventLogVisit cleared;

	if (in->log >= CXL_N_LOGS)
		return CXL_RC_INVALID_INPUT;
	cleared = in->log == CXL_LOG_DC ? record_cleared : NULL;
	if (in->flags & CXL_CLEAR_EVENTS_ALL) {
		event_log_clear_all(cci->logs[in->log], cleared, cci);
		logs_changed(cci, in->log);
		return CXL_RC_SUCCESS;
	}
	if (call->in_len != sizeof(*in) + in->n_handles * sizeof(le16))
		return CXL_RC_INVALID_PAYLOAD_LENGTH;
	if (!event_log_clear(cci->logs[in->log], handles, in->n_handles, cleared, cci))
		return CXL_RC_INVALID_HANDLE;
	logs_changed(cci, in->log);
	return CXL_RC_SUCCESS;
}

void cci_get_int_policy(const Cci *cci, CxlEventIntPolicy *ret)
{
	for (unsigned log = 0; log < CXL_N_LOGS; log++)
		ret->log[log] = (uint8_t)(CXL_FIELD_PUT(CXL_INT_MODE, cci->int_mode[log]) |
					  CXL_FIELD_PUT(CXL_INT_MSG, cci->int_vector[log]));
}

bool cci_is_int_policy(const CxlEventIntPolicy *policy, unsigned n)
{
	for (unsigned log = 0; log < n; log++) {
		unsigned mode = CXL_FIELD_GET(CXL_INT_MODE, policy->log[log]);

		if (mode != CXL_INT_MODE_NONE && mode != CXL_INT_MODE_MSI)
			return false;
	}
	return true;
}

bool cci_set_int_policy(Cci *cci, const CxlEventIntPolicy *policy, bool with_dc)
{
	unsigned n = with_dc ? CXL_N_LOGS : CXL_LOG_DC;

	if (!cci_is_int_policy(policy, n))
		return false;
	for (unsigned log = 0; log < n; log++)
		cci->int_mode[log] = CXL_FIELD_GET(CXL_INT_MODE, policy->log[log]);
	if (with_dc)
		dc_device_set_events_enabled(cci->dc,
					     cci->int_mode[CXL_LOG_DC] == CXL_INT_MODE_MSI);
	return true;
}

static int get_int_policy(Cci *cci, MailboxCall *call)
{
	CxlEventIntPolicy out;

	cci_get_int_policy(cci, &out);
	call_reply(call, &out, sizeof(out));
	return CXL_RC_SUCCESS;
}

/* Linux without dynamic capacity sends four bytes: DC's setting is then not touched. */
static int set_int_policy(Cci *cci, MailboxCall *call)
{
	CxlEventIntPolicy in = { .log = { 0 } };

	memcpy(&in, call->in, call->in_len);
	return cci_set_int_policy(cci, &in, call->in_len > CXL_LOG_DC) ? CXL_RC_SUCCESS
								       : CXL_RC_INVALID_INPUT;
}

static const Command commands[] = {
	{ CXL_OP_GET_EVENT_RECORDS, 1, 1, 0, 0, "get-event-records", get_event_records },
	{ CXL_OP_CLEAR_EVENT_RECORDS, 6, COMMAND_VAR, CXL_EFFECT_LOG_NOW, 0, "clear-event-records",
	  clear_event_records },
	{ CXL_OP_GET_EVENT_INT_POLICY, 0, 0, 0, 0, "get-event-int-policy", get_int_policy },
	{ CXL_OP_SET_EVENT_INT_POLICY, CXL_EVENT_INT_POLICY_MIN_LEN, sizeof(CxlEventIntPolicy),
	  CXL_EFFECT_POLICY_NOW, 0, "set-event-int-policy", set_int_policy },
};

const CommandSet command_set_events = { commands, G_N_ELEMENTS(commands) };
