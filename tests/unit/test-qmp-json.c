/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON from a stream: where values end, what is refused and when, exact numbers, writing back. */
#include "qmp/qmp_error.h"
#include "qmp/qmp_json.h"

#include <string.h>

static const QmpJsonLimits limits = { .len = 200, .depth = 8, .members = 5, .values = 40 };

/* All values of TEXT, fed PIECE bytes at a time, separated by '|'; '!' ends it at an error. */
static char *frames_of(const char *text, size_t len, size_t piece, bool end)
{
	GString *out = g_string_new(NULL);
	GString *buf = g_string_new(NULL);
	QmpFrameResult result = QMP_FRAME_MORE;
	QmpFrame frame;
	size_t at = 0;

	qmp_frame_init(&frame, &limits);
	while (at < len && result != QMP_FRAME_ERROR) {
		size_t n = MIN(piece, len - at), used = 0;
		g_autofree char *exact = g_memdup2(text + at, n);

		result = qmp_frame_feed(&frame, exact, n, &used, NULL);
		if (result == QMP_FRAME_ERROR)
			break;
		g_string_append_len(buf, exact, (gssize)used);
		at += used;
		if (result == QMP_FRAME_VALUE) {
			g_assert_cmpuint(frame.len, >, 0);
			g_string_append_printf(out, "%.*s|", (int)frame.len,
					       buf->str + buf->len - frame.len);
		} else {
			g_assert_cmpuint(used, ==, n);
		}
	}
	if (result != QMP_FRAME_ERROR && end) {
		result = qmp_frame_end(&frame, NULL);
		if (result == QMP_FRAME_VALUE)
			g_string_append_printf(out, "%.*s|", (int)frame.len,
					       buf->str + buf->len - frame.len);
	}
	if (result == QMP_FRAME_ERROR)
		g_string_append_c(out, '!');
	g_string_free(buf, TRUE);
	return g_string_free(out, FALSE);
}

