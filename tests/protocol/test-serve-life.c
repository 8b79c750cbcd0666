/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon through its control socket: the life of a tag with a real host, and refusals. */
#include "../unit/processes.h"
#include "serve_fixture.h"

#include <signal.h>
#include <string.h>

#define PATH "'path': '/machine/peripheral/cxl-dcd0', 'host-id': 0"
#define CONFIG                \
	"[device cxl-dcd0]\n" \
	"dc-regions = 12G\n"  \
	"serial = 99\n"

#define MEM0 "[backend mem0]\nsize = 4M\ntag = " TAG_A "\n"

static void assert_status(Serve *serve, const char *expected)
{
	g_autoptr(JsonNode) node = serve_call(serve, "cxl-release-dynamic-capacity-status",
					      PATH ", 'region': 0, 'tag': '" TAG_A "'");

	g_assert_cmpstr(json_object_get_string_member(json_node_get_object(node), "status"), ==,
			expected);
}

/* The kernel testers' script, word for word but for the socket's path, with a process as host. */
static void test_tester_sequence(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(ServeHost) host = NULL;
	g_autoptr(JsonObject) extent = NULL, offered = NULL;

	serve_write_config(serve, CONFIG);
	serve_start(serve, NULL);
	host = serve_host(serve, "cxl-dcd0", NULL);
	serve_do(serve, "object-add",
		 "'qom-type': 'memory-backend-ram', 'id': 'hm0', 'size': 8589934592, "
		 "'share': true, 'tag': '" TAG_A "'");
	assert_status(serve, "gone");
	serve_do(serve, "cxl-add-dynamic-capacity",
		 PATH ", 'selection-policy': 'prescriptive', 'region': 0, 'tag': '" TAG_A
		      "', 'extents': [{'offset': 0, 'len': 8589934592}]");
	offered = serve_event(serve, "CAPACITY_OFFERED");
	g_assert_cmpstr(json_object_get_string_member(offered, "tag"), ==, TAG_A);
	g_assert_cmpstr(json_object_get_string_member(offered, "device"), ==, "cxl-dcd0");
	serve_host_pass(host, "accepted");
	serve_pass_event(serve, "CAPACITY_ACCEPTED");
	assert_status(serve, "committed");
	extent = serve_first(serve, "query-extents", NULL);
	g_assert_cmpstr(json_object_get_string_member(extent, "tag"), ==, TAG_A);
	g_assert_cmpstr(json_object_get_string_member(extent, "state"), ==, "accepted");
	g_assert_cmpstr(json_object_get_string_member(extent, "backend"), ==, "hm0");
	g_assert_cmpint(json_object_get_int_member(extent, "len"), ==, (gint64)(8 * GIB));
	serve_do(serve, "cxl-release-dynamic-capacity",
		 PATH ", 'removal-policy': 'prescriptive', 'region': 0, 'tag': '" TAG_A
		      "', 'extents': [{'offset': 0, 'len': 8589934592}]");
	serve_host_pass(host, "released");
	serve_pass_event(serve, "CAPACITY_RELEASED");
	serve_pass_event(serve, "CAPACITY_FREED");
	assert_status(serve, "gone");
	serve_do(serve, "object-del", "'id': 'hm0'");
	g_assert_cmpint(serve_host_end(host, SIGTERM), ==, 0);
	g_assert_cmpint(serve_stop(serve), ==, 0);
}

typedef struct Refusal {
	const char *command, *args;
	const char *pattern; /* of class and description */
} Refusal;

