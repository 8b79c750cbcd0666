/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd list: the pool, its devices, backends, extents, offers and release requests. */
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/columns.h"

#include <stdio.h>
#include <string.h>

typedef struct Kind {
	const char *option; /* and the key in the result */
	const char *command;
	const char *title;
	const CliColumn *columns;
	const char *device_member; /* what --device is compared with; NULL = not filtered */
	const char *tag_member;
} Kind;

static const Kind kinds[] = {
	{ "devices", "query-devices", "devices", cli_device_columns, "id", NULL },
	{ "backends", "query-backends", "backends", cli_backend_columns, NULL, "tag" },
	{ "extents", "query-extents", "extents", cli_extent_columns, "device", "tag" },
	{ "offers", "query-offers", "offers", cli_offer_columns, "device", "tag" },
	{ "releases", "query-releases", "release requests", cli_release_columns, "device", "tag" },
};

static bool wants(const CliArgs *args, const char *option)
{
	bool any = cli_flag(args, "summary");

	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++)
		any |= cli_flag(args, kinds[i].option);
	return !any || cli_flag(args, option);
}

static bool fits(const CliArgs *args, const Kind *kind, JsonObject *object)
{
	const CliValue *tag = cli_value(args, "tag", 0);
	const char *device = cli_text(args, "device");

	if (device && kind->device_member &&
	    g_strcmp0(cli_member_text(object, kind->device_member), device) != 0)
		return false;
	return !tag || !kind->tag_member ||
	       g_strcmp0(cli_member_text(object, kind->tag_member), tag->tag_text) == 0;
}

/* For the longest of the lists the daemon leaves out what is not asked for. */
static JsonObject *query_arguments(const CliArgs *args, const Kind *kind)
{
	const CliValue *tag = cli_value(args, "tag", 0);
	const char *device = cli_text(args, "device");
	JsonObject *arguments;

	if (strcmp(kind->command, "query-extents") != 0 || (!tag && !device))
		return NULL;
	arguments = json_object_new();
	if (device)
		json_object_set_string_member(arguments, "device", device);
	if (tag)
		json_object_set_string_member(arguments, "tag", tag->tag_text);
	return arguments;
}

static JsonArray *query(CliClient *client, const Kind *kind)
{
	g_autoptr(JsonArray)
		all = cli_client_list(client, kind->command, query_arguments(client->args, kind));
	JsonArray *list;

	if (!all)
		return NULL;
	list = json_array_sized_new(json_array_get_length(all));
	for (guint i = 0; i < json_array_get_length(all); i++) {
		JsonObject *object = json_array_get_object_element(all, i);

		if (fits(client->args, kind, object))
			json_array_add_object_element(list, json_object_ref(object));
	}
	return list;
}

static bool collect(CliClient *client, JsonObject *result)
{
	if (wants(client->args, "summary")) {
		JsonObject *pool = cli_client_object(client, "query-pool", NULL);

		if (!pool)
			return false;
		json_object_set_object_member(result, "pool", pool);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
		JsonArray *list;

		if (!wants(client->args, kinds[i].option))
			continue;
		list = query(client, &kinds[i]);
		if (!list)
			return false;
		json_object_set_array_member(result, kinds[i].option, list);
	}
	return true;
}

static void append_pool(GString *text, JsonObject *result)
{
	g_autoptr(JsonArray) rows = json_array_new();

	json_array_add_object_element(
		rows, json_object_ref(json_object_get_object_member(result, "pool")));
	cli_table_append(text, rows, cli_pool_columns);
}

static void print_tables(JsonObject *result)
{
	g_autoptr(GString) text = g_string_new(NULL);

	if (json_object_has_member(result, "pool"))
		append_pool(text, result);
	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
		JsonArray *list;

		if (!json_object_has_member(result, kinds[i].option))
			continue;
		list = json_object_get_array_member(result, kinds[i].option);
		if (text->len)
			g_string_append_c(text, '\n');
		if (json_array_get_length(list) > 0)
			cli_table_append(text, list, kinds[i].columns);
		else
			g_string_append_printf(text, "no %s\n", kinds[i].title);
	}
	fputs(text->str, stdout);
}

static ExitCode run(const CliArgs *args)
{
	g_autoptr(JsonObject) result = json_object_new();
	CliClient client;

	if (!cli_client_open(&client, args))
		return client.exit;
	if (collect(&client, result)) {
		if (cli_wants_table(args)) {
			print_tables(result);
		} else {
			g_autoptr(JsonNode) node = json_node_alloc();

			json_node_init_object(node, result);
			cli_print_json(node);
		}
	}
	cli_client_close(&client);
	return client.exit;
}

/* ---- the table ---- */

static const CliParam options[] = {
	{ .name = "summary", .short_name = 'S', .type = CLI_FLAG, .help = "the pool itself" },
	{ .name = "devices", .short_name = 'D', .type = CLI_FLAG, .help = "devices" },
	{ .name = "backends", .short_name = 'B', .type = CLI_FLAG, .help = "backends" },
	{ .name = "extents", .short_name = 'X', .type = CLI_FLAG, .help = "extents" },
	{ .name = "offers", .short_name = 'O', .type = CLI_FLAG, .help = "unanswered offers" },
	{ .name = "releases", .short_name = 'R', .type = CLI_FLAG, .help = "release requests" },
	{ .name = "device",
	  .type = CLI_NAME,
	  .source = CLI_FROM_DEVICES,
	  .help = "only what belongs to this device" },
	{ .name = "tag",
	  .type = CLI_TAG,
	  .source = CLI_FROM_TAGS,
	  .help = "only what has this tag" },
	{ .name = NULL },
};

static const CliExample examples[] = {
	{ "list", "everything" },
	{ "list -XO --device dev0", "what the host of dev0 has, and what it was offered" },
	{ "list -B --json | jq '.backends[] | select(.clean | not).id'",
	  "the backends somebody has used" },
	{ .command = NULL },
};

static const char *const see_also[] = { "events", "wait", "qmp", NULL };

const CliVerb verb_list = {
	.name = "list",
	.run = run,
	.summary = "list what is in the pool",
	.text = "Prints one object with a member for each kind asked for: pool, devices, backends, "
		"extents, offers, releases; all of them if none is named. What each element has "
		"is described in docs/qmp.md, at the query of that name.\n\n"
		"In tables, CONTROL-ONLY says that a host has no memory link, as under a stock "
		"QEMU: it can accept and release, but nothing is mapped. MISSED-READS and "
		"MISSED-WRITES are accesses of a KVM machine's guest to the device's window where "
		"no memory was: the former read all-ones, the latter were dropped. BACKED is "
		"memory really allocated. LEFT of a release request are bytes still accepted.",
	.options = options,
	.examples = examples,
	.see_also = see_also,
	.flags = CLI_VERB_CLIENT | CLI_VERB_OUTPUT,
	.exits = 1 << EXIT_TIMED_OUT | 1 << EXIT_NO_OBJECT | 1 << EXIT_NO_DAEMON,
};
