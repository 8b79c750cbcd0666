/* SPDX-License-Identifier: BSD-3-Clause */
/* Random bytes, and requests randomly spoiled, in pieces, at a QMP server; --seed repeats a run. */
#include "qmp_fixture.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define N_RANDOM  2000
#define N_SPOILED 30000

static const char *const corpus[] = {
	"{\"execute\": \"qmp_capabilities\"}",
	"{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": [\"oob\"]}}",
	"{\"execute\": \"nothing\", \"id\": {\"a\": [1, 2.5, null, \"\\ud83d\\ude00\"]}}",
	"{'execute': 'echo', 'arguments': {'value': [18446744073709551615]}, 'id': '\\''}\r\n",
	"{\"execute\": \"number\", \"arguments\": {\"value\": 9223372036854775808}}",
	"{\"execute\": \"fill\", \"arguments\": {\"len\": 3000}}",
	"{\"execute\": \"hold\"}",
	"{\"execute\": \"let-go\"} ",
	"{\"execute\": \"fail\", \"arguments\": {\"class\": \"DeviceNotFound\"}}",
	"{\"execute\": \"query-commands\"}\n{\"execute\": \"query-version\"}\n",
	"[[[[[[[[]]]]]]]] 12 true \"\xc3\xa9\" ",
};

static uint32_t pick(uint32_t n)
{
	return (uint32_t)g_test_rand_int() % n;
}

static void expect_serves(QmpFixture *fixture)
{
	g_autoptr(RawQmp) raw = raw_qmp_negotiated(fixture);

	raw_qmp_send(raw, "{\"execute\": \"let-go\"}");
	raw_qmp_expect(raw, "{\"return\": {}}");
}

/* All it says, until it closes, must be JSON, a message a line. */
static void check_said(QmpFixture *fixture, RawQmp *raw)
{
	for (;;) {
		struct pollfd state = { .fd = raw->fd, .events = POLLIN };
		g_autoptr(JsonNode) node = NULL;
		g_autofree char *line = NULL;
		JsonObject *object;

		/* It may hold calls, one behind the other. */
		while (!strstr(raw->rx->str, "\r\n") && poll(&state, 1, 10) == 0)
			expect_serves(fixture);
		line = raw_qmp_line(raw);
		if (!line)
			return;
		node = json_from_string(line, NULL);
		if (!node || !JSON_NODE_HOLDS_OBJECT(node))
			g_error("said: %s", line);
		object = json_node_get_object(node);
		g_assert_true(json_object_has_member(object, "QMP") ||
			      json_object_has_member(object, "return") ||
			      json_object_has_member(object, "error"));
	}
}

static void test_random(void)
{
	static const char syntax[] = "{}[]\",:' \\";
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);

	for (unsigned i = 0; i < N_RANDOM; i++) {
		g_autoptr(RawQmp) raw = raw_qmp_new(fixture);
		uint8_t bytes[300];
		size_t len = 1 + pick(sizeof(bytes));

		for (size_t at = 0; at < len; at++)
			bytes[at] = pick(2) ? (uint8_t)pick(256) : (uint8_t)syntax[pick(10)];
		raw_qmp_send_len(raw, bytes, len);
		shutdown(raw->fd, SHUT_WR);
		check_said(fixture, raw);
	}
	expect_serves(fixture);
	qmp_fixture_wait_clients(fixture, 0);
}

static void spoil(GString *bytes)
{
	gsize at = pick((uint32_t)bytes->len);

	switch (pick(6)) {
	case 0:
		bytes->str[at] = (char)(bytes->str[at] ^ 1 << pick(8));
		break;
	case 1:
		bytes->str[at] = (char)pick(256);
		break;
	case 2:
		g_string_erase(bytes, (gssize)at, 1);
		break;
	case 3:
		g_string_insert_c(bytes, (gssize)at, "{}[]\",:'\\0-\n"[pick(12)]);
		break;
	case 4:
		g_string_truncate(bytes, MAX(at, 1));
		break;
	default:
		g_string_insert_len(bytes, (gssize)at, corpus[pick(G_N_ELEMENTS(corpus))], 20);
		break;
	}
	if (bytes->len == 0)
		g_string_append_c(bytes, ' ');
}

/* Many clients at once, each with its own stream; some go without reading, some in the middle. */
static void test_spoiled(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	RawQmp *raws[8] = { NULL };

	for (unsigned i = 0; i < N_SPOILED; i++) {
		RawQmp **raw = &raws[pick(G_N_ELEMENTS(raws))];
		g_autoptr(GString) bytes = g_string_new(corpus[pick(G_N_ELEMENTS(corpus))]);
		size_t first;

		if (!*raw) {
			*raw = raw_qmp_new(fixture);
			if (pick(4) > 0)
				raw_qmp_send(*raw, corpus[0]);
		}
		for (unsigned n = pick(6) ? 0 : 1 + pick(3); n > 0; n--)
			spoil(bytes);
		first = pick((uint32_t)bytes->len + 1);
		if (raw_qmp_send_len(*raw, bytes->str, first) && pick(50) > 0 &&
		    raw_qmp_send_len(*raw, bytes->str + first, bytes->len - first) && pick(100) > 0)
			continue;
		if (pick(2)) {
			shutdown((*raw)->fd, SHUT_WR);
			check_said(fixture, *raw);
		}
		g_clear_pointer(raw, raw_qmp_free);
		if (pick(20) == 0)
			expect_serves(fixture);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(raws); i++)
		g_clear_pointer(&raws[i], raw_qmp_free);
	/* Calls that begin behind one that is let go. */
	while (qmp_fixture_n_clients(fixture) > 0)
		expect_serves(fixture);
	g_test_message("%d commands ran", g_atomic_int_get(&fixture->n_run));
	g_assert_cmpint(g_atomic_int_get(&fixture->n_run), >, N_SPOILED / 100);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/qmp/fuzz/random", test_random);
	g_test_add_func("/protocol/qmp/fuzz/spoiled", test_spoiled);
	return g_test_run();
}