/* clang-format off */
static const Refusal refusals[] = {
	{ "cxl-eject", "", "CommandNotFound *cxl-eject*" },
	{ "object-add", "'qom-type': 'memory-backend-ram', 'id': 'x'", "GenericError *'x'*size*" },
	{ "object-add", "'qom-type': 'memory-backend-ram', 'id': 'x', 'size': 4097", "GenericError *4097*" },
	{ "object-add", "'qom-type': 'rng-random', 'id': 'x'", "GenericError *rng-random*" },
	{ "object-add", "'qom-type': 'memory-backend-ram', 'id': 'x', 'size': 4096, 'tag': 'kv'", "GenericError *tag*kv*" },
	{ "object-add", "'qom-type': 'memory-backend-ram', 'id': 'x', 'size': 4096, 'tag': '00000000-0000-0000-0000-000000000000'", "GenericError *tag*" },
	{ "object-add", "'qom-type': 'memory-backend-ram', 'id': 'x', 'size': 4096, 'tag': '" TAG_A "'", "GenericError *hm0*" },
	{ "object-add", "'qom-type': 'memory-backend-ram', 'id': 'hm0', 'size': 4096", "GenericError *hm0*" },
	{ "object-add", "'qom-type': 'memory-backend-file', 'id': 'x', 'size': 4096", "GenericError *mem-path*" },
	{ "object-add", "'qom-type': 'memory-backend-file', 'id': 'x', 'size': 4096, 'mem-path': '/nonexistent/x'", "GenericError */nonexistent/x*" },
	{ "object-add", "'qom-type': 'memory-backend-ram', 'id': 'x', 'size': 4096, 'hugetlb': true", "GenericError *hugetlb*" },
	{ "object-add", "'qom-type': 'memory-backend-ram', 'id': 'x', 'size': 4096, 'colour': 1", "GenericError *'colour' is unexpected" },
	{ "object-add", "'qom-type': 'memory-backend-ram', 'id': 'x', 'size': '4K'", "GenericError *size*" },
	{ "object-del", "'id': 'x'", "GenericError object 'x' not found" },
	{ "device-add", "'id': 'x'", "GenericError *x*capacity*" },
	{ "device-add", "'id': '../x', 'ram': 268435456", "GenericError *../x*" },
	{ "device-add", "'id': 'x', 'ram': 4096", "GenericError *ram*4096*" },
	{ "device-add", "'id': 'x', 'dc-regions': [{'size': 4096}]", "GenericError *256 MiB*" },
	{ "device-add", "'id': 'x', 'dc-regions': [{'size': 268435456, 'block-size': 3000}]", "GenericError *3000*" },
	{ "device-add", "'id': 'cxl-dcd0', 'ram': 268435456", "GenericError *cxl-dcd0*taken*" },
	{ "device-add", "'id': 'x', 'ram': 268435456, 'max-chain': 0", "GenericError *max-chain*" },
	{ "device-del", "'id': 'x'", "DeviceNotFound *'x'*" },
	{ "x-device-reset", "'id': 'x'", "DeviceNotFound *'x'*" },
	{ "x-reclaim-backend", "'id': 'hm0'", "GenericError *hm0*" },
	{ "query-extents", "'device': 'x'", "DeviceNotFound *'x'*" },
	{ "x-withdraw-offer", "'path': 'cxl-dcd0'", "GenericError *exactly one*" },
	{ "x-withdraw-offer", "'path': 'cxl-dcd0', 'offer': 77", "GenericError *77*" },
	{ "x-withdraw-offer", "'path': 'cxl-dcd0', 'tag': '" TAG_B "'", "GenericError *" TAG_B "*" },
	{ "cxl-add-dynamic-capacity", "'path': 'x', 'host-id': 0, 'selection-policy': 'free', 'region': 0", "GenericError *'x'*" },
	{ "cxl-add-dynamic-capacity", "'path': 'no-dc', 'host-id': 0, 'selection-policy': 'free', 'region': 0", "GenericError *no dynamic capacity*" },
	{ "cxl-add-dynamic-capacity", PATH ", 'selection-policy': 'best', 'region': 0", "GenericError *best*" },
	{ "cxl-add-dynamic-capacity", PATH ", 'selection-policy': 'free', 'region': 1", "GenericError *region*1*" },
	{ "cxl-add-dynamic-capacity", PATH ", 'selection-policy': 'free', 'region': 300", "GenericError *region*uint8*" },
	{ "cxl-add-dynamic-capacity", "'path': 'cxl-dcd0', 'host-id': 70000, 'selection-policy': 'free', 'region': 0", "GenericError *host-id*uint16*" },
	{ "cxl-add-dynamic-capacity", PATH ", 'selection-policy': 'free', 'region': 0", "GenericError *length*" },
	{ "cxl-add-dynamic-capacity", PATH ", 'selection-policy': 'prescriptive', 'region': 0", "GenericError *extent*" },
	{ "cxl-add-dynamic-capacity", PATH ", 'selection-policy': 'prescriptive', 'region': 0, 'extents': []", "GenericError *extent*" },
	{ "cxl-add-dynamic-capacity", PATH ", 'selection-policy': 'prescriptive', 'region': 0, 'extents': [{'offset': 0, 'len': 0}]", "GenericError *length is 0*" },
	{ "cxl-add-dynamic-capacity", PATH ", 'selection-policy': 'prescriptive', 'region': 0, 'extents': [{'offset': 4096, 'len': 2097152}]", "GenericError *2097152*" },
	{ "cxl-add-dynamic-capacity", PATH ", 'selection-policy': 'prescriptive', 'region': 0, 'extents': [{'offset': 12884901888, 'len': 2097152}]", "GenericError *beyond*" },
	{ "cxl-add-dynamic-capacity", PATH ", 'selection-policy': 'prescriptive', 'region': 0, 'extents': [{'offset': 0, 'len': 4194304}, {'offset': 2097152, 'len': 2097152}]", "GenericError *overlap*" },
	{ "cxl-add-dynamic-capacity", PATH ", 'selection-policy': 'prescriptive', 'region': 0, 'extents': [{'offset': 0}]", "GenericError *len*missing*" },
	{ "cxl-add-dynamic-capacity", PATH ", 'selection-policy': 'free', 'region': 0, 'tag': '" TAG_B "'", "GenericError *" TAG_B "*" },
	{ "cxl-add-dynamic-capacity", PATH ", 'selection-policy': 'free', 'region': 0, 'length': 2097152, 'extents': [{'offset': 0, 'len': 2097152}]", "GenericError *extents*" },
	{ "cxl-release-dynamic-capacity", PATH ", 'removal-policy': 'tag-based', 'region': 0", "GenericError *tag*" },
	{ "cxl-release-dynamic-capacity", PATH ", 'removal-policy': 'prescriptive', 'region': 0", "GenericError *extents*" },
	{ "cxl-release-dynamic-capacity", PATH ", 'removal-policy': 'tag-based', 'region': 0, 'tag': '" TAG_A "'", "GenericError *" TAG_A "*" },
	{ "cxl-release-dynamic-capacity", PATH ", 'removal-policy': 'prescriptive', 'region': 0, 'extents': [{'offset': 0, 'len': 2097152}]", "GenericError *not accepted*" },
	{ "cxl-inject-general-media-event", "'path': 'cxl-dcd0', 'log': 'informational', 'flags': 8, 'dpa': 0, 'descriptor': 0, 'type': 0, 'transaction-type': 0, 'sub-type': 0", "GenericError *maintenance*" },
	{ "cxl-inject-general-media-event", "'path': 'cxl-dcd0', 'log': 'dynamic', 'flags': 0, 'dpa': 0, 'descriptor': 0, 'type': 0, 'transaction-type': 0, 'sub-type': 0", "GenericError *dynamic*" },
	{ "x-query-audit", "'cursor': 'yesterday'", "GenericError *yesterday*" },
};
/* clang-format on */

