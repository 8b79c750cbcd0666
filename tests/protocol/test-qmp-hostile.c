/* SPDX-License-Identifier: BSD-3-Clause */
/* QMP server against clients that mean harm: what is not QMP gets an error and the end. */
#include "../unit/processes.h"
#include "qmp_fixture.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define EXECUTE(name) "{\"execute\": \"" name "\"}"
#define N_CONNECTS    10000

static uint64_t resident_len(void)
{
	g_autofree char *text = NULL;
	unsigned long total, pages;

	g_assert_true(g_file_get_contents("/proc/self/statm", &text, NULL, NULL));
	g_assert_cmpint(sscanf(text, "%lu %lu", &total, &pages), ==, 2);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void expect_serves(QmpFixture *fixture)
{
	g_autoptr(RawQmp) raw = raw_qmp_negotiated(fixture);

	raw_qmp_send(raw, EXECUTE("nothing"));
	raw_qmp_expect(raw, "{\"return\": {}}");
}

/* Each is sent whole; the client neither half-closes nor sends more. */
static void test_malformed(void)
{
	static const struct {
		const char *input;
		size_t len; /* 0 = strlen */
		const char *desc;
	} cases[] = {
		{ "hello\n", 0, "invalid keyword 'hello'" },
		{ "GET / HTTP/1.1\r\n\r\n", 0, "invalid keyword 'GET'" },
		{ "}", 0, "stray '}'" },
		{ "{]", 0, "name of a member" },
		{ "{\"execute\": \"nothing\",}", 0, "name of a member" },
		{ "{\"execute\": \"nothing\" \"id\": 1}", 0, "expected ','" },
		{ "{\"execute\" \"nothing\"}", 0, "missing :" },
		{ "{execute: \"nothing\"}", 0, "name of a member" },
		{ "{\"execute\": nothing}", 0, "invalid keyword 'nothing'" },
		{ "{\"execute\": \"nothing\", \"execute\": \"nothing\"}", 0, "duplicate key" },
		{ "{\"execute\": \"nothing\", \"id\": 01}", 0, "invalid number" },
		{ "{\"execute\": \"nothing\", \"id\": 1e999}", 0, "out of range" },
		{ "{\"execute\": \"nothing\", \"id\": \"\\ud800\"}", 0, "surrogate" },
		{ "{\"execute\": \"nothing\", \"id\": \"\\u0000\"}", 0, "\\u0000" },
		{ "{\"execute\": \"not\x01", 0, "control character 0x01" },
		{ "{\"execute\": \"not\0hing\"}", 24, "control character 0x00" },
		{ "\0", 1, "stray byte 0x00" },
		{ "{\0", 2, "stray byte 0x00" },
		{ "{\"execute\": \"\\x", 0, "escape" },
		{ "{\"execute\": \"\xff", 0, "UTF-8" },
		{ "{\"execute\": \"\xc0\x80\"}", 0, "UTF-8" },
		{ "{\"execute\": \"\xed\xa0\x80\"}", 0, "UTF-8" },
		{ "\xff\xff\xff\xff", 0, "stray byte 0xff" },
		{ "\xef\xbb\xbf{}", 0, "stray byte 0xef" },
		{ "{\"execute\": \"nothing\"; ", 0, "stray ';'" },
		{ "{\"execute\": %s}", 0, "stray '%'" },
		{ "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", 0,
		  "nesting depth limit of 64" },
		{ "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{"
		  "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
		  0, "nesting depth limit of 64" },
	};
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) other = raw_qmp_negotiated(fixture);

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		size_t len = cases[i].len ? cases[i].len : strlen(cases[i].input);
		g_autoptr(RawQmp) raw = raw_qmp_negotiated(fixture);
		g_autoptr(RawQmp) fresh = raw_qmp_new(fixture);

		raw_qmp_greeted(fresh);
		/* Negotiated or not, behind something good or not. */
		raw_qmp_send(raw, "{\"execute\": \"echo\", \"arguments\": {\"value\": 1}} ");
		raw_qmp_send_len(raw, cases[i].input, len);
		raw_qmp_send_len(fresh, cases[i].input, len);
		raw_qmp_expect(raw, "{\"return\": 1}");
		raw_qmp_expect_error(raw, "GenericError", cases[i].desc);
		raw_qmp_expect_closed(raw);
		raw_qmp_expect_error(fresh, "GenericError", cases[i].desc);
		raw_qmp_expect_closed(fresh);
	}
	raw_qmp_send(other, EXECUTE("nothing"));
	raw_qmp_expect(other, "{\"return\": {}}");
	qmp_fixture_wait_clients(fixture, 1);
}

