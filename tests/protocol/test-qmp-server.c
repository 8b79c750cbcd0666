/* SPDX-License-Identifier: BSD-3-Clause */
/* QMP server: negotiation, requests and their refusals, ids, order, calls answered later, events.
 */
#include "qmp_fixture.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define EXECUTE(name) "{\"execute\": \"" name "\"}"

/* ---- negotiation ---- */

static void test_greeting(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) raw = raw_qmp_new(fixture);

	raw_qmp_expect(raw, "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 3, \"minor\": 1, "
			    "\"major\": 11}, \"package\": \"fixture 1\"}, \"capabilities\": []}}");
}

static void test_negotiation(void)
{
	static const char hint[] = "Expecting capabilities negotiation with 'qmp_capabilities'";
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) raw = raw_qmp_new(fixture);

	raw_qmp_greeted(raw);
	raw_qmp_send(raw, EXECUTE("nothing") EXECUTE("no-such"));
	raw_qmp_expect_error(raw, "CommandNotFound", hint);
	raw_qmp_expect_error(raw, "CommandNotFound", hint);
	g_assert_cmpint(g_atomic_int_get(&fixture->n_run), ==, 0);
	raw_qmp_send(raw, "{\"execute\": 1}");
	raw_qmp_expect_error(raw, "GenericError", "must be a string");
	raw_qmp_send(raw, "{\"execute\": \"qmp_capabilities\", \"arguments\": "
			  "{\"enable\": [\"oob\"]}}");
	raw_qmp_expect_error(raw, "GenericError", "Capability oob not available");
	raw_qmp_send(raw, "{\"execute\": \"qmp_capabilities\", \"arguments\": "
			  "{\"enable\": [\"warp\"]}}");
	raw_qmp_expect_error(raw, "GenericError",
			     "Parameter 'enable[0]' does not accept value 'warp'");
	raw_qmp_send(raw, EXECUTE("nothing"));
	raw_qmp_expect_error(raw, "CommandNotFound", hint);
	raw_qmp_send(raw, "{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": []}}");
	raw_qmp_expect(raw, "{\"return\": {}}");
	raw_qmp_send(raw, EXECUTE("qmp_capabilities"));
	raw_qmp_expect_error(raw, "CommandNotFound",
			     "Capabilities negotiation is already complete, command ignored");
	raw_qmp_send(raw, EXECUTE("nothing"));
	raw_qmp_expect(raw, "{\"return\": {}}");
}

/* ---- requests ---- */

static void test_refusals(void)
{
	static const struct {
		const char *request, *class, *desc;
	} cases[] = {
		{ "1 ", "GenericError", "QMP input must be a JSON object" },
		{ "\"nothing\"", "GenericError", "QMP input must be a JSON object" },
		{ "[]", "GenericError", "QMP input must be a JSON object" },
		{ "null\n", "GenericError", "QMP input must be a JSON object" },
		{ "{}", "GenericError", "QMP input lacks member 'execute'" },
		{ "{\"execute\": null}", "GenericError",
		  "QMP input member 'execute' must be a string" },
		{ "{\"execute\": \"nothing\", \"arguments\": []}", "GenericError",
		  "QMP input member 'arguments' must be an object" },
		{ "{\"execute\": \"nothing\", \"extra\": 1}", "GenericError",
		  "QMP input member 'extra' is unexpected" },
		{ "{\"exec-oob\": \"nothing\"}", "GenericError",
		  "QMP input member 'exec-oob' is unexpected" },
		{ "{\"execute\": \"no-such\"}", "CommandNotFound",
		  "The command no-such has not been found" },
		{ "{\"execute\": \"\"}", "CommandNotFound", "has not been found" },
		{ "{\"execute\": \"nothing\", \"arguments\": {\"a\": 1}}", "GenericError",
		  "Parameter 'a' is unexpected" },
		{ "{\"execute\": \"fill\"}", "GenericError", "Parameter 'len' is missing" },
		{ "{\"execute\": \"fill\", \"arguments\": {\"len\": \"1\"}}", "GenericError",
		  "Invalid parameter type for 'len', expected: integer" },
		{ "{\"execute\": \"fail\", \"arguments\": {\"class\": \"DeviceNotFound\"}}",
		  "DeviceNotFound", "refused as 'DeviceNotFound' \xc3\xa9" },
		{ "{\"execute\": \"fail\", \"arguments\": {\"class\": \"?\"}}", "GenericError",
		  "refused as '?'" },
	};
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) raw = raw_qmp_negotiated(fixture);

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		raw_qmp_send(raw, cases[i].request);
		raw_qmp_expect_error(raw, cases[i].class, cases[i].desc);
	}
	g_assert_cmpint(g_atomic_int_get(&fixture->n_run), ==, 0);
	raw_qmp_send(raw, EXECUTE("nothing"));
	raw_qmp_expect(raw, "{\"return\": {}}");
}