static void test_refusals(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autofree char *before = NULL, *after = NULL;
	g_autoptr(JsonNode) node = NULL;

	serve_write_config(serve, CONFIG "[device no-dc]\nram = 256M\n");
	serve_start(serve, NULL);
	serve_do(serve, "object-add",
		 "'qom-type': 'memory-backend-ram', 'id': 'hm0', 'size': 2097152, 'tag': '" TAG_A
		 "'");
	node = serve_call(serve, "query-devices", NULL);
	before = json_to_string(node, FALSE);
	for (size_t i = 0; i < G_N_ELEMENTS(refusals); i++) {
		const Refusal *row = &refusals[i];
		g_autofree char *said = serve_refused(serve, row->command, "%s", row->args);

		if (!g_pattern_match_simple(row->pattern, said))
			g_error("%s %s: \"%s\" is not \"%s\"", row->command, row->args, said,
				row->pattern);
	}
	g_clear_pointer(&node, json_node_unref);
	node = serve_call(serve, "query-devices", NULL);
	after = json_to_string(node, FALSE);
	g_assert_cmpstr(before, ==, after);
	g_assert_cmpuint(serve_count(serve, "query-backends", NULL), ==, 1);
	g_assert_cmpuint(serve_count(serve, "query-offers", NULL), ==, 0);
}

