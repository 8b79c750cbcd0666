/* SPDX-License-Identifier: BSD-3-Clause */
/* Trace entries decoded: as JSON and as a line of text. */
#ifndef TRACE_TRACE_DECODE_H
#define TRACE_TRACE_DECODE_H

#include "trace/trace_entry.h"

#include <json-glib/json-glib.h>

/*
 * Both take any bytes: a payload that is shorter than it should be is decoded as far as it goes.
 * "more": true at the end of an object says that not all of a payload was kept, or it was too long.
 */

/* All there is to know: kind, opcode, name, rc, payloads, or record, field by field; what has no
 * layout as hex. Caller owns it. */
JsonObject *trace_decode_json(const TraceEntry *entry);
/* One line, without an end of line: no time, no device. Caller frees. */
char *trace_decode_text(const TraceEntry *entry);

const char *trace_opcode_name(uint16_t opcode); /* NULL = unknown */
const char *trace_rc_name(uint16_t rc);         /* "?" = unknown */
const char *trace_log_name(uint8_t log);        /* "?" = unknown */
char *trace_hex(const void *bytes, size_t len); /* caller frees */

#endif
