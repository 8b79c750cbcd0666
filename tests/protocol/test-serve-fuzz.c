/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random commands with random arguments, right and wrong, at the daemon: it answers each, counts
 * every byte, and shows after kill -9 what it showed before. --seed repeats a run.
 */
#include "qmp_fixture.h"
#include "serve_fixture.h"

#include <string.h>

#define N_COMMANDS 3000
#define CHECK_EACH 50

static uint32_t pick(uint32_t n)
{
	return (uint32_t)g_test_rand_int() % n;
}

/* ---- values ---- */

#define TAG_OTHER "5BE1F00D-2A6B-4F43-9C1E-0D5F3AC00000"
#define TAG_NULL  "00000000-0000-0000-0000-000000000000"
#define WRONG     "null [] {} [1] 1.5 -1 'x' true 18446744073709551616 '' {'a':{'b':[]}}"

/* What may be one of: most of the time those before the bar. */
static const struct {
	const char *name, *choices;
} kinds[] = {
	{ "device", "'dev0' 'dev0' 'dev0' 'dev1' '/machine/peripheral/dev0' | 'dev2' 'no' ''" },
	{ "other", "'dev1' 'dev2' | 'no' '' '/' 'a/b' '.'" },
	{ "backend", "'b0' 'b1' 'b2' | 'no' '' '/' 'dev0.ram'" },
	{ "tag", "'" TAG_A "' '" TAG_B "' '" TAG_OTHER "' | '" TAG_NULL "' 'x' ''" },
	{ "size", "2097152 4194304 4194304 8388608 | 0 4096 1 1099511627776 9223372036854775807 "
		  "9223372036854775808 18446744073709551615 -1" },
	{ "offset", "0 0 2097152 4194304 6291456 8388608 266338304 | 268435456 1 -1 "
		    "18446744073709551615" },
	{ "len", "2097152 2097152 4194304 | 0 1 4096 268435456 9223372036854775808 "
		 "18446744073709551615" },
	{ "dimm", "268435456 268435456 536870912 | 0 1 2097152 -1" },
	{ "count", "1 100 65536 | 0 4294967295 4294967296 -1" },
	{ "byte", "0 1 7 255 | 256 -1 4294967296" },
	{ "id", "1 2 3 5 8 13 21 34 | 0 -1 18446744073709551615" },
	{ "zero", "0 | 1 7 255 256 65535 65536" },
	{ "bool", "true false | 0" },
	{ "log", "'informational' 'warning' 'failure' 'fatal' | 'dynamic'" },
	{ "policy", "'free' 'contiguous' 'enable-shared-access' | 'x'" },
	{ "fixed", "'prescriptive' | 'free' 'x'" },
	{ "tagged", "'tag-based' | 'prescriptive' 'x'" },
	{ "hold", "'off' | 'auto' 'x'" },
	{ "keep", "'wipe' 'keep' | 'x'" },
	{ "type", "'memory-backend-ram' 'memory-backend-memfd' | 'memory-backend-file' "
		  "'memory-backend-devdax' 'rng-random'" },
	{ "path", "'/dev/null' '/dev/zero' '/' '' '/nonexistent/x' | 'x'" },
	{ "block", "2097152 4096 | 1073741824 0 1 3 4097 18446744073709551615" },
	{ "text", "'' 'x' '0123456789abcdef' | '0123456789abcdefg' '\xc3\xa9'" },
};