/* A host that dies releases nothing: the next one finds what was accepted. */
static void test_host_dies(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(ServeHost) first = NULL, second = NULL;
	g_autoptr(JsonObject) device = NULL, recovered = NULL;
	g_autofree char *said = NULL;

	serve_write_config(serve, CONFIG);
	serve_start(serve, NULL);
	first = serve_host(serve, "cxl-dcd0", NULL);
	serve_pass_event(serve, "HOST_CONNECTED");
	said = serve_refused(serve, "device-del", "'id': 'cxl-dcd0'");
	g_assert_true(g_pattern_match_simple("GenericError *cxl-dcd0*connected*", said));
	serve_do(serve, "object-add",
		 "'qom-type': 'memory-backend-ram', 'id': 'hm0', 'size': 4194304, 'tag': '" TAG_A
		 "'");
	serve_do(serve, "cxl-add-dynamic-capacity",
		 PATH ", 'selection-policy': 'contiguous', 'region': 0, 'tag': '" TAG_A "'");
	serve_host_pass(first, "accepted");
	g_assert_cmpint(serve_host_end(first, SIGKILL), ==, -SIGKILL);
	serve_pass_event(serve, "HOST_DISCONNECTED");
	device = serve_first(serve, "query-devices", NULL);
	g_assert_true(json_object_get_null_member(device, "host"));
	g_assert_cmpint(json_object_get_int_member(device, "extents"), ==, 1);
	second = serve_host(serve, "cxl-dcd0", NULL);
	recovered = serve_host_event(second, "accepted");
	g_assert_true(json_object_get_boolean_member(recovered, "recovered"));
	g_assert_cmpint(serve_host_end(second, SIGTERM), ==, 0);
	serve_wait_backend(serve, "hm0", "free");
}

/* Untagged capacity, withdrawn and forced out. */
static void test_untagged(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(ServeHost) host = NULL;
	g_autoptr(JsonObject) offer = NULL, extent = NULL;

	serve_write_config(serve, CONFIG);
	serve_start(serve, "--ephemeral", NULL);
	serve_do(serve, "cxl-add-dynamic-capacity",
		 PATH ", 'selection-policy': 'free', 'region': 0, 'length': 4194304");
	offer = serve_first(serve, "query-offers", "'device': 'cxl-dcd0'");
	g_assert_cmpstr(json_object_get_string_member(offer, "state"), ==, "queued");
	g_assert_nonnull(json_object_get_string_member(offer, "waits-for"));
	serve_do(serve, "x-withdraw-offer", "'path': 'cxl-dcd0', 'offer': %" G_GINT64_FORMAT,
		 json_object_get_int_member(offer, "id"));
	serve_pass_event(serve, "CAPACITY_WITHDRAWN");
	host = serve_host(serve, "cxl-dcd0", NULL);
	serve_do(serve, "cxl-add-dynamic-capacity",
		 PATH ", 'selection-policy': 'free', 'region': 0, 'length': 4194304");
	serve_host_pass(host, "accepted");
	serve_pass_event(serve, "CAPACITY_ACCEPTED");
	extent = serve_first(serve, "query-extents", NULL);
	g_assert_true(json_object_get_null_member(extent, "tag"));
	serve_do(serve, "cxl-release-dynamic-capacity",
		 PATH ", 'removal-policy': 'prescriptive', 'region': 0, 'forced-removal': true, "
		      "'extents': [{'offset': 0, 'len': 4194304}]");
	serve_pass_event(serve, "CAPACITY_FORCED");
	serve_host_pass(host, "lost");
	g_assert_cmpint(serve_host_end(host, SIGTERM), ==, 0);
}