static void test_frames(void)
{
	static const struct {
		const char *text, *values;
	} cases[] = {
		{ "{}", "{}|" },
		{ " \r\n\t{} ", "{}|" },
		{ "{}{}[]", "{}|{}|[]|" },
		{ "{\"a\": [1, {}]}\n{'b': 2}", "{\"a\": [1, {}]}|{'b': 2}|" },
		{ "\"a}b\" 12 true", "\"a}b\"|12|true|" },
		{ "12{}", "12|{}|" },
		{ "\"\\\"{\"{}", "\"\\\"{\"|{}|" },
		{ "{'\"': 1}{\"'\": 1}", "{'\"': 1}|{\"'\": 1}|" },
		{ "{\"\\\\\": 1}{}", "{\"\\\\\": 1}|{}|" },
		{ "[}", "[}|" }, /* the parser's to refuse */
		{ "null", "null|" },
		{ "[1,2", "!" },
		{ "{\"a", "!" },
		{ "\"\\", "!" },
		{ "}", "!" },
		{ "{} ]", "{}|!" },
		{ "{} ,", "{}|!" },
		{ "{};", "{}|!" },
		{ "{(}", "!" },
		{ "{/**/}", "!" },
		{ "[\x01]", "!" },
		{ "[\x7f]", "!" },
		{ "\"\n\"", "!" },
		{ "\"\x1f\"", "!" },
		{ "\"\\x\"", "!" },
		{ "\xff", "!" },
		{ "[\xc3\xa9]", "!" }, /* fine, but not outside of a string */
		{ "\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"",
		  "\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"|" },
		{ "\"\xf4\x8f\xbf\xbf\"", "\"\xf4\x8f\xbf\xbf\"|" },
		{ "\"\xf4\x90\x80\x80\"", "!" }, /* beyond U+10FFFF */
		{ "\"\xf5\x80\x80\x80\"", "!" },
		{ "\"\xc0\x80\"", "!" }, /* overlong */
		{ "\"\xc1\xbf\"", "!" },
		{ "\"\xe0\x9f\xbf\"", "!" },
		{ "\"\xf0\x8f\xbf\xbf\"", "!" },
		{ "\"\xed\xa0\x80\"", "!" }, /* a surrogate */
		{ "\"\x80\"", "!" },
		{ "\"\xc3\"", "!" },
		{ "\"\xc3(\"", "!" },
		{ "\"\xe2\x82\"", "!" },
		{ "\"\\\xc3\xa9\"", "!" },
		{ "[[[[[[[[]]]]]]]]", "[[[[[[[[]]]]]]]]|" },
		{ "[[[[[[[[[", "!" },
		{ "[][][][][][][][][]", "[]|[]|[]|[]|[]|[]|[]|[]|[]|" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		size_t len = strlen(cases[i].text);

		for (size_t piece = 1; piece <= len; piece++) {
			g_autofree char *got = frames_of(cases[i].text, len, piece, true);

			g_assert_cmpstr(got, ==, cases[i].values);
		}
	}
}

/* Refused with the byte that makes it hopeless, not when the value ends. */
static void test_frames_early(void)
{
	static const char *const hopeless[] = {
		"{\"a\": \"\xff", "{;", "[[[[[[[[[", "\"\x01", "{\"a\": \"\\q",
	};
	g_autofree char *nul = frames_of("{\0", 2, 1, false);
	g_autofree char *nul_string = frames_of("\"\0", 2, 1, false);

	for (unsigned i = 0; i < G_N_ELEMENTS(hopeless); i++) {
		size_t len = strlen(hopeless[i]);
		g_autofree char *before = frames_of(hopeless[i], len - 1, 1, false);
		g_autofree char *at = frames_of(hopeless[i], len, 1, false);

		g_assert_cmpstr(before, ==, "");
		g_assert_cmpstr(at, ==, "!");
	}
	g_assert_cmpstr(nul, ==, "!");
	g_assert_cmpstr(nul_string, ==, "!");
}

static void test_frame_length(void)
{
	g_autofree char *fits = g_strnfill(limits.len, 'x');
	g_autofree char *spaces = g_strnfill(10 * limits.len, ' ');
	g_autofree char *longer = NULL;
	g_autofree char *got = NULL;
	g_autofree char *got_longer = NULL;
	g_autofree char *got_spaces = NULL;

	fits[0] = fits[limits.len - 1] = '"';
	longer = g_strdup_printf("\"x%s", fits + 1);
	got = frames_of(fits, limits.len, 7, true);
	got_longer = frames_of(longer, limits.len + 1, 7, true);
	/* White space between values is of no value's length. */
	got_spaces = frames_of(spaces, 10 * limits.len, 7, true);
	g_assert_cmpuint(strlen(got), ==, limits.len + 1);
	g_assert_cmpstr(got_longer, ==, "!");
	g_assert_cmpstr(got_spaces, ==, "");
}

/* ---- reading and writing ---- */

static void test_round_trip(void)
{
	static const struct {
		const char *text, *written; /* NULL: as it was */
	} cases[] = {
		{ "{}", NULL },
		{ "[]", NULL },
		{ "null", NULL },
		{ "true", NULL },
		{ "[false, null, \"\", 0, {}]", NULL },
		{ "{\"b\": 1, \"a\": {\"x\": [[], {}]}}", NULL },
		{ " [ 1 ,2,\t3\r\n] ", "[1, 2, 3]" },
		{ "{'a': 'it\\'s \"so\"'}", "{\"a\": \"it's \\\"so\\\"\"}" },
		{ "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\"" },
		{ "\"\\u00e9\\u20ac\\ud83d\\ude00\"", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"" },
		{ "\"\\u001F\\u007f\"", "\"\\u001f\\u007f\"" },
		{ "0", NULL },
		{ "-0", "0" },
		{ "-1", NULL },
		{ "9223372036854775807", NULL },
		{ "-9223372036854775808", NULL },
		{ "9223372036854775808", NULL },
		{ "18446744073709551615", NULL },
		{ "[18446744073709551615, -1]", NULL },
		{ "18446744073709551616", "18446744073709551616.0" },
		{ "-9223372036854775809", "-9223372036854775808.0" },
		{ "1.5", NULL },
		{ "1.0", NULL },
		{ "1e2", "100.0" },
		{ "-2.5E-1", "-0.25" },
		{ "1E+2", "100.0" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		const char *want = cases[i].written ? cases[i].written : cases[i].text;
		g_autoptr(GString) out = g_string_new(NULL);
		g_autoptr(JsonNode) node = NULL;
		GError *error = NULL;

		node = qmp_json_parse(cases[i].text, strlen(cases[i].text), &limits, &error);
		g_assert_no_error(error);
		qmp_json_append(out, node);
		if (strstr(want, "744073709551616.0") || strstr(want, "854775808.0"))
			g_assert_cmpfloat(json_node_get_double(node), ==, strtod(want, NULL));
		else
			g_assert_cmpstr(out->str, ==, want);
	}
}

static void test_refused(void)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "", "expecting value" },
		{ " ", "expecting value" },
		{ "[1, 2", "expected ','" },
		{ "[1 2]", "expected ','" },
		{ "[1,]", "expecting value" },
		{ "[,1]", "expecting value" },
		{ "[}", "expecting value" },
		{ "{]", "name of a member" },
		{ "{\"a\"}", "missing :" },
		{ "{\"a\": }", "expecting value" },
		{ "{\"a\": 1,}", "name of a member" },
		{ "{a: 1}", "name of a member" },
		{ "{1: 1}", "name of a member" },
		{ "{\"a\": 1 \"b\": 2}", "expected ','" },
		{ "{\"a\": 1, \"a\": 2}", "duplicate key 'a'" },
		{ "{\"a\": 1, \"\\u0061\": 2}", "duplicate key 'a'" },
		{ "{} {}", "behind the value" },
		{ "tru", "invalid keyword 'tru'" },
		{ "True", "invalid keyword 'True'" },
		{ "NaN", "invalid keyword" },
		{ "01", "invalid number" },
		{ "1.", "invalid number" },
		{ ".5", "expecting value" },
		{ "+1", "expecting value" },
		{ "-", "invalid number" },
		{ "1e", "invalid number" },
		{ "0x10", "invalid number" },
		{ "1e999", "out of range" },
		{ "-1e999", "out of range" },
		{ "\"\\u12\"", "hex escape" },
		{ "\"\\u12g4\"", "hex escape" },
		{ "\"\\u0000\"", "\\u0000" },
		{ "\"\\ud800\"", "surrogate" },
		{ "\"\\ud800\\u0041\"", "surrogate" },
		{ "\"\\udc00\"", "surrogate" },
		{ "\"\\udc00\\ud800\"", "surrogate" },
		{ "\"\\ud800\\n\"", "surrogate" },
		{ "\"\\x\"", "escape" },
		{ "\"a", "ends inside a string" },
		{ "\"\n\"", "control character" },
		{ "\"\xc3\"", "UTF-8" },
		{ "[[[[[[[[[]]]]]]]]]", "deeper than 8" },
		{ "{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1}", "more than 5 members" },
		{ "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"
		  "1,1,1,1]",
		  "more than 40 values" },
	};
	g_autofree char *huge = g_strnfill(limits.len + 1, ' ');
	GError *error = NULL;

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		size_t len = strlen(cases[i].text);
		g_autofree char *exact = g_memdup2(cases[i].text, MAX(len, 1));

		g_assert_null(qmp_json_parse(exact, len, &limits, &error));
		g_assert_error(error, QMP_ERROR, QMP_ERROR_GENERIC);
		if (!strstr(error->message, cases[i].why))
			g_error("%s: %s, not %s", cases[i].text, error->message, cases[i].why);
		g_clear_error(&error);
	}
	g_assert_null(qmp_json_parse("\"a\0b\"", 5, &limits, &error));
	g_clear_error(&error);
	g_assert_null(qmp_json_parse(huge, limits.len + 1, &limits, &error));
	g_clear_error(&error);
	g_assert_null(qmp_json_parse("[", 1, &limits, NULL));
}

