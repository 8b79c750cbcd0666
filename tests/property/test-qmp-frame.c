/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random JSON values, written down in any legal way, concatenated and cut anywhere, come out as
 * they went in; the same with bytes changed never passes the limits or misbehaves. --seed repeats.
 */
#include "qmp/qmp_error.h"
#include "qmp/qmp_json.h"

#include <string.h>

#define N_STREAMS 3000

static uint32_t pick(uint32_t n)
{
	return (uint32_t)g_test_rand_int() % n;
}

static void random_space(GString *out)
{
	for (unsigned n = pick(3); n > 0; n--)
		g_string_append_c(out, " \t\r\n"[pick(4)]);
}

/* ---- values: written with much freedom, and once more the way we write them ---- */

static void random_string(GString *out, GString *plain)
{
	static const gunichar chars[] = { 'a',   'z',    '"',    '\'',    '\\',    '/',  '{',
					  ']',   ' ',    ',',    ':',     0x7f,    0x80, 0x7ff,
					  0x800, 0xd7ff, 0xe000, 0xfffd,  0x10000, '\n', '\t',
					  0x01,  0x1f,   0xe9,   0x10ffff };
	g_autoptr(GString) text = g_string_new(NULL);
	char quote = pick(4) == 0 ? '\'' : '"';

	g_string_append_c(out, quote);
	for (unsigned n = pick(12); n > 0; n--) {
		gunichar c = chars[pick(G_N_ELEMENTS(chars))];
		bool must = c < 0x20 || c == '\\' || c == (gunichar)quote;

		g_string_append_unichar(text, c);
		if (must || pick(4) == 0) {
			if (c >= 0x10000)
				g_string_append_printf(out, "\\u%04x\\u%04X",
						       0xd800 + ((c - 0x10000) >> 10),
						       0xdc00 + ((c - 0x10000) & 0x3ff));
			else
				g_string_append_printf(out, "\\u%04x", c);
		} else {
			g_string_append_unichar(out, c);
		}
	}
	g_string_append_c(out, quote);
	qmp_json_append_string(plain, text->str);
}

static void random_scalar(GString *out, GString *plain)
{
	static const char *const scalars[] = {
		"0",    "1",     "-1",    "9223372036854775807",  "9223372036854775808",
		"true", "null",  "false", "18446744073709551615", "-9223372036854775808",
		"1.5",  "-0.25",
	};
	const char *scalar = scalars[pick(G_N_ELEMENTS(scalars))];

	g_string_append(out, scalar);
	g_string_append(plain, scalar);
}

static void random_value(GString *out, GString *plain, unsigned depth)
{
	unsigned kind = pick(depth < 5 ? 5 : 2);
	unsigned n = pick(4);

	if (kind == 0) {
		random_scalar(out, plain);
		return;
	}
	if (kind == 1) {
		random_string(out, plain);
		return;
	}
	g_string_append_c(out, kind == 2 ? '[' : '{');
	g_string_append_c(plain, kind == 2 ? '[' : '{');
	random_space(out);
	for (unsigned i = 0; i < n; i++) {
		if (i > 0) {
			g_string_append_c(out, ',');
			g_string_append(plain, ", ");
			random_space(out);
		}
		if (kind != 2) {
			g_string_append_printf(out, "\"m%u\"", i);
			g_string_append_printf(plain, "\"m%u\": ", i);
			random_space(out);
			g_string_append_c(out, ':');
			random_space(out);
		}
		random_value(out, plain, depth + 1);
		random_space(out);
	}
	g_string_append_c(out, kind == 2 ? ']' : '}');
	g_string_append_c(plain, kind == 2 ? ']' : '}');
}

/* ---- the stream, cut anywhere ---- */

typedef struct Reader {
	QmpFrame frame;
	GByteArray *rx;
	GString *seen; /* what we write of what came, a line each */
	bool failed;
} Reader;

