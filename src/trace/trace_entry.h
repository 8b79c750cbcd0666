/* SPDX-License-Identifier: BSD-3-Clause */
/* One thing that happened between a device and its host: a command, or what became of a record. */
#ifndef TRACE_TRACE_ENTRY_H
#define TRACE_TRACE_ENTRY_H

#include "cxl/event.h"

#include <glib.h>
#include <stdbool.h>

typedef enum TraceKind {
	TRACE_COMMAND = 1,   /* a mailbox command has ended */
	TRACE_POSTED = 2,    /* an event record: is in its log, */
	TRACE_READ = 3,      /* was given to the host, */
	TRACE_CLEARED = 4,   /* is gone by the host's word or a reset, */
	TRACE_WITHDRAWN = 5, /* is gone unread, */
	TRACE_LOST = 6,      /* found its log full */
	TRACE_N_KINDS
} TraceKind;

#define TRACE_MAX_PAYLOAD_LEN 1024u /* bytes kept of each payload of a command */

/* Payloads and record are borrowed. */
typedef struct TraceEntry {
	TraceKind kind;
	uint64_t time_us; /* since 1970, UTC */
	uint64_t n_lost;  /* entries lost just before this one, because nobody took them */
	/* Of a command */
	uint16_t opcode;
	uint16_t rc; /* enum cxl_rc */
	uint64_t took_us;
	const uint8_t *in, *out;
	uint32_t in_len, out_len;   /* as they were */
	uint32_t in_kept, out_kept; /* as they are here: at most TRACE_MAX_PAYLOAD_LEN */
	/* Of a record */
	uint8_t log; /* CXL_LOG_... */
	CxlEventRecord record;
} TraceEntry;

/* "command", "posted", ...; NULL for no kind. */
const char *trace_kind_name(TraceKind kind);
/* 0 = no kind. */
TraceKind trace_kind_parse(const char *name);

#endif
