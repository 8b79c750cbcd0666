/* SPDX-License-Identifier: BSD-3-Clause */
/* What payloads and event records consist of, as tables for the decoder. */
#ifndef TRACE_TRACE_LAYOUTS_H
#define TRACE_TRACE_LAYOUTS_H

#include <stddef.h>
#include <stdint.h>

typedef enum TraceType {
	TRACE_UINT,  /* little-endian, LEN bytes */
	TRACE_HEX,   /* the same, written as hexadecimal in text: addresses, flags */
	TRACE_INT,   /* signed, two bytes */
	TRACE_UNITS, /* multiples of 256 MiB, shown in bytes */
	TRACE_NAME,  /* a number with names */
	TRACE_UUID,  /* 16 bytes in the order of their text */
	TRACE_BYTES, /* LEN bytes as hex */
	TRACE_TEXT,  /* LEN bytes, ends with the first zero */
	TRACE_REST,  /* all that is left, as hex */
} TraceType;

typedef struct TraceField {
	const char *name;
	uint16_t offset;
	uint8_t len; /* bytes */
	uint8_t type;
	const char *const *names; /* TRACE_NAME: by number, NULL at the end */
} TraceField;

/* Fields, then perhaps a list of equal items, then perhaps more fields. */
typedef struct TraceLayout {
	const TraceField *fields;        /* ends with a name of NULL */
	uint16_t len;                    /* bytes of the fixed part */
	const char *list_name;           /* NULL = no list */
	const struct TraceLayout *item;  /* NULL = event records */
	uint8_t item_len;                /* bytes */
	uint8_t count_offset, count_len; /* where the number of items is; len 0 = as many as fit */
	const struct TraceLayout *tail;
} TraceLayout;

typedef struct TraceCommand {
	uint16_t opcode;
	const char *name;
	const TraceLayout *in, *out; /* NULL = nothing there */
} TraceCommand;

/* NULL = not known. */
const TraceCommand *trace_find_command(uint16_t opcode);

typedef struct TraceRecordKind {
	const char *name;
	uint8_t uuid[16];
	const TraceLayout *layout; /* of the whole record, the common header left out */
} TraceRecordKind;
const TraceRecordKind *trace_find_record(const uint8_t uuid[16]);
extern const TraceLayout trace_record_header;

#endif
