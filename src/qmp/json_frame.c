/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a JSON value ends in a stream of bytes, and whether it can still become one. */
#include "qmp/qmp_error.h"
#include "qmp/qmp_json.h"

#include <string.h>

/*
 * Only what a stream needs is looked at: strings with their escapes and UTF-8, nesting, length, and
 * that no byte is there which JSON does not have. The rest is the parser's, when the value is
 * whole.
 */

const QmpJsonLimits qmp_json_request_limits = {
	.len = 1 << 20,
	.depth = 64,
	.members = 256,
	.values = 128 << 10,
};

const QmpJsonLimits qmp_json_answer_limits = {
	.len = 1 << 30,
	.depth = 64,
	.members = G_MAXUINT,
	.values = G_MAXULONG,
};

enum frame_state {
	FRAME_BETWEEN, /* no value has begun */
	FRAME_SCALAR,  /* in an outermost number or word */
	FRAME_INSIDE,  /* in an array or object, outside of strings */
	FRAME_STRING,
	FRAME_ESCAPE, /* in a string, behind a backslash */
};

void qmp_frame_init(QmpFrame *frame, const QmpJsonLimits *limits)
{
	*frame = (QmpFrame){ .limits = limits, .state = FRAME_BETWEEN };
}

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Numbers, true, false, null. */
static bool is_scalar(uint8_t c)
{
	return g_ascii_isalnum((char)c) || c == '-' || c == '+' || c == '.';
}

static QmpFrameResult bad_byte(uint8_t c, GError **error)
{
	if (g_ascii_isgraph((char)c))
		g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC, "JSON parse error, stray '%c'", c);
	else
		g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC,
			    "JSON parse error, stray byte 0x%02x", c);
	return QMP_FRAME_ERROR;
}

/* ---- strings ---- */

/* The first byte of a character of two to four; no overlong ones, surrogates or beyond U+10FFFF. */
static bool utf8_begin(QmpFrame *frame, uint8_t c)
{
	if (c < 0xc2 || c > 0xf4)
		return false;
	frame->utf8_left = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
	frame->utf8_least = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
	frame->utf8_most = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
	return true;
}

static bool utf8_go_on(QmpFrame *frame, uint8_t c)
{
	if (c < frame->utf8_least || c > frame->utf8_most)
		return false;
	frame->utf8_left--;
	frame->utf8_least = 0x80;
	frame->utf8_most = 0xbf;
	return true;
}

static QmpFrameResult bad_utf8(uint8_t c, GError **error)
{
	g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC,
		    "JSON parse error, invalid UTF-8 sequence in string at byte 0x%02x", c);
	return QMP_FRAME_ERROR;
}

static QmpFrameResult bad_escape(uint8_t c, GError **error)
{
	g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC,
		    "JSON parse error, invalid escape sequence in string: byte 0x%02x behind \\",
		    c);
	return QMP_FRAME_ERROR;
}

static QmpFrameResult string_byte(QmpFrame *frame, uint8_t c, GError **error)
{
	if (frame->utf8_left > 0)
		return utf8_go_on(frame, c) ? QMP_FRAME_MORE : bad_utf8(c, error);
	if (frame->state == FRAME_ESCAPE) {
		if (c == '\0' || !strchr("\"'\\/bfnrtu", c))
			return bad_escape(c, error);
		frame->state = FRAME_STRING;
		return QMP_FRAME_MORE;
	}
	if (c >= 0x80)
		return utf8_begin(frame, c) ? QMP_FRAME_MORE : bad_utf8(c, error);
	if (c < 0x20) {
		g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC,
			    "JSON parse error, control character 0x%02x in string; write \\u%04x",
			    c, c);
		return QMP_FRAME_ERROR;
	}
	if (c == '\\') {
		frame->state = FRAME_ESCAPE;
	} else if (c == (uint8_t)frame->quote) {
		frame->state = frame->depth > 0 ? FRAME_INSIDE : FRAME_BETWEEN;
		return frame->depth > 0 ? QMP_FRAME_MORE : QMP_FRAME_VALUE;
	}
	return QMP_FRAME_MORE;
}

