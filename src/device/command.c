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

	if (!command)
		return CXL_RC_UNSUPPORTED;
	if (call->in_len < command->in_min || call->in_len > command->in_max)
		return CXL_RC_INVALID_PAYLOAD_LENGTH;
	return command->run(cci, call);
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
	event_log_clear_all(cci->logs[CXL_LOG_DC], tell_cleared, cci);
	if (kind == DEVICE_RESET_CONVENTIONAL)
		return;
	cci->clock_is_set = false;
	if (kind != DEVICE_RESET_FORGET)
		return;
	for (unsigned log = 0; log < CXL_LOG_DC; log++)
		event_log_clear_all(cci->logs[log], NULL, NULL);
}