/* One dataset, two hosts: each has its own extents, the bytes count once. */
static void test_shared(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(ServeHost) first = NULL, second = NULL;
	g_autoptr(JsonNode) node = NULL;
	g_autoptr(JsonObject) backend = NULL;
	g_autofree char *said = NULL;
	JsonArray *extents;

	serve_write_config(serve, "[device a]\ndc-regions = 256M,sharable\nhold = off\n"
				  "[device b]\ndc-regions = 256M,sharable\nhold = off\n"
				  "[backend set]\nsize = 4M\nshareable = true\ntag = " TAG_A "\n");
	serve_start(serve, NULL);
	first = serve_host(serve, "a", NULL);
	second = serve_host(serve, "b", NULL);
	said = serve_refused(serve, "cxl-add-dynamic-capacity",
			     "'path': 'b', 'host-id': 0, 'region': 0, 'selection-policy': "
			     "'enable-shared-access', 'tag': '" TAG_A "'");
	g_assert_nonnull(strstr(said, "accepted by no host yet"));
	serve_do(serve, "cxl-add-dynamic-capacity",
		 "'path': 'a', 'host-id': 0, 'region': 0, 'selection-policy': 'prescriptive', "
		 "'tag': '" TAG_A "', 'extents': [{'offset': 8388608, 'len': 2097152}, "
		 "{'offset': 0, 'len': 2097152}]");
	serve_host_pass(first, "accepted");
	serve_pass_event(serve, "CAPACITY_ACCEPTED");
	serve_pass_event(serve, "CAPACITY_ACCEPTED");
	node = serve_call(serve, "query-extents", NULL);
	extents = json_node_get_array(node);
	g_assert_cmpuint(json_array_get_length(extents), ==, 2);
	for (guint i = 0; i < 2; i++) {
		JsonObject *extent = json_array_get_object_element(extents, i);

		g_assert_cmpint(json_object_get_int_member(extent, "seq"), ==, i);
		g_assert_cmpint(json_object_get_int_member(extent, "backend-offset"), ==,
				(gint64)(i * BLOCK));
	}
	serve_do(serve, "cxl-add-dynamic-capacity",
		 "'path': 'b', 'host-id': 0, 'region': 0, 'selection-policy': "
		 "'enable-shared-access', 'tag': '" TAG_A "'");
	serve_host_pass(second, "accepted");
	serve_pass_event(serve, "CAPACITY_ACCEPTED");
	backend = serve_first(serve, "query-backends", NULL);
	g_assert_cmpint(json_object_get_int_member(json_object_get_object_member(backend, "bytes"),
						   "accepted"),
			==, (gint64)(2 * BLOCK));
	serve_do(serve, "cxl-release-dynamic-capacity",
		 "'path': 'a', 'host-id': 0, 'region': 0, 'removal-policy': 'tag-based', 'tag': "
		 "'" TAG_A "'");
	serve_host_pass(first, "released");
	serve_pass_event(serve, "CAPACITY_FREED");
	serve_wait_backend(serve, "set", "accepted");
	g_assert_cmpint(serve_host_end(second, SIGTERM), ==, 0);
	serve_wait_backend(serve, "set", "free");
	g_assert_cmpint(serve_host_end(first, SIGTERM), ==, 0);
}