static void test_cut_short(void)
{
	static const char *const inputs[] = { "{", "\"", "{\"execute\": \"nothing\"", "[\"\\" };
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);

	for (unsigned i = 0; i < G_N_ELEMENTS(inputs); i++) {
		g_autoptr(RawQmp) raw = raw_qmp_negotiated(fixture);

		raw_qmp_send(raw, inputs[i]);
		shutdown(raw->fd, SHUT_WR);
		raw_qmp_expect_error(raw, "GenericError", "the input ends inside a value");
		raw_qmp_expect_closed(raw);
	}
}

/* Sends HEAD, then FILL again and again; LEN bytes or until it is not taken any more. */
static void flood(RawQmp *raw, const char *head, const char *fill, size_t len)
{
	g_autoptr(GString) chunk = g_string_new(NULL);

	while (chunk->len < 1 << 20)
		g_string_append(chunk, fill);
	raw_qmp_send(raw, head);
	for (size_t sent = 0; sent < len; sent += chunk->len) {
		if (!raw_qmp_send_len(raw, chunk->str, chunk->len))
			break;
	}
}

static void test_floods(void)
{
	static const struct {
		const char *head, *fill, *desc;
	} cases[] = {
		{ "\"", "x", "longer than the limit of 1048576 bytes" },
		{ "{\"execute\": \"", "xyz ", "longer than the limit of 1048576 bytes" },
		{ "1", "1", "longer than the limit of 1048576 bytes" },
		{ "[", "1, ", "longer than the limit of 1048576 bytes" },
		{ "{", " ", "longer than the limit of 1048576 bytes" },
		{ "[", "[", "nesting depth limit of 64" },
		{ "{\"a\": ", "{\"a\": ", "nesting depth limit of 64" },
	};
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	uint64_t before = resident_len();

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(RawQmp) raw = raw_qmp_negotiated(fixture);

		flood(raw, cases[i].head, cases[i].fill, 100 << 20);
		raw_qmp_expect_error(raw, "GenericError", cases[i].desc);
		raw_qmp_expect_closed(raw);
		expect_serves(fixture);
	}
	qmp_fixture_wait_clients(fixture, 0);
	g_assert_cmpuint(resident_len(), <, before + (64 << 20));
}

/* White space is no value, however much of it there is. */
static void test_white_space(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) raw = raw_qmp_negotiated(fixture);
	uint64_t before = resident_len();

	flood(raw, "", " \t\r\n", 50 << 20);
	raw_qmp_send(raw, EXECUTE("nothing"));
	raw_qmp_expect(raw, "{\"return\": {}}");
	g_assert_cmpuint(resident_len(), <, before + (32 << 20));
}

/* Within the limit, but made to cost time or memory. */
static void test_expensive(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(GString) list = g_string_new("[0");
	g_autoptr(GString) members = g_string_new("{\"x\": 0");
	g_autoptr(GString) digits = g_string_new("1");
	GString *const values[] = { list, members, digits };
	static const char *const descs[] = { "more than 131072 values", "more than 256 members",
					     "out of range" };

	while (list->len < 1000000)
		g_string_append(list, ",0");
	g_string_append_c(list, ']');
	/* Names that collide in the usual string hash. */
	for (unsigned i = 0; members->len < 1000000; i++) {
		g_string_append(members, ", \"");
		for (unsigned bit = 0; bit < 16; bit++)
			g_string_append(members, (i >> bit & 1) != 0 ? "Ez" : "FY");
		g_string_append(members, "\": 0");
	}
	g_string_append_c(members, '}');
	while (digits->len < 1000000)
		g_string_append_c(digits, '7');
	for (unsigned i = 0; i < G_N_ELEMENTS(values); i++) {
		g_autoptr(RawQmp) raw = raw_qmp_negotiated(fixture);
		g_autofree char *request = g_strdup_printf("{\"execute\": \"nothing\", \"id\": %s}",
							   values[i]->str);
		int64_t start_us = g_get_monotonic_time();

		g_assert_true(raw_qmp_send(raw, request));
		raw_qmp_expect_error(raw, "GenericError", descs[i]);
		raw_qmp_expect_closed(raw);
		/* Generous for sanitizers; what it guards against takes minutes. */
		g_assert_cmpint(g_get_monotonic_time() - start_us, <, 10 * G_TIME_SPAN_SECOND);
	}
}