/* Command, then NAME=KIND of each argument; KIND* is a list of them; NAME? is left out at times. */
static const char *const commands[] = {
	"object-add id=backend qom-type=type size=size tag?=tag share?=bool shareable?=bool "
	"readonly?=bool on-release?=keep",
	"object-add id=backend qom-type=type size=size tag=tag",
	"object-add id=backend qom-type=type size?=size mem-path=path hugetlb?=bool "
	"hugetlbsize?=size",
	"object-del id=backend",
	"device-add id=other dc-regions=region* ram?=dimm serial?=size hold?=hold",
	"device-add id=other dc-regions?=region* max-extents?=count max-chain?=count "
	"dc-log-depth?=count lsa?=count read-latency?=count write-latency?=count "
	"bandwidth?=count",
	"device-del id=other force?=bool",
	"x-device-reset id=other forget?=bool",
	"cxl-add-dynamic-capacity path=device host-id=zero selection-policy=policy region=zero "
	"tag=tag",
	"cxl-add-dynamic-capacity path=device host-id=zero selection-policy=fixed region=zero "
	"tag=tag extents=extent*",
	"cxl-add-dynamic-capacity path=device host-id=zero selection-policy=fixed region=zero "
	"extents=extent*",
	"cxl-add-dynamic-capacity path=device host-id=zero selection-policy=policy region=zero "
	"length=size",
	"cxl-add-dynamic-capacity path=device host-id=zero selection-policy=policy region=zero "
	"tag?=tag extents?=extent* length?=size",
	"cxl-release-dynamic-capacity path=device host-id=zero removal-policy=tagged region=zero "
	"tag=tag forced-removal?=bool sanitize-on-release?=bool timeout?=count",
	"cxl-release-dynamic-capacity path=device host-id=zero removal-policy=fixed region=zero "
	"extents=extent* forced-removal?=bool",
	"cxl-release-dynamic-capacity-status path=device host-id=zero region=zero tag=tag",
	"x-withdraw-offer path=device offer=id",
	"x-withdraw-offer path=device tag=tag offer?=id",
	"x-reclaim-backend id=backend",
	"cxl-inject-general-media-event path=device log=log flags=byte dpa=offset descriptor=byte "
	"type=byte transaction-type=byte sub-type=byte channel?=byte device?=byte "
	"component-id?=text cme-count?=byte ld-id?=byte",
	"cxl-inject-dram-event path=device log=log flags=byte dpa=offset descriptor=byte type=byte "
	"transaction-type=byte sub-type=byte nibble-mask?=byte row?=byte correction-mask?=size* "
	"component-id?=text cvme-count?=byte",
	"cxl-inject-memory-module-event path=device log=log flags=byte type=byte "
	"health-status=byte media-status=byte additional-status=byte life-used=byte "
	"temperature=byte dirty-shutdown-count=byte corrected-volatile-error-count=byte "
	"corrected-persistent-error-count=byte sub-type=byte component-id?=text",
	"query-pool",
	"query-backends id?=backend",
	"query-devices id?=device",
	"query-extents device?=device tag?=tag",
	"query-offers device?=device",
	"query-releases device?=device id?=id",
	"x-query-audit since?=size cursor?=text limit?=count",
	"x-trace device=device enable=bool payloads?=bool",
	"no-such a=byte",
};

static void append_choice(GString *out, const char *choices)
{
	g_auto(GStrv) halves = g_strsplit(choices, " | ", 2);
	g_auto(GStrv) words = g_strsplit(halves[halves[1] && pick(20) == 0], " ", -1);

	g_string_append(out, words[pick(g_strv_length(words))]);
}

static void append_kind(GString *out, const char *kind);

static void append_members(GString *out, const char *members)
{
	g_auto(GStrv) words = g_strsplit(members, " ", -1);
	const char *comma = "";

	g_string_append_c(out, '{');
	for (unsigned i = 0; words[i]; i++) {
		g_auto(GStrv) parts = g_strsplit(words[i], "=", 2);
		size_t len = strlen(parts[0]);
		bool optional = parts[0][len - 1] == '?';

		if (optional)
			parts[0][len - 1] = '\0';
		if (pick(optional ? 2 : 100) == 0)
			continue;
		g_string_append_printf(out, "%s'%s': ", comma, parts[0]);
		if (pick(200) == 0)
			append_choice(out, WRONG);
		else
			append_kind(out, parts[1]);
		comma = ", ";
	}
	g_string_append_c(out, '}');
}

static void append_kind(GString *out, const char *kind)
{
	size_t len = strlen(kind);

	if (kind[len - 1] == '*') {
		g_autofree char *element = g_strndup(kind, len - 1);

		g_string_append_c(out, '[');
		for (unsigned n = pick(8) ? 1 : pick(4); n > 0; n--) {
			append_kind(out, element);
			g_string_append(out, n > 1 ? ", " : "");
		}
		g_string_append_c(out, ']');
		return;
	}
	if (strcmp(kind, "extent") == 0) {
		append_members(out, "offset=offset len=len");
		return;
	}
	if (strcmp(kind, "region") == 0) {
		append_members(out, "size=dimm block-size?=block sharable?=bool read-only?=bool");
		return;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
		if (strcmp(kinds[i].name, kind) == 0) {
			append_choice(out, kinds[i].choices);
			return;
		}
	}
	g_assert_not_reached();
}

static GString *random_request(unsigned id)
{
	const char *command = commands[pick(G_N_ELEMENTS(commands))];
	const char *args = strchr(command, ' ');
	GString *request = g_string_new(NULL);

	g_string_append_printf(request, "{'execute': '%.*s', 'id': %u",
			       args ? (int)(args - command) : (int)strlen(command), command, id);
	if (args) {
		g_string_append(request, ", 'arguments': ");
		append_members(request, args + 1);
	}
	g_string_append(request, "}\n");
	return request;
}