/* A quoted name is cut; the answer is still UTF-8 and JSON. */
static void test_long_names(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) raw = raw_qmp_negotiated(fixture);
	g_autoptr(GString) name = g_string_new("x");

	while (name->len < 1000)
		g_string_append(name, "\xf0\x9f\x98\x80");
	for (unsigned i = 0; i < 4; i++) {
		g_autofree char *request = g_strdup_printf("{\"execute\": \"%s\"}", name->str);

		raw_qmp_send(raw, request);
		raw_qmp_expect_error(raw, "CommandNotFound", "has not been found");
		g_string_prepend_c(name, 'x');
	}
}

static void test_ids(void)
{
	static const char *const ids[] = {
		"null",
		"0",
		"-1",
		"18446744073709551615",
		"1.5",
		"true",
		"\"__qmp#00001\"",
		"\"\"",
		"[]",
		"[1, [2, {\"a\": null}]]",
		"{\"a\": {\"b\": \"\\n\"}}",
	};
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) raw = raw_qmp_negotiated(fixture);

	for (unsigned i = 0; i < G_N_ELEMENTS(ids); i++) {
		g_autofree char *good = g_strdup_printf("{\"execute\": \"nothing\", \"id\": %s}",
							ids[i]);
		g_autofree char *answer = g_strdup_printf("{\"return\": {}, \"id\": %s}", ids[i]);
		g_autofree char *unknown = g_strdup_printf("{\"id\": %s, \"execute\": \"no\"}",
							   ids[i]);
		g_autofree char *bad = g_strdup_printf("{\"extra\": 1, \"id\": %s}", ids[i]);
		g_autofree char *tail = g_strdup_printf(", \"id\": %s}", ids[i]);

		raw_qmp_send(raw, good);
		raw_qmp_expect(raw, answer);
		for (unsigned j = 0; j < 2; j++) {
			g_autofree char *line = NULL;

			raw_qmp_send(raw, j == 0 ? unknown : bad);
			line = raw_qmp_line(raw);
			g_assert_true(g_str_has_prefix(line, "{\"error\": "));
			g_assert_true(g_str_has_suffix(line, tail));
		}
	}
	raw_qmp_send(raw, "{'execute': 'nothing', 'id': 'it\\'s'}");
	raw_qmp_expect(raw, "{\"return\": {}, \"id\": \"it's\"}");
}

static void test_numbers(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) raw = raw_qmp_negotiated(fixture);

	raw_qmp_send(raw, "{\"execute\": \"number\", \"arguments\": "
			  "{\"value\": 18446744073709551615}}");
	raw_qmp_expect(raw, "{\"return\": 18446744073709551615}");
	raw_qmp_send(raw, "{\"execute\": \"number\", \"arguments\": "
			  "{\"value\": 9223372036854775808}}");
	raw_qmp_expect(raw, "{\"return\": 9223372036854775808}");
	raw_qmp_send(raw, "{\"execute\": \"number\", \"arguments\": {\"value\": -1}}");
	raw_qmp_expect_error(raw, "GenericError", "Parameter 'value' expects uint64");
	raw_qmp_send(raw, "{\"execute\": \"number\", \"arguments\": "
			  "{\"value\": 18446744073709551616}}");
	raw_qmp_expect_error(raw, "GenericError", "Parameter 'value' expects uint64");
}

static void test_queries(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) raw = raw_qmp_negotiated(fixture);

	raw_qmp_send(raw, EXECUTE("query-version") EXECUTE("query-commands"));
	raw_qmp_expect(raw, "{\"return\": {\"qemu\": {\"micro\": 3, \"minor\": 1, \"major\": 11}, "
			    "\"package\": \"fixture 1\"}}");
	raw_qmp_expect(raw, "{\"return\": [{\"name\": \"qmp_capabilities\"}, "
			    "{\"name\": \"query-version\"}, {\"name\": \"query-commands\"}, "
			    "{\"name\": \"quit\"}, {\"name\": \"nothing\"}, {\"name\": \"echo\"}, "
			    "{\"name\": \"hold\"}, {\"name\": \"let-go\"}, {\"name\": \"fill\"}, "
			    "{\"name\": \"fail\"}, {\"name\": \"number\"}]}");
}

static void test_quit(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) raw = raw_qmp_negotiated(fixture);

	raw_qmp_send(raw, EXECUTE("quit") EXECUTE("quit"));
	raw_qmp_expect(raw, "{\"return\": {}}");
	raw_qmp_expect(raw, "{\"return\": {}}");
	qmp_fixture_wait_count(&fixture->n_quit, 1);
}

/* ---- order ---- */

static void expect_echoes(RawQmp *raw, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		g_autofree char *line = g_strdup_printf("{\"return\": %u, \"id\": \"%u\"}", i, i);

		raw_qmp_expect(raw, line);
	}
}

