/* SPDX-License-Identifier: BSD-3-Clause */
/* Command sets behind the mailbox: state, dispatch and the command effects log. */
#include "device/command.h"

#include <string.h>

static const CommandSet *const command_sets[] = {
	&command_set_generic,
	&command_set_events,
	&command_set_memdev,
	&command_set_dynamic_capacity,
};

static bool command_is_here(const Cci *cci, const Command *command)
{
	if (command->flags & COMMAND_NEEDS_DC && dc_device_n_regions(cci->dc) == 0)
		return false;
	if (command->flags & COMMAND_NEEDS_LSA && !cci->lsa)
		return false;
	return true;
}

const Command *cci_find_command(const Cci *cci, uint16_t opcode)
{
	for (size_t s = 0; s < G_N_ELEMENTS(command_sets); s++) {
		const CommandSet *set = command_sets[s];

		for (size_t i = 0; i < set->n; i++) {
			if (set->commands[i].opcode != opcode)
				continue;
			return command_is_here(cci, &set->commands[i]) ? &set->commands[i] : NULL;
		}
	}
	return NULL;
}

int cci_execute(Cci *cci, MailboxCall *call)
{
	const Command *command = cci_find_command(cci, call->opcode);
	int rc;

	if (!command)
		return CXL_RC_UNSUPPORTED;
	if (call->in_len < command->in_min || call->in_len > command->in_max)
		return CXL_RC_INVALID_PAYLOAD_LENGTH;
	rc = command->run(cci, call);
	/* All policies are saved state. */
	if (rc == CXL_RC_SUCCESS && command->effects & CXL_EFFECT_POLICY_NOW)
		cci_state_changed(cci);
	return rc;
}

void cci_state_changed(Cci *cci)
{
	if (cci->state_changed)
		cci->state_changed(cci->opaque);
}

void call_reply(MailboxCall *call, const void *data, size_t len)
{
	g_assert(len <= call->out_max);
	memcpy(call->out, data, len);
	call->out_len = (uint32_t)len;
}

static void make_cel(Cci *cci)
{
	size_t n = 0;

	for (size_t s = 0; s < G_N_ELEMENTS(command_sets); s++)
		n += command_sets[s]->n;
	cci->cel = g_new0(CxlCelEntry, n);
	n = 0;
	for (size_t s = 0; s < G_N_ELEMENTS(command_sets); s++) {
		for (size_t i = 0; i < command_sets[s]->n; i++) {
			const Command *command = &command_sets[s]->commands[i];

			if (!command_is_here(cci, command))
				continue;
			cci->cel[n].opcode = le16_put(command->opcode);
			cci->cel[n].effects = le16_put(command->effects);
			n++;
		}
	}
	cci->cel_len = (uint32_t)(n * sizeof(CxlCelEntry));
}

void cci_init(Cci *cci, const DeviceConfig *config, DcDevice *dc, uint32_t payload_size)
{
	cci->dc = dc;
	cci->serial = config->serial;
	cci->ram_len = config->ram_len;
	cci->pmem_len = config->pmem_len;
	cci->lsa = config->lsa;
	cci->payload_size = payload_size;
	cci->dc_ranges = g_new(DcRange, payload_size / sizeof(CxlDcResponseEntry));
	cci_reset_alerts(cci);
	make_cel(cci);
}

void cci_destroy(Cci *cci)
{
	for (unsigned log = 0; log < CXL_N_LOGS; log++)
		event_log_free(cci->logs[log]);
	g_free(cci->cel);
	g_free(cci->dc_ranges);
}

static void tell_cleared(void *opaque, uint64_t cookie)
{
	Cci *cci = opaque;

	dc_device_record_cleared(cci->dc, cookie);
}

/*
 * Linux (7.3): does not program the interrupt policy again after an FLR, so it has to survive one.
 * Records of the DC log do not survive what re-queues the offers they announce: a host that
 * answered them would answer something that is not offered now.
 */