static void test_integers(void)
{
	static const struct {
		const char *text;
		bool is_u64, is_i64;
		uint64_t u64;
		int64_t i64;
	} cases[] = {
		{ "0", true, true, 0, 0 },
		{ "-1", false, true, 0, -1 },
		{ "9223372036854775807", true, true, G_MAXINT64, G_MAXINT64 },
		{ "9223372036854775808", true, false, UINT64_C(1) << 63, 0 },
		{ "18446744073709551615", true, false, G_MAXUINT64, 0 },
		{ "-9223372036854775808", false, true, 0, G_MININT64 },
		{ "18446744073709551616", false, false, 0, 0 },
		{ "1.0", false, false, 0, 0 },
		{ "\"1\"", false, false, 0, 0 },
		{ "true", false, false, 0, 0 },
		{ "null", false, false, 0, 0 },
		{ "[1]", false, false, 0, 0 },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(JsonNode)
			node = qmp_json_parse(cases[i].text, strlen(cases[i].text), &limits, NULL);
		uint64_t u64 = 0;
		int64_t i64 = 0;

		g_assert_nonnull(node);
		g_assert_cmpint(qmp_json_get_u64(node, &u64), ==, cases[i].is_u64);
		g_assert_cmpint(qmp_json_get_i64(node, &i64), ==, cases[i].is_i64);
		g_assert_cmpuint(u64, ==, cases[i].u64);
		g_assert_cmpint(i64, ==, cases[i].i64);
	}
}

static void test_text(void)
{
	QmpText text = { .out = g_string_new(NULL) };

	qmp_text_begin(&text, NULL, '{');
	qmp_text_begin(&text, "empty", '[');
	qmp_text_end(&text, ']');
	qmp_text_begin(&text, "list", '[');
	qmp_text_u64(&text, NULL, G_MAXUINT64);
	qmp_text_i64(&text, NULL, G_MININT64);
	qmp_text_begin(&text, NULL, '{');
	qmp_text_end(&text, '}');
	qmp_text_end(&text, ']');
	qmp_text_string(&text, "s\"", "a\nb");
	qmp_text_string(&text, "none", NULL);
	qmp_text_null(&text, "null");
	qmp_text_bool(&text, "yes", true);
	qmp_text_end(&text, '}');
	g_assert_cmpstr(text.out->str, ==,
			"{\"empty\": [], \"list\": [18446744073709551615, "
			"-9223372036854775808, {}], \"s\\\"\": \"a\\nb\", \"none\": null, "
			"\"null\": null, \"yes\": true}");
	g_string_free(text.out, TRUE);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/qmp/json/frames", test_frames);
	g_test_add_func("/unit/qmp/json/frames-early", test_frames_early);
	g_test_add_func("/unit/qmp/json/frame-length", test_frame_length);
	g_test_add_func("/unit/qmp/json/round-trip", test_round_trip);
	g_test_add_func("/unit/qmp/json/refused", test_refused);
	g_test_add_func("/unit/qmp/json/integers", test_integers);
	g_test_add_func("/unit/qmp/json/text", test_text);
	return g_test_run();
}