/* ---- what must hold ---- */

/* Events go by. True: it was done. */
static bool read_answer(RawQmp *raw, const char *request, unsigned id)
{
	for (;;) {
		g_autoptr(JsonObject) answer = raw_qmp_object(raw);

		if (json_object_has_member(answer, "event"))
			continue;
		g_assert_cmpint(json_object_get_int_member(answer, "id"), ==, id);
		if (json_object_has_member(answer, "return"))
			return true;
		g_assert_true(json_object_has_member(answer, "error"));
		/* Ours to find, not the operator's to read. */
		if (strstr(json_object_get_string_member(
				   json_object_get_object_member(answer, "error"), "desc"),
			   "(null)"))
			g_error("%s is refused with a hole in the reason", request);
		return false;
	}
}

static void check_bytes(JsonObject *object)
{
	static const char *const parts[] = { "free", "reserved", "accepted", "draining",
					     "quarantined" };
	JsonObject *bytes = json_object_get_object_member(object, "bytes");
	int64_t sum = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++)
		sum += json_object_get_int_member(bytes, parts[i]);
	g_assert_cmpint(sum, ==, json_object_get_int_member(bytes, "total"));
}

static void check_counts(Serve *serve)
{
	static const char *const lists[] = { "query-devices", "query-backends" };
	g_autoptr(JsonNode) pool = serve_call(serve, "query-pool", NULL);

	check_bytes(json_node_get_object(pool));
	for (unsigned i = 0; i < G_N_ELEMENTS(lists); i++) {
		g_autoptr(JsonNode) list = serve_call(serve, lists[i], NULL);
		JsonArray *array = json_node_get_array(list);

		for (guint j = 0; j < json_array_get_length(array); j++)
			check_bytes(json_array_get_object_element(array, j));
	}
}

/* The accepted extents, as text. */
static char *accepted(Serve *serve)
{
	g_autoptr(JsonNode) list = serve_call(serve, "query-extents", NULL);
	JsonArray *array = json_node_get_array(list);
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < json_array_get_length(array); i++) {
		JsonObject *extent = json_array_get_object_element(array, i);

		if (strcmp(json_object_get_string_member(extent, "state"), "accepted") != 0)
			continue;
		qmp_json_append(text, json_array_get_element(array, i));
		g_string_append_c(text, '\n');
	}
	return g_string_free(text, FALSE);
}

static void wait_no_hosts(Serve *serve)
{
	gint64 until_us = g_get_monotonic_time() + WAIT_US;

	for (;;) {
		g_autoptr(JsonNode) pool = serve_call(serve, "query-pool", NULL);

		if (json_object_get_int_member(json_node_get_object(pool), "n-hosts") == 0)
			return;
		g_assert_cmpint(g_get_monotonic_time(), <, until_us);
		g_usleep(1000);
	}
}

static void pass_over(JsonObject *event, void *opaque)
{
}

static void test_fuzz(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autofree char *path = g_build_filename(serve->runtime, "qmp.sock", NULL);
	g_autofree char *before = NULL;
	g_autofree char *after = NULL;
	g_autoptr(RawQmp) raw = NULL;
	ServeHost *host;
	unsigned n_done = 0;

	serve_write_config(serve, "[device dev0]\ndc-regions = 256M\nhold = off\n");
	serve_start(serve, NULL);
	host = serve_host(serve, "dev0", NULL);
	raw = raw_qmp_negotiated_at(path);
	for (unsigned id = 0; id < N_COMMANDS; id++) {
		g_autoptr(GString) request = random_request(id);

		g_assert_true(raw_qmp_send_len(raw, request->str, request->len));
		n_done += read_answer(raw, request->str, id);
		if (id % CHECK_EACH == 0) {
			check_counts(serve);
			serve_host_drain(host, pass_over, NULL);
		}
	}
	g_test_message("%u of %u done", n_done, N_COMMANDS);
	g_assert_cmpuint(n_done, >, N_COMMANDS / 10);
	/* What is accepted stays so without its host, and without the daemon. */
	serve_host_free(host);
	wait_no_hosts(serve);
	before = accepted(serve);
	serve_kill(serve);
	serve_start(serve, NULL);
	after = accepted(serve);
	g_assert_cmpstr(after, ==, before);
	check_counts(serve);
	g_assert_cmpint(serve_stop(serve), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/serve-fuzz/commands", test_fuzz);
	return g_test_run();
}