static void reader_take(Reader *reader, guint end)
{
	const char *text = (const char *)reader->rx->data + end - reader->frame.len;
	g_autofree char *exact = g_memdup2(text, reader->frame.len);
	g_autoptr(JsonNode) node = NULL;

	g_assert_cmpuint(reader->frame.len, <=, qmp_json_request_limits.len);
	node = qmp_json_parse(exact, reader->frame.len, &qmp_json_request_limits, NULL);
	if (!node) {
		reader->failed = true;
		return;
	}
	qmp_json_append(reader->seen, node);
	g_string_append_c(reader->seen, '\n');
}

static void reader_feed(Reader *reader, const char *data, size_t len)
{
	g_autofree char *exact = g_memdup2(data, len);
	size_t at = 0;

	while (at < len && !reader->failed) {
		size_t used = 0;
		g_autoptr(GError) error = NULL;
		QmpFrameResult result = qmp_frame_feed(&reader->frame, exact + at, len - at, &used,
						       &error);

		if (result == QMP_FRAME_ERROR) {
			g_assert_error(error, QMP_ERROR, QMP_ERROR_GENERIC);
			reader->failed = true;
			return;
		}
		g_byte_array_append(reader->rx, (const guint8 *)exact + at, (guint)used);
		at += used;
		if (result == QMP_FRAME_VALUE)
			reader_take(reader, reader->rx->len);
	}
}

static void reader_run(Reader *reader, const char *data, size_t len)
{
	*reader = (Reader){ .rx = g_byte_array_new(), .seen = g_string_new(NULL) };
	qmp_frame_init(&reader->frame, &qmp_json_request_limits);
	for (size_t at = 0, n; at < len && !reader->failed; at += n) {
		n = 1 + pick(pick(3) ? 8 : 200);
		n = MIN(n, len - at);
		reader_feed(reader, data + at, n);
	}
	if (!reader->failed && qmp_frame_end(&reader->frame, NULL) == QMP_FRAME_VALUE)
		reader_take(reader, reader->rx->len);
}

static void reader_clear(Reader *reader)
{
	g_byte_array_unref(reader->rx);
	g_string_free(reader->seen, TRUE);
}

static GString *random_stream(GString *plain)
{
	GString *stream = g_string_new(NULL);

	for (unsigned n = 1 + pick(6); n > 0; n--) {
		random_space(stream);
		random_value(stream, plain, 0);
		g_string_append_c(plain, '\n');
		/* Or "12" and "3" were 123. */
		g_string_append_c(stream, ' ');
	}
	return stream;
}

static void test_split(void)
{
	for (unsigned i = 0; i < N_STREAMS; i++) {
		g_autoptr(GString) plain = g_string_new(NULL);
		g_autoptr(GString) stream = random_stream(plain);
		Reader reader;

		reader_run(&reader, stream->str, stream->len);
		if (reader.failed || strcmp(reader.seen->str, plain->str) != 0)
			g_error("stream %s\ncame as %s\nnot %s", stream->str, reader.seen->str,
				plain->str);
		reader_clear(&reader);
	}
}

static void test_spoiled(void)
{
	unsigned n_failed = 0;

	for (unsigned i = 0; i < N_STREAMS; i++) {
		g_autoptr(GString) plain = g_string_new(NULL);
		g_autoptr(GString) stream = random_stream(plain);
		Reader reader;

		for (unsigned n = 1 + pick(3); n > 0 && stream->len > 0; n--) {
			gsize at = pick((uint32_t)stream->len);

			if (pick(3) == 0)
				g_string_erase(stream, (gssize)at, 1);
			else if (pick(2) == 0)
				g_string_insert_c(stream, (gssize)at, "{}[]\",:\\'"[pick(9)]);
			else
				stream->str[at] = (char)pick(256);
		}
		reader_run(&reader, stream->str, stream->len);
		n_failed += reader.failed;
		reader_clear(&reader);
	}
	/* Else the spoiling does not spoil. */
	g_assert_cmpuint(n_failed, >, N_STREAMS / 4);
	g_test_message("%u of %u streams refused", n_failed, N_STREAMS);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/property/qmp/frame/split", test_split);
	g_test_add_func("/property/qmp/frame/spoiled", test_spoiled);
	return g_test_run();
}