/* All is taken away, whatever the host does. */
static void test_forget(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(ServeHost) host = NULL;

	serve_write_config(serve, CONFIG MEM0);
	serve_start(serve, NULL);
	host = serve_host(serve, "cxl-dcd0", NULL);
	serve_do(serve, "cxl-add-dynamic-capacity",
		 PATH ", 'selection-policy': 'contiguous', 'region': 0, 'tag': '" TAG_A "'");
	serve_host_pass(host, "accepted");
	/* It says nothing any more. */
	stop_process(host->pid);
	serve_do(serve, "x-device-reset", "'id': 'cxl-dcd0', 'forget': true");
	g_assert_cmpuint(serve_count(serve, "query-extents", "'tag': '" TAG_B "'"), ==, 0);
	g_assert_cmpint(serve_host_end(host, SIGKILL), ==, -SIGKILL);
	serve_wait_backend(serve, "mem0", "free");
	g_assert_cmpuint(serve_count(serve, "query-extents", NULL), ==, 0);
}

static gint compare_names(gconstpointer a, gconstpointer b, gpointer opaque)
{
	return strcmp(a, b);
}

/* Every member's name in TEXT, once each, sorted, in one string. Caller frees. */
static char *member_names(const char *text)
{
	g_autoptr(GRegex) regex = g_regex_new("\"([a-z-]+)\" ?:", 0, 0, NULL);
	g_autoptr(GMatchInfo) match = NULL;
	g_autoptr(GTree) names = g_tree_new_full(compare_names, NULL, g_free, NULL);
	GString *all = g_string_new(NULL);

	for (g_regex_match(regex, text, 0, &match); g_match_info_matches(match);
	     g_match_info_next(match, NULL))
		g_tree_insert(names, g_match_info_fetch(match, 1), NULL);
	for (GTreeNode *node = g_tree_node_first(names); node; node = g_tree_node_next(node))
		g_string_append_printf(all, " %s", (const char *)g_tree_node_key(node));
	return g_string_free(all, FALSE);
}

/* The example that docs/qmp.md gives for a command's answer. Caller frees. */
static char *documented_answer(const char *command)
{
	static const char counters[] =
		"{\"total\":, \"free\":, \"reserved\":, \"accepted\":, \"draining\":, "
		"\"quarantined\":}";
	g_autofree char *path = g_test_build_filename(G_TEST_DIST, "..", "docs", "qmp.md", NULL);
	g_autofree char *title = g_strdup_printf("\n### %s\n", command);
	g_autofree char *text = NULL, *example = NULL;
	g_auto(GStrv) parts = NULL;
	const char *start, *end;

	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	start = strstr(text, title);
	g_assert_nonnull(start);
	start = strstr(start, "```\n");
	end = strstr(start + 4, "```");
	example = g_strndup(start, (gsize)(end - start));
	parts = g_strsplit(example, "COUNTERS", -1);
	return g_strjoinv(counters, parts);
}

