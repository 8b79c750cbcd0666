/* SPDX-License-Identifier: BSD-3-Clause */
/* Waiting for a state of the pool: ask, then ask again whenever something has happened. */
#include "cli/wait.h"

/* So often even without an event: the end of a drain, for one, need not make one. */
#define LOOK_AGAIN_MS 1000

static void handle_event(CliClient *client, const CliWaitOps *ops, void *opaque, JsonObject *event)
{
	const char *name = cli_member_text(event, "event");
	JsonNode *data = json_object_get_member(event, "data");

	if (ops->event && name && data && JSON_NODE_HOLDS_OBJECT(data))
		ops->event(client, name, json_node_get_object(data), opaque);
	json_object_unref(event);
}

/* One event, and all that have come with it: 64 Ki extents are not 64 Ki reasons to ask. */
static bool await_events(CliClient *client, const CliWaitOps *ops, void *opaque)
{
	unsigned timeout_ms = LOOK_AGAIN_MS;

	do {
		JsonObject *event;

		switch (cli_client_event(client, timeout_ms, &event)) {
		case CLI_EVENT_ARRIVED:
			handle_event(client, ops, opaque, event);
			break;
		case CLI_EVENT_NONE:
			return true;
		case CLI_EVENT_FAILED:
			return false;
		}
		timeout_ms = 1;
	} while (qmp_client_has_event(client->qmp));
	return true;
}

void cli_wait(CliClient *client, const CliWaitOps *ops, void *opaque)
{
	g_autofree char *what = NULL;

	client->waits = true;
	while (ops->look(client, opaque) == CLI_WAIT_ON && await_events(client, ops, opaque))
		;
	client->waits = false;
	if (client->exit != EXIT_TIMED_OUT || !client->deadline_us)
		return;
	what = ops->waited_for(opaque);
	cli_complain(client->args, "timed out after %s: %s", cli_text(client->args, "timeout"),
		     what);
}

JsonArray *cli_query_extents(CliClient *client, const char *device, const char *tag)
{
	JsonObject *arguments = json_object_new();

	json_object_set_string_member(arguments, "device", device);
	if (tag)
		json_object_set_string_member(arguments, "tag", tag);
	return cli_client_list(client, "query-extents", arguments);
}

bool cli_is_in_state(JsonArray *list, guint i, const char *state)
{
	return g_strcmp0(cli_member_text(json_array_get_object_element(list, i), "state"), state) ==
	       0;
}

uint64_t cli_bytes_in_state(JsonArray *list, const char *state)
{
	uint64_t bytes = 0;

	for (guint i = 0; i < json_array_get_length(list); i++) {
		if (cli_is_in_state(list, i, state))
			bytes += (uint64_t)cli_member_int(json_array_get_object_element(list, i),
							  "len");
	}
	return bytes;
}
