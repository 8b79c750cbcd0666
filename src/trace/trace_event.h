/* SPDX-License-Identifier: BSD-3-Clause */
/* Trace entries as the data of the QMP event X_TRACE (docs/qmp.md), and back. */
#ifndef TRACE_TRACE_EVENT_H
#define TRACE_TRACE_EVENT_H

#include "trace/trace_entry.h"

#include <json-glib/json-glib.h>

/* PAYLOADS: with those of commands. Caller owns it. */
JsonObject *trace_event_new(const char *device, const TraceEntry *entry, bool payloads);

/* An entry that owns what it points to. */
typedef struct TraceEventEntry {
	TraceEntry entry;
	uint8_t in[TRACE_MAX_PAYLOAD_LEN], out[TRACE_MAX_PAYLOAD_LEN];
} TraceEventEntry;

/* DATA comes from a peer: false with an error that names the member that is missing or wrong. */
bool trace_event_parse(JsonObject *data, TraceEventEntry *ret, GError **error);

#endif
