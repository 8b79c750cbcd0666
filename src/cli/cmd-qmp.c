/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd qmp: one request as it is. */
#include "cli/client.h"
#include "cli/cmd.h"

#include <stdio.h>
#include <string.h>

/* A command's name alone is a request too. */
static JsonNode *read_request(const CliArgs *args)
{
	const char *text = cli_text(args, "REQUEST");
	size_t name_len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-_");
	g_autoptr(GError) error = NULL;
	JsonNode *request;

	if (name_len > 0 && !text[name_len]) {
		JsonObject *object = json_object_new();

		json_object_set_string_member(object, "execute", text);
		request = json_node_new(JSON_NODE_OBJECT);
		json_node_take_object(request, object);
		return request;
	}
	request = qmp_json_parse(text, strlen(text), &qmp_json_request_limits, &error);
	if (request && JSON_NODE_HOLDS_OBJECT(request))
		return request;
	cli_complain(args, "argument REQUEST: %s",
		     request ? "must be a JSON object with \"execute\", or a command's name"
			     : error->message);
	g_clear_pointer(&request, json_node_unref);
	return NULL;
}

static ExitCode exit_of_answer(JsonNode *answer)
{
	JsonObject *object = json_node_get_object(answer);
	JsonNode *error = json_object_get_member(object, "error");
	const char *class;

	if (!error)
		return EXIT_DONE;
	class = JSON_NODE_HOLDS_OBJECT(error)
			? cli_member_text(json_node_get_object(error), "class")
			: NULL;
	return g_strcmp0(class, "DeviceNotFound") == 0 ? EXIT_NO_OBJECT : EXIT_REFUSED;
}

static ExitCode run(const CliArgs *args)
{
	g_autoptr(JsonNode) request = read_request(args);
	g_autoptr(JsonNode) answer = NULL;
	g_autoptr(GString) text = g_string_new(NULL);
	GError *error = NULL;
	CliClient client;

	if (!request)
		return EXIT_USAGE;
	if (!cli_client_open(&client, args))
		return client.exit;
	answer = qmp_client_call_raw(client.qmp, request, 0, &error);
	if (answer) {
		qmp_json_append(text, answer);
		puts(text->str);
		client.exit = exit_of_answer(answer);
	} else {
		cli_client_fail(&client, error);
	}
	cli_client_close(&client);
	return client.exit;
}

/* ---- the table ---- */

static const CliParam positionals[] = {
	{ .name = "REQUEST",
	  .type = CLI_TEXT,
	  .required = true,
	  .help = "a JSON object with \"execute\" and maybe \"arguments\" and \"id\", or only the "
		  "name of a command" },
	{ .name = NULL },
};

static const CliExample examples[] = {
	{ "qmp query-commands", "what may be asked" },
	{ "qmp '{\"execute\": \"query-extents\", \"arguments\": {\"device\": \"dev0\"}}'",
	  "a command with arguments" },
	{ .command = NULL },
};

static const char *const see_also[] = { "list", "events", NULL };

const CliVerb verb_qmp = {
	.name = "qmp",
	.run = run,
	.summary = "send one request to the control socket and print the answer",
	.text = "The control socket speaks QMP, QEMU's machine protocol, with QEMU's commands "
		"where "
		"QEMU has them. This verb greets, sends the request, and prints the answer as it "
		"comes, on one line; an answer that is an error ends it with 1, or with 4 if a "
		"device is not there. Commands, results and events are in docs/qmp.md.",
	.positionals = positionals,
	.examples = examples,
	.see_also = see_also,
	.flags = CLI_VERB_CLIENT,
	.exits = 1 << EXIT_NO_OBJECT | 1 << EXIT_NO_DAEMON,
};