static GString *echoes(unsigned n)
{
	GString *requests = g_string_new(NULL);

	for (unsigned i = 0; i < n; i++)
		g_string_append_printf(requests,
				       "{\"execute\": \"echo\", \"arguments\": {\"value\": %u}, "
				       "\"id\": \"%u\"}%s",
				       i, i, i % 3 ? "" : "\r\n ");
	return requests;
}

static void test_pipelined(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) raw = raw_qmp_negotiated(fixture);
	g_autoptr(GString) requests = echoes(1000);

	raw_qmp_send(raw, requests->str);
	expect_echoes(raw, 1000);
}

static void test_bytewise(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) raw = raw_qmp_negotiated(fixture);
	g_autoptr(GString) requests = echoes(20);

	for (gsize i = 0; i < requests->len; i++)
		raw_qmp_send_len(raw, requests->str + i, 1);
	expect_echoes(raw, 20);
}

static void test_later(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) slow = raw_qmp_negotiated(fixture);
	g_autoptr(RawQmp) other = raw_qmp_negotiated(fixture);

	raw_qmp_send(slow, "{\"execute\": \"hold\", \"id\": 1}{\"execute\": \"nothing\", \"id\": 2}"
			   "{\"execute\": \"hold\", \"id\": 3}{\"execute\": \"no\", \"id\": 4}");
	qmp_fixture_wait_count(&fixture->n_run, 1);
	/* Others go on meanwhile, and events pass. */
	raw_qmp_send(other, EXECUTE("nothing"));
	raw_qmp_expect(other, "{\"return\": {}}");
	g_assert_cmpint(g_atomic_int_get(&fixture->n_run), ==, 2);
	qmp_fixture_event(fixture, "MEANWHILE", 1);
	for (unsigned i = 0; i < 2; i++) {
		g_autoptr(JsonObject) event = raw_qmp_object(i == 0 ? slow : other);

		g_assert_cmpstr(json_object_get_string_member(event, "event"), ==, "MEANWHILE");
	}
	raw_qmp_send(other, EXECUTE("let-go"));
	raw_qmp_expect(other, "{\"return\": {}}");
	raw_qmp_expect(slow, "{\"return\": {}, \"id\": 1}");
	raw_qmp_expect(slow, "{\"return\": {}, \"id\": 2}");
	qmp_fixture_wait_count(&fixture->n_run, 4);
	raw_qmp_send(other, EXECUTE("let-go"));
	raw_qmp_expect(other, "{\"return\": {}}");
	raw_qmp_expect(slow, "{\"return\": {}, \"id\": 3}");
	raw_qmp_expect_error(slow, "CommandNotFound", "The command no");
}

/* ---- clients that go ---- */

/* Everything that arrived is carried out, also behind a call that was open when its client went. */
static void test_gone(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) other = raw_qmp_negotiated(fixture);

	for (gint i = 0; i < 20; i++) {
		RawQmp *raw = raw_qmp_negotiated(fixture);
		g_autoptr(GString) requests = echoes(100);

		raw_qmp_send(raw, EXECUTE("hold"));
		raw_qmp_send(raw, requests->str);
		raw_qmp_free(raw);
		qmp_fixture_wait_count(&fixture->n_run, 101 * i + 1);
		raw_qmp_send(other, EXECUTE("let-go"));
		raw_qmp_expect(other, "{\"return\": {}}");
		qmp_fixture_wait_count(&fixture->n_run, 101 * (i + 1));
		qmp_fixture_wait_count(&fixture->n_gone, i + 1);
	}
	g_assert_cmpuint(qmp_fixture_n_clients(fixture), ==, 1);
}

/* printf '...' | socat - UNIX:qmp.sock */
static void test_half_closed(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) raw = raw_qmp_new(fixture);
	g_autoptr(RawQmp) other = raw_qmp_negotiated(fixture);

	raw_qmp_send(raw, "{'execute': 'qmp_capabilities'}\n{'execute': 'nothing'}\n"
			  "{'execute': 'hold'}{'execute': 'echo', 'arguments': {'value': 5}}\n12");
	shutdown(raw->fd, SHUT_WR);
	raw_qmp_greeted(raw);
	raw_qmp_expect(raw, "{\"return\": {}}");
	raw_qmp_expect(raw, "{\"return\": {}}");
	raw_qmp_send(other, EXECUTE("let-go"));
	raw_qmp_expect(raw, "{\"return\": {}}");
	raw_qmp_expect(raw, "{\"return\": 5}");
	raw_qmp_expect_error(raw, "GenericError", "must be a JSON object");
	raw_qmp_expect_closed(raw);
	qmp_fixture_wait_clients(fixture, 1);
}