void cci_reset(Cci *cci, DeviceReset kind)
{
	if (kind == DEVICE_RESET_FLR)
		return;
	memset(cci->int_mode, CXL_INT_MODE_NONE, sizeof(cci->int_mode));
	dc_device_set_events_enabled(cci->dc, false);
	cci_reset_alerts(cci);
	/* All writes have reached their files: nothing a power cut could still take away. */
	cci->shutdown_state = 0;
	cci->list_was_read = false;
	event_log_clear_all(cci->logs[CXL_LOG_DC], tell_cleared, cci);
	if (kind == DEVICE_RESET_CONVENTIONAL)
		return;
	cci->clock_is_set = false;
	if (kind != DEVICE_RESET_FORGET)
		return;
	for (unsigned log = 0; log < CXL_LOG_DC; log++)
		event_log_clear_all(cci->logs[log], NULL, NULL);
}

/* ---- saved state ---- */

typedef struct CciState {
	CxlEventIntPolicy policy;
	uint8_t clock_is_set;
	uint8_t shutdown_state;
	uint8_t list_was_read;
	le64 clock_offset_ns; /* what the clock says less what now_us() says */
	CxlAlertConfigOut alerts;
} CciState;
CXL_STATIC_ASSERT(sizeof(CciState) == 32);

void cci_save(const Cci *cci, GByteArray *out)
{
	CciState state = {
		.clock_is_set = cci->clock_is_set,
		.shutdown_state = cci->shutdown_state,
		.list_was_read = cci->list_was_read,
		.clock_offset_ns = le64_put(cci->clock_ns - cci->clock_at_us * 1000),
		.alerts = cci->alerts,
	};

	cci_get_int_policy(cci, &state.policy);
	state_put(out, &state, sizeof(state));
	for (unsigned log = 0; log < CXL_LOG_DC; log++)
		event_log_save(cci->logs[log], out);
}

/* Only what a host can have set. */
static bool judge_state(const Cci *cci, const CciState *state)
{
	CxlAlertConfigOut alerts = cci->alerts;

	alerts.valid = state->alerts.valid & CXL_ALERT_ALL;
	alerts.life_used_warning = state->alerts.life_used_warning;
	alerts.over_temperature_warning = state->alerts.over_temperature_warning;
	alerts.under_temperature_warning = state->alerts.under_temperature_warning;
	alerts.corrected_volatile_warning = state->alerts.corrected_volatile_warning;
	alerts.corrected_persistent_warning = state->alerts.corrected_persistent_warning;
	return memcmp(&alerts, &state->alerts, sizeof(alerts)) == 0 && state->clock_is_set <= 1 &&
	       state->list_was_read <= 1 && (state->shutdown_state & ~CXL_SHUTDOWN_DIRTY) == 0 &&
	       cci_is_int_policy(&state->policy, CXL_N_LOGS);
}

static void apply_state(Cci *cci, const CciState *state)
{
	cci->clock_is_set = state->clock_is_set;
	cci->clock_ns = le64_get(state->clock_offset_ns);
	cci->clock_at_us = 0;
	cci->shutdown_state = state->shutdown_state;
	cci->alerts = state->alerts;
	cci->list_was_read = state->list_was_read;
	event_log_set_last_handle(cci->logs[CXL_LOG_DC], (uint16_t)g_random_int());
	/* Linux (7.3): sets the policy and reads the list when it binds to the device, never again.
	 */
	cci_set_int_policy(cci, &state->policy, true);
	if (cci->list_was_read)
		dc_device_list_was_read(cci->dc);
}

bool cci_load(Cci *cci, StateReader *in, bool apply)
{
	const CciState *state = state_take(in, sizeof(*state));

	if (!state || !judge_state(cci, state))
		return false;
	for (unsigned log = 0; log < CXL_LOG_DC; log++) {
		if (!event_log_load(cci->logs[log], in, apply))
			return false;
	}
	if (apply)
		apply_state(cci, state);
	return true;
}