/* ---- outside of strings ---- */

static QmpFrameResult open_bracket(QmpFrame *frame, GError **error)
{
	if (frame->depth == frame->limits->depth) {
		g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC,
			    "JSON nesting depth limit of %u exceeded", frame->limits->depth);
		return QMP_FRAME_ERROR;
	}
	frame->depth++;
	frame->state = FRAME_INSIDE;
	return QMP_FRAME_MORE;
}

static void open_quote(QmpFrame *frame, uint8_t c)
{
	frame->quote = (char)c;
	frame->state = FRAME_STRING;
}

static QmpFrameResult first_byte(QmpFrame *frame, uint8_t c, GError **error)
{
	if (c == '{' || c == '[')
		return open_bracket(frame, error);
	if (c == '"' || c == '\'')
		open_quote(frame, c);
	else if (is_scalar(c))
		frame->state = FRAME_SCALAR;
	else
		return bad_byte(c, error);
	return QMP_FRAME_MORE;
}

static QmpFrameResult inside_byte(QmpFrame *frame, uint8_t c, GError **error)
{
	if (c == '{' || c == '[')
		return open_bracket(frame, error);
	if (c == '"' || c == '\'') {
		open_quote(frame, c);
	} else if (c == '}' || c == ']') {
		/* Whether it is the right one of the two is the parser's to see. */
		if (--frame->depth > 0)
			return QMP_FRAME_MORE;
		frame->state = FRAME_BETWEEN;
		return QMP_FRAME_VALUE;
	} else if (!is_space(c) && !is_scalar(c) && c != ',' && c != ':') {
		return bad_byte(c, error);
	}
	return QMP_FRAME_MORE;
}

static QmpFrameResult frame_byte(QmpFrame *frame, uint8_t c, GError **error)
{
	switch ((enum frame_state)frame->state) {
	case FRAME_BETWEEN:
		return first_byte(frame, c, error);
	case FRAME_INSIDE:
		return inside_byte(frame, c, error);
	case FRAME_STRING:
	case FRAME_ESCAPE:
		return string_byte(frame, c, error);
	case FRAME_SCALAR:
		break;
	}
	return QMP_FRAME_MORE;
}

QmpFrameResult qmp_frame_feed(QmpFrame *frame, const char *data, size_t len, size_t *ret_used,
			      GError **error)
{
	size_t at = 0;

	if (frame->state == FRAME_BETWEEN)
		frame->len = 0;
	while (at < len) {
		uint8_t c = (uint8_t)data[at];
		QmpFrameResult result;

		if (frame->state == FRAME_BETWEEN && is_space(c)) {
			at++;
			continue;
		}
		/* The end of an outermost number or word is seen by what follows it. */
		if (frame->state == FRAME_SCALAR && !is_scalar(c)) {
			frame->state = FRAME_BETWEEN;
			*ret_used = at;
			return QMP_FRAME_VALUE;
		}
		if (frame->len == frame->limits->len) {
			g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC,
				    "JSON value is longer than the limit of %zu bytes",
				    frame->limits->len);
			return QMP_FRAME_ERROR;
		}
		frame->len++;
		at++;
		result = frame_byte(frame, c, error);
		if (result == QMP_FRAME_ERROR)
			return result;
		if (result == QMP_FRAME_VALUE) {
			*ret_used = at;
			return result;
		}
	}
	*ret_used = at;
	return QMP_FRAME_MORE;
}

QmpFrameResult qmp_frame_end(QmpFrame *frame, GError **error)
{
	if (frame->state == FRAME_BETWEEN)
		return QMP_FRAME_MORE;
	if (frame->state == FRAME_SCALAR) {
		frame->state = FRAME_BETWEEN;
		return QMP_FRAME_VALUE;
	}
	g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC,
		    "JSON parse error, the input ends inside a value");
	return QMP_FRAME_ERROR;
}
