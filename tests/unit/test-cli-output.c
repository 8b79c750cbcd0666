/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables for people, and requests from command lines. */
#include "cli/cmd.h"
#include "cli/columns.h"
#include "cli/request.h"

#include <string.h>

static JsonArray *read_rows(const char *text)
{
	g_autoptr(JsonNode) node = json_from_string(text, NULL);

	g_assert_nonnull(node);
	return json_array_ref(json_node_get_array(node));
}

static void test_table(void)
{
	static const CliColumn columns[] = {
		{ "NAME", "id", CLI_COLUMN_TEXT },
		{ "SIZE", "bytes.total", CLI_COLUMN_BYTES },
		{ "DPA", "dpa", CLI_COLUMN_HEX },
		{ "N", "n", CLI_COLUMN_NUMBER },
		{ "FLAGS", "a b", CLI_COLUMN_FLAGS },
		{ "ON", "a", CLI_COLUMN_TEXT },
		{ .title = NULL },
	};
	g_autoptr(JsonArray) rows = read_rows(
		"[{\"id\": \"k\303\244se\", \"bytes\": {\"total\": 1073741824}, \"dpa\": 4096, "
		"\"n\": -1, \"a\": true, \"b\": true},"
		" {\"id\": \"x\", \"bytes\": 5, \"dpa\": null, \"n\": [1], \"a\": false}]");
	g_autoptr(GString) text = g_string_new(NULL);

	cli_table_append(text, rows, columns);
	g_assert_cmpstr(text->str, ==,
			"NAME   SIZE     DPA   N  FLAGS  ON\n"
			"k\303\244se  1 GiB  0x1000  -1  a,b    yes\n"
			"x         -       -   -  -      no\n");
}

/* Whatever a daemon sends, a table is made of it. */
static void test_hostile_rows(void)
{
	static const CliColumn *const tables[] = { cli_pool_columns,    cli_device_columns,
						   cli_backend_columns, cli_extent_columns,
						   cli_offer_columns,   cli_release_columns };
	g_autoptr(JsonArray) rows = read_rows(
		"[{}, {\"id\": {}, \"bytes\": [], \"host\": 3, \"state\": 1.5, \"tag\": true, "
		"\"clean\": \"yes\", \"size\": -1, \"len\": 9223372036854775807}]");

	for (unsigned i = 0; i < G_N_ELEMENTS(tables); i++) {
		g_autoptr(GString) text = g_string_new(NULL);

		cli_table_append(text, rows, tables[i]);
		g_assert_nonnull(strstr(text->str, "\n"));
	}
}

/* ---- requests ---- */

static char *request_of(const CliVerb *verb, const CliMember *members, const char *line)
{
	g_auto(GStrv) argv = NULL;
	int argc;
	g_autoptr(GError) error = NULL;
	g_autoptr(CliArgs) args = NULL;
	g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);

	g_assert_true(g_shell_parse_argv(line, &argc, &argv, NULL));
	args = cli_args_parse(verb, argc, argv, &error);
	g_assert_no_error(error);
	json_node_take_object(node, cli_request_new(args, members));
	return json_to_string(node, FALSE);
}

static void test_request(void)
{
	static const CliMember offer[] = {
		{ "DEVICE", "path" },    { "tag", NULL },  { "region", NULL },
		{ "extent", "extents" }, { "wait", NULL }, { "timeout", NULL },
		{ NULL, NULL },
	};
	static const CliMember device[] = { { "dc", "dc-regions" },
					    { "serial", NULL },
					    { NULL, NULL } };
	g_autofree char *offer_text =
		request_of(&verb_offer, offer,
			   "dev0 --tag URN:UUID:5BE1F00D-2A6B-4F43-9C1E-0D5F3AC0FFEE "
			   "--extent 0:2M --extent 1G:4M --wait");
	g_autofree char *device_text = request_of(&verb_device_add, device,
						  "dev0 --dc 1G --dc 2G,block=4K,sharable");

	g_assert_cmpstr(offer_text, ==,
			"{\"path\":\"dev0\",\"tag\":\"5be1f00d-2a6b-4f43-9c1e-0d5f3ac0ffee\","
			"\"region\":0,\"extents\":[{\"offset\":0,\"len\":2097152},"
			"{\"offset\":1073741824,\"len\":4194304}],\"wait\":true}");
	g_assert_cmpstr(device_text, ==,
			"{\"dc-regions\":[{\"size\":1073741824},{\"size\":2147483648,"
			"\"block-size\":4096,\"sharable\":true}]}");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/cli/output/table", test_table);
	g_test_add_func("/unit/cli/output/hostile-rows", test_hostile_rows);
	g_test_add_func("/unit/cli/output/request", test_request);
	return g_test_run();
}
