/* SPDX-License-Identifier: BSD-3-Clause */
/* Command sets behind the mailbox: the tables, the state they act on, dispatch and CEL. */
#ifndef DEVICE_COMMAND_H
#define DEVICE_COMMAND_H

/*
 * Design. One row of a table is all there is to know about a command: dispatch, the length check
 * and the command effects log are views of it. A handler sees a private copy of its input, at least
 * in_min bytes of it, and decides before it changes anything.
 */

#include "device/device.h"
#include "device/event_log.h"
#include "device/mailbox.h"
#include "device/state_io.h"

typedef struct Cci Cci;

#define COMMAND_VAR UINT32_MAX /* as much as the payload holds */

/* What a device must have for the command to exist on it. */
enum command_flag {
	COMMAND_NEEDS_DC = 1 << 0,
	COMMAND_NEEDS_LSA = 1 << 1,
};

typedef struct Command {
	uint16_t opcode;
	uint32_t in_min, in_max; /* bytes of input, else Invalid Payload Length */
	uint16_t effects;        /* CXL_EFFECT_* */
	unsigned flags;          /* enum command_flag */
	const char *name;
	int (*run)(Cci *cci, MailboxCall *call); /* enum cxl_rc or MAILBOX_PENDING */
} Command;

typedef struct CommandSet {
	const Command *commands;
	size_t n;
} CommandSet;

extern const CommandSet command_set_generic;
extern const CommandSet command_set_events;
extern const CommandSet command_set_memdev;
extern const CommandSet command_set_dynamic_capacity;

/* What the commands act on. */
struct Cci {
	DcDevice *dc;
	Mailbox *mailbox; /* borrowed; for commands that wait */
	uint64_t serial;
	uint64_t ram_len, pmem_len; /* bytes */
	MemFile *lsa;               /* or NULL */
	uint32_t payload_size;      /* bytes */
	uint64_t (*now_us)(void *opaque);
	/* What cci_save() saves is another now; may be NULL. */
	void (*state_changed)(void *opaque);
	void *opaque;

	EventLog *logs[CXL_N_LOGS];
	uint8_t int_mode[CXL_N_LOGS];   /* CXL_INT_MODE_* */
	uint8_t int_vector[CXL_N_LOGS]; /* fixed */

	bool clock_is_set;
	uint64_t clock_ns, clock_at_us; /* what the host said, and when */

	CxlAlertConfigOut alerts;
	uint8_t shutdown_state; /* CXL_SHUTDOWN_DIRTY or 0 */
	bool list_was_read;     /* 4801h to its end, since the last reset */

	CxlCelEntry *cel;
	uint32_t cel_len;   /* bytes */
	DcRange *dc_ranges; /* room for all that a payload can name */
};

/* Fills in everything but what the comment above calls borrowed or fixed. */
void cci_init(Cci *cci, const DeviceConfig *config, DcDevice *dc, uint32_t payload_size);
void cci_destroy(Cci *cci);
void cci_reset(Cci *cci, DeviceReset kind);

/* NULL: there is no such command on this device. */
const Command *cci_find_command(const Cci *cci, uint16_t opcode);
/* The mailbox's executor. */
int cci_execute(Cci *cci, MailboxCall *call);

uint64_t cci_timestamp(const Cci *cci); /* ns; 0 = the host never set it */
void cci_reset_alerts(Cci *cci);        /* factory settings */
/* Of the first N logs each mode is supported. */
bool cci_is_int_policy(const CxlEventIntPolicy *policy, unsigned n);
/* False and nothing changed when a mode is not supported. Without DC its setting is left alone. */
bool cci_set_int_policy(Cci *cci, const CxlEventIntPolicy *policy, bool with_dc);
void cci_get_int_policy(const Cci *cci, CxlEventIntPolicy *ret);
void cci_state_changed(Cci *cci);

/*
 * What a host has set, and the records of every log but the DC log: what that held is offered
 * again. Its handles begin anew at a random place, so that a host that clears what it had read
 * before clears nothing it has not seen. Time is saved as an offset from now_us(), which counts on.
 */
void cci_save(const Cci *cci, GByteArray *out);
bool cci_load(Cci *cci, StateReader *in, bool apply);

/* Copies a finished structure out: all a handler does to its output. */
void call_reply(MailboxCall *call, const void *data, size_t len);

#endif
