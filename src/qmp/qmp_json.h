/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON from hostile streams: where a value ends, what it says, and writing it back. */
#pragma once

/*
 * QMP has no line discipline: a value may come in pieces, and several in one piece. QmpFrame finds
 * where one ends, byte by byte, and refuses at once what can never become one; qmp_json_parse()
 * then reads the framed text. It is stricter than json-glib and makes json-glib's nodes, with one
 * addition: an integer above INT64_MAX is an integer node with the bits of the uint64, sealed
 * (json_node_is_immutable()), which is how qmp_json_get_u64() and qmp_json_append() tell it from a
 * negative one. Nothing else here seals nodes. A copy of such a node loses it.
 *
 * As QEMU does, strings in single quotes are taken too: its documentation writes them so.
 */
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct QmpJsonLimits {
	size_t len;           /* bytes of one value */
	unsigned depth;       /* arrays and objects inside each other */
	unsigned members;     /* of one object */
	unsigned long values; /* all nodes of one value */
} QmpJsonLimits;

/* What the server takes from a client: 1 MiB, 64 deep, 256 members, 128 Ki values. */
extern const QmpJsonLimits qmp_json_request_limits;
/* What a client takes from the server: 1 GiB, 64 deep; the rest without limit. */
extern const QmpJsonLimits qmp_json_answer_limits;

/* ---- framing ---- */

typedef enum QmpFrameResult {
	QMP_FRAME_MORE,  /* all of it taken, the value goes on (or has not begun) */
	QMP_FRAME_VALUE, /* a value has ended */
	QMP_FRAME_ERROR, /* can never become a value: the stream is of no more use */
} QmpFrameResult;

typedef struct QmpFrame {
	const QmpJsonLimits *limits;
	size_t len; /* bytes of the value so far; 0 = only white space since the last one */
	unsigned depth;
	int state;
	char quote;
	unsigned utf8_left;            /* bytes the character still needs, */
	uint8_t utf8_least, utf8_most; /* and the next one's bounds */
} QmpFrame;

void qmp_frame_init(QmpFrame *frame, const QmpJsonLimits *limits);
/*
 * Looks at the next bytes of the stream. The value is the FRAME->len bytes up to RET_USED, which
 * counts from DATA; it may have begun in an earlier piece. After QMP_FRAME_VALUE the next call
 * begins a new one with what was not used.
 */
QmpFrameResult qmp_frame_feed(QmpFrame *frame, const char *data, size_t len, size_t *ret_used,
			      GError **error);
/* The stream has ended: a number or word may have ended with it (VALUE); MORE: nothing is left. */
QmpFrameResult qmp_frame_end(QmpFrame *frame, GError **error);

/* ---- reading ---- */

/*
 * TEXT is one value, with white space around it at most. NULL with QMP_ERROR if it is not JSON, not
 * UTF-8, has \u0000 or half a surrogate pair, the same member twice, or exceeds LIMITS.
 */
JsonNode *qmp_json_parse(const char *text, size_t len, const QmpJsonLimits *limits, GError **error);

JsonNode *qmp_json_new_u64(uint64_t value);
/* False unless NODE is an integer in 0 .. UINT64_MAX. */
bool qmp_json_get_u64(JsonNode *node, uint64_t *ret);
/* False unless NODE is an integer in INT64_MIN .. INT64_MAX. */
bool qmp_json_get_i64(JsonNode *node, int64_t *ret);

/* ---- writing ---- */

/* Compact, on one line, UTF-8. */
void qmp_json_append(GString *out, JsonNode *node);
void qmp_json_append_string(GString *out, const char *value);

/*
 * Long lists are written as text: a tree of nodes for 65,536 extents would take 100 MiB. Members
 * have names, elements of arrays and the outermost value have NULL. A NULL string is null.
 */
typedef struct QmpText {
	GString *out;
	bool comma; /* before the next value */
} QmpText;

void qmp_text_begin(QmpText *text, const char *name, char bracket); /* '{' or '[' */
void qmp_text_end(QmpText *text, char bracket);                     /* '}' or ']' */
void qmp_text_string(QmpText *text, const char *name, const char *value);
void qmp_text_u64(QmpText *text, const char *name, uint64_t value);
void qmp_text_i64(QmpText *text, const char *name, int64_t value);
void qmp_text_bool(QmpText *text, const char *name, bool value);
void qmp_text_null(QmpText *text, const char *name);