/* What the queries answer has the members that docs/qmp.md shows, no more and no less. */
static void test_documented(void)
{
	static const char *const commands[] = {
		"query-pool",    "query-backends", "query-devices",
		"query-extents", "query-offers",   "query-releases"
	};
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(ServeHost) host = NULL;

	serve_write_config(serve, CONFIG MEM0);
	serve_start(serve, NULL);
	host = serve_host(serve, "cxl-dcd0", NULL);
	serve_do(serve, "cxl-add-dynamic-capacity",
		 PATH ", 'selection-policy': 'contiguous', 'region': 0, 'tag': '" TAG_A "'");
	serve_host_pass(host, "accepted");
	serve_pass_event(serve, "CAPACITY_ACCEPTED");
	serve_do(serve, "cxl-release-dynamic-capacity",
		 PATH ", 'region': 0, 'removal-policy': 'tag-based', 'tag': '" TAG_A "'");
	serve_host_pass(host, "released");
	/* While it stands still the next offer stays one. */
	stop_process(host->pid);
	serve_do(serve, "cxl-add-dynamic-capacity",
		 PATH ", 'selection-policy': 'free', 'region': 0, 'length': 2097152");
	for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
		g_autoptr(JsonNode) node = serve_call(serve, commands[i], NULL);
		g_autofree char *text = json_to_string(node, FALSE);
		g_autofree char *example = documented_answer(commands[i]);
		g_autofree char *is = member_names(text), *should_be = member_names(example);

		g_test_message("%s", commands[i]);
		g_assert_cmpstr(is, ==, should_be);
	}
}

/* Records of every kind go in; the audit is read page by page. */
static void test_inject_and_audit(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(JsonNode) node = NULL;
	JsonObject *page;
	g_autofree char *cursor = NULL;
	guint n;

	serve_write_config(serve, CONFIG);
	serve_start(serve, NULL);
	serve_do(serve, "cxl-inject-general-media-event",
		 "'path': 'cxl-dcd0', 'log': 'fatal', 'flags': 0, 'dpa': 4096, 'descriptor': 1, "
		 "'type': 0, 'transaction-type': 1, 'sub-type': 0, 'component-id': 'abc'");
	serve_do(serve, "cxl-inject-dram-event",
		 "'path': 'cxl-dcd0', 'log': 'warning', 'flags': 0, 'dpa': 4096, 'descriptor': 1, "
		 "'type': 0, 'transaction-type': 1, 'sub-type': 0, 'correction-mask': "
		 "[18446744073709551615, 1]");
	serve_do(serve, "cxl-inject-memory-module-event",
		 "'path': 'cxl-dcd0', 'log': 'failure', 'flags': 0, 'type': 1, 'health-status': 1, "
		 "'media-status': 2, 'additional-status': 3, 'life-used': 4, 'temperature': -40, "
		 "'dirty-shutdown-count': 5, 'corrected-volatile-error-count': 6, "
		 "'corrected-persistent-error-count': 7, 'sub-type': 0");
	for (unsigned i = 0; i < 5; i++)
		serve_do(serve, "device-add", "'id': 'd%u', 'ram': 268435456", i);
	node = serve_call(serve, "x-query-audit", "'limit': 2");
	page = json_node_get_object(node);
	g_assert_cmpuint(json_array_get_length(json_object_get_array_member(page, "records")), ==,
			 2);
	g_assert_true(json_object_get_boolean_member(page, "more"));
	cursor = g_strdup(json_object_get_string_member(page, "cursor"));
	for (n = 2; json_object_get_boolean_member(page, "more"); n++) {
		g_clear_pointer(&node, json_node_unref);
		node = serve_call(serve, "x-query-audit", "'limit': 1, 'cursor': '%s'", cursor);
		page = json_node_get_object(node);
		g_free(cursor);
		cursor = g_strdup(json_object_get_string_member(page, "cursor"));
	}
	/* The start, and five devices. */
	g_assert_cmpuint(n, ==, 6);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/serve-life/tester-sequence", test_tester_sequence);
	g_test_add_func("/protocol/serve-life/refusals", test_refusals);
	g_test_add_func("/protocol/serve-life/host-dies", test_host_dies);
	g_test_add_func("/protocol/serve-life/untagged", test_untagged);
	g_test_add_func("/protocol/serve-life/shared", test_shared);
	g_test_add_func("/protocol/serve-life/forget", test_forget);
	g_test_add_func("/protocol/serve-life/documented", test_documented);
	g_test_add_func("/protocol/serve-life/inject-and-audit", test_inject_and_audit);
	return g_test_run();
}