/* The largest request that is taken, and an id as long comes back whole. */
static void test_largest(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) raw = raw_qmp_negotiated(fixture);
	const size_t around = strlen("{\"execute\": \"nothing\", \"id\": \"\"}");
	g_autofree char *id = g_strnfill((1 << 20) - around, 'i');
	g_autofree char *request = g_strdup_printf("{\"execute\": \"nothing\", \"id\": \"%s\"}",
						   id);
	g_autofree char *answer = g_strdup_printf("{\"return\": {}, \"id\": \"%s\"}", id);

	g_assert_cmpuint(strlen(request), ==, 1 << 20);
	for (unsigned i = 0; i < 5; i++) {
		g_assert_true(raw_qmp_send(raw, request));
		raw_qmp_expect(raw, answer);
	}
	/* One byte more is too much. */
	g_free(request);
	request = g_strdup_printf("{\"execute\": \"nothing\", \"id\": \"%sx\"}", id);
	raw_qmp_send(raw, request);
	raw_qmp_expect_error(raw, "GenericError", "longer than the limit");
	raw_qmp_expect_closed(raw);
}

/* ---- coming and going ---- */

static void one_visit(QmpFixture *fixture, unsigned kind)
{
	RawQmp *raw = raw_qmp_new(fixture);

	switch (kind % 8) {
	case 0: /* at once */
		break;
	case 1:
		g_free(raw_qmp_line(raw));
		break;
	case 2:
		raw_qmp_send(raw, "{\"execute\": \"qmp_capab");
		break;
	case 3:
		raw_qmp_send(raw, EXECUTE("qmp_capabilities") EXECUTE("nothing"));
		break;
	case 4:
		raw_qmp_send(raw, EXECUTE("qmp_capabilities") EXECUTE("hold") EXECUTE("nothing"));
		break;
	case 5:
		raw_qmp_send(raw, "rubbish\n");
		break;
	case 6:
		g_free(raw_qmp_line(raw));
		raw_qmp_send(raw, EXECUTE("qmp_capabilities"));
		raw_qmp_expect(raw, "{\"return\": {}}");
		break;
	default:
		shutdown(raw->fd, SHUT_RD);
		raw_qmp_send(raw, EXECUTE("qmp_capabilities") EXECUTE("query-commands"));
		break;
	}
	raw_qmp_free(raw);
}

static void let_go(QmpFixture *fixture)
{
	g_autoptr(RawQmp) raw = raw_qmp_negotiated(fixture);

	raw_qmp_send(raw, EXECUTE("let-go"));
	raw_qmp_expect(raw, "{\"return\": {}}");
}

/* Until every client of the visits is gone; those that hold a call are let go. */
static void settle(QmpFixture *fixture)
{
	int64_t until_us = g_get_monotonic_time() + 60 * G_TIME_SPAN_SECOND;

	while (qmp_fixture_n_clients(fixture) > 0) {
		g_assert_cmpint(g_get_monotonic_time(), <, until_us);
		let_go(fixture);
	}
}

static void test_connects(void)
{
	const QmpServerConfig config = { .max_clients = 512 };
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(&config);
	uint64_t before_len = 0, after_len;
	unsigned before_fds = 0;

	for (unsigned i = 0; i < N_CONNECTS; i++) {
		/* What the first tenth takes is a warm allocator's. */
		if (i == N_CONNECTS / 10) {
			settle(fixture);
			before_fds = count_fds();
			before_len = resident_len();
		}
		one_visit(fixture, i);
		if (i % 256 == 255)
			let_go(fixture);
	}
	settle(fixture);
	after_len = resident_len();
	g_test_message("%u connects: %" G_GUINT64_FORMAT " -> %" G_GUINT64_FORMAT " KiB",
		       N_CONNECTS, before_len >> 10, after_len >> 10);
	g_assert_cmpuint(count_fds(), ==, before_fds);
#ifndef __SANITIZE_ADDRESS__ /* which keeps back what was freed */
	g_assert_cmpuint(after_len, <, before_len + (2 << 20));
#endif
	expect_serves(fixture);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/qmp/hostile/malformed", test_malformed);
	g_test_add_func("/protocol/qmp/hostile/cut-short", test_cut_short);
	g_test_add_func("/protocol/qmp/hostile/floods", test_floods);
	g_test_add_func("/protocol/qmp/hostile/white-space", test_white_space);
	g_test_add_func("/protocol/qmp/hostile/expensive", test_expensive);
	g_test_add_func("/protocol/qmp/hostile/largest", test_largest);
	g_test_add_func("/protocol/qmp/hostile/connects", test_connects);
	return g_test_run();
}