static void test_open_at_end(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) raw = raw_qmp_negotiated(fixture);

	raw_qmp_send(raw, EXECUTE("hold"));
	qmp_fixture_wait_count(&fixture->n_run, 1);
	/* The fixture answers the call when the server is gone already. */
}

/* ---- events ---- */

static void test_events(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	g_autoptr(RawQmp) silent = raw_qmp_new(fixture);
	RawQmp *raws[5];
	int64_t before = g_get_real_time() / G_USEC_PER_SEC;

	raw_qmp_greeted(silent);
	for (unsigned i = 0; i < G_N_ELEMENTS(raws); i++)
		raws[i] = raw_qmp_negotiated(fixture);
	for (int n = 0; n < 3; n++)
		qmp_fixture_event(fixture, "NEWS", n);
	for (unsigned i = 0; i < G_N_ELEMENTS(raws); i++) {
		for (int n = 0; n < 3; n++) {
			g_autoptr(JsonObject) event = raw_qmp_object(raws[i]);
			JsonObject *data = json_object_get_object_member(event, "data");
			JsonObject *time = json_object_get_object_member(event, "timestamp");
			int64_t seconds = json_object_get_int_member(time, "seconds");
			int64_t micros = json_object_get_int_member(time, "microseconds");

			g_assert_cmpuint(json_object_get_size(event), ==, 3);
			g_assert_cmpstr(json_object_get_string_member(event, "event"), ==, "NEWS");
			g_assert_cmpint(json_object_get_int_member(data, "n"), ==, n);
			g_assert_cmpint(seconds, >=, before);
			g_assert_cmpint(seconds, <=, g_get_real_time() / G_USEC_PER_SEC);
			g_assert_true(micros >= 0 && micros < G_USEC_PER_SEC);
		}
		raw_qmp_free(raws[i]);
	}
	/* Not for those who have not negotiated. */
	raw_qmp_send(silent, EXECUTE("qmp_capabilities"));
	raw_qmp_expect(silent, "{\"return\": {}}");
}

typedef struct Tell {
	uint64_t client;
	bool told;
} Tell;

static void tell(QmpFixture *fixture, void *data)
{
	Tell *one = data;

	one->told = qmp_server_event_to(fixture->server, one->client, "PRIVATE", NULL);
}

static void peek_holder(QmpFixture *fixture, void *data)
{
	*(uint64_t *)data = qmp_call_peek_peer(g_ptr_array_index(fixture->held, 0))->client;
}

static void test_event_to(void)
{
	g_autoptr(QmpFixture) fixture = qmp_fixture_new(NULL);
	RawQmp *one = raw_qmp_negotiated(fixture);
	g_autoptr(RawQmp) other = raw_qmp_negotiated(fixture);
	g_autoptr(JsonObject) event = NULL;
	Tell whom = { 0 };

	raw_qmp_send(one, EXECUTE("hold"));
	qmp_fixture_wait_count(&fixture->n_run, 1);
	qmp_fixture_call(fixture, peek_holder, &whom.client);
	qmp_fixture_call(fixture, tell, &whom);
	g_assert_true(whom.told);
	event = raw_qmp_object(one);
	g_assert_cmpuint(json_object_get_size(event), ==, 2);
	g_assert_cmpstr(json_object_get_string_member(event, "event"), ==, "PRIVATE");
	raw_qmp_send(other, EXECUTE("let-go"));
	raw_qmp_expect(other, "{\"return\": {}}");
	raw_qmp_free(one);
	qmp_fixture_wait_clients(fixture, 1);
	qmp_fixture_call(fixture, tell, &whom);
	g_assert_false(whom.told);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/qmp/server/greeting", test_greeting);
	g_test_add_func("/protocol/qmp/server/negotiation", test_negotiation);
	g_test_add_func("/protocol/qmp/server/refusals", test_refusals);
	g_test_add_func("/protocol/qmp/server/long-names", test_long_names);
	g_test_add_func("/protocol/qmp/server/ids", test_ids);
	g_test_add_func("/protocol/qmp/server/numbers", test_numbers);
	g_test_add_func("/protocol/qmp/server/queries", test_queries);
	g_test_add_func("/protocol/qmp/server/quit", test_quit);
	g_test_add_func("/protocol/qmp/server/pipelined", test_pipelined);
	g_test_add_func("/protocol/qmp/server/bytewise", test_bytewise);
	g_test_add_func("/protocol/qmp/server/later", test_later);
	g_test_add_func("/protocol/qmp/server/gone", test_gone);
	g_test_add_func("/protocol/qmp/server/half-closed", test_half_closed);
	g_test_add_func("/protocol/qmp/server/open-at-end", test_open_at_end);
	g_test_add_func("/protocol/qmp/server/events", test_events);
	g_test_add_func("/protocol/qmp/server/event-to", test_event_to);
	return g_test_run();
}
