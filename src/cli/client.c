/* SPDX-License-Identifier: BSD-3-Clause */
/* A client verb's talk with the daemon: every failure is told on stderr and becomes an exit code.
 */
#include "cli/client.h"

#include "cli/verb.h"
#include "util/socket_dir.h"

#include <inttypes.h>
#include <string.h>

/* ---- members ---- */

static JsonNode *member_value(JsonObject *object, const char *name, GType type)
{
	JsonNode *node = json_object_get_member(object, name);

	return node && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == type ? node
											     : NULL;
}

const char *cli_member_text(JsonObject *object, const char *name)
{
	JsonNode *node = member_value(object, name, G_TYPE_STRING);

	return node ? json_node_get_string(node) : NULL;
}

int64_t cli_member_int(JsonObject *object, const char *name)
{
	JsonNode *node = member_value(object, name, G_TYPE_INT64);

	return node ? json_node_get_int(node) : 0;
}

/* ---- connection ---- */

char *cli_client_socket_path(const CliArgs *args)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *dir = NULL;
	char *path;

	if (cli_given(args, "socket"))
		return g_strdup(cli_text(args, "socket"));
	dir = socket_dir_find(cli_text(args, "pool"), &error);
	path = dir ? socket_dir_socket_path(dir, "qmp.sock", &error) : NULL;
	if (!path)
		cli_complain(args, "%s", error->message);
	return path;
}

bool cli_client_open(CliClient *client, const CliArgs *args)
{
	g_autofree char *path = cli_client_socket_path(args);
	g_autoptr(GError) error = NULL;

	*client = (CliClient){ .args = args, .exit = EXIT_NO_DAEMON };
	if (!path)
		return false;
	client->qmp = qmp_client_connect(path, QMP_CLIENT_TIMEOUT_MS, &error);
	if (!client->qmp) {
		cli_complain(args, "%s", error->message);
		return false;
	}
	client->exit = EXIT_DONE;
	return true;
}

void cli_client_close(CliClient *client)
{
	g_clear_pointer(&client->qmp, qmp_client_free);
}

void cli_client_set_deadline(CliClient *client)
{
	const CliValue *timeout = cli_value(client->args, "timeout", 0);

	if (timeout)
		client->deadline_us = g_get_monotonic_time() + (gint64)timeout->number * 1000;
}

/* What is left of TIMEOUT_MS before the deadline, at least 1; 0 = without end. */
static unsigned left_ms(const CliClient *client, unsigned timeout_ms)
{
	gint64 left;

	if (!client->deadline_us)
		return timeout_ms;
	left = (client->deadline_us - g_get_monotonic_time() + 999) / 1000;
	left = CLAMP(left, 1, INT32_MAX);
	return timeout_ms && timeout_ms < left ? timeout_ms : (unsigned)left;
}

/* ---- failures ---- */

static ExitCode exit_of(const GError *error)
{
	if (g_error_matches(error, QMP_ERROR, QMP_ERROR_DEVICE_NOT_FOUND))
		return EXIT_NO_OBJECT;
	if (error->domain == QMP_ERROR)
		return EXIT_REFUSED;
	return g_error_matches(error, QMP_CLIENT_ERROR, QMP_CLIENT_ERROR_TIMED_OUT)
		       ? EXIT_TIMED_OUT
		       : EXIT_NO_DAEMON;
}

void *cli_client_fail(CliClient *client, GError *error)
{
	cli_complain(client->args, "%s", error->message);
	client->exit = exit_of(error);
	g_error_free(error);
	return NULL;
}

/* Is there an element of COMMAND's list whose MEMBER is VALUE? Unsure counts as yes. */
static bool is_listed(CliClient *client, const char *command, const char *member,
		      const CliValue *value)
{
	g_autoptr(JsonNode)
		result = qmp_client_call(client->qmp, command, NULL, QMP_CLIENT_TIMEOUT_MS, NULL);
	JsonArray *list;

	if (!result || !JSON_NODE_HOLDS_ARRAY(result))
		return true;
	list = json_node_get_array(result);
	for (guint i = 0; i < json_array_get_length(list); i++) {
		JsonNode *node = json_array_get_element(list, i);
		JsonObject *object = JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node)
								  : NULL;
		const char *text = object ? cli_member_text(object, member) : NULL;

		if (text && g_str_equal(text, value->tag_text[0] ? value->tag_text : value->text))
			return true;
		if (object && member_value(object, member, G_TYPE_INT64) &&
		    cli_member_int(object, member) == (int64_t)value->number)
			return true;
	}
	return false;
}

/*
 * QEMU's commands answer everything with one class, so what is missing is found out afterwards.
 * Names are looked for where the table says they come from.
 */
static bool names_something_missing(CliClient *client, const CliParam *param)
{
	static const struct {
		const char *command, *member;
	} lists[] = {
		[CLI_FROM_DEVICES] = { "query-devices", "id" },
		[CLI_FROM_BACKENDS] = { "query-backends", "id" },
		[CLI_FROM_TAGS] = { "query-backends", "tag" },
		[CLI_FROM_OFFERS] = { "query-offers", "id" },
	};
	const CliValue *value = cli_value(client->args, param->name, 0);

	return value && param->source < G_N_ELEMENTS(lists) && lists[param->source].command &&
	       !is_listed(client, lists[param->source].command, lists[param->source].member, value);
}

static ExitCode look_for_missing(CliClient *client)
{
	const CliVerb *verb = cli_args_verb(client->args);
	const CliParam *const lists[] = { verb->positionals, verb->options };

	for (unsigned i = 0; i < G_N_ELEMENTS(lists); i++) {
		for (const CliParam *param = lists[i]; param && param->name; param++) {
			if (names_something_missing(client, param))
				return EXIT_NO_OBJECT;
		}
	}
	return EXIT_REFUSED;
}

/* ---- calls ---- */

/* Is it the deadline that ended the call? */
static bool is_late(const CliClient *client, const GError *error)
{
	return g_error_matches(error, QMP_CLIENT_ERROR, QMP_CLIENT_ERROR_TIMED_OUT) &&
	       client->deadline_us && g_get_monotonic_time() >= client->deadline_us;
}

JsonNode *cli_client_call(CliClient *client, const char *command, JsonObject *arguments,
			  unsigned timeout_ms)
{
	GError *error = NULL;
	JsonNode *result = qmp_client_call(client->qmp, command, arguments,
					   left_ms(client, timeout_ms), &error);
	bool generic;

	if (result)
		return result;
	if (client->waits && is_late(client, error)) {
		g_error_free(error);
		client->exit = EXIT_TIMED_OUT;
		return NULL;
	}
	generic = g_error_matches(error, QMP_ERROR, QMP_ERROR_GENERIC);
	cli_client_fail(client, error);
	if (generic)
		client->exit = look_for_missing(client);
	return NULL;
}

static bool is_of_type(CliClient *client, const char *command, JsonNode *result, JsonNodeType type)
{
	if (JSON_NODE_TYPE(result) == type)
		return true;
	cli_complain(client->args, "the daemon's answer to %s is no %s: is it another version?",
		     command, type == JSON_NODE_ARRAY ? "list" : "object");
	client->exit = EXIT_REFUSED;
	return false;
}

JsonArray *cli_client_list(CliClient *client, const char *command, JsonObject *arguments)
{
	g_autoptr(JsonNode)
		result = cli_client_call(client, command, arguments, CLI_CALL_TIMEOUT_MS);
	JsonArray *list;

	if (!result || !is_of_type(client, command, result, JSON_NODE_ARRAY))
		return NULL;
	list = json_node_get_array(result);
	for (guint i = 0; i < json_array_get_length(list); i++) {
		if (!is_of_type(client, command, json_array_get_element(list, i), JSON_NODE_OBJECT))
			return NULL;
	}
	return json_array_ref(list);
}

JsonObject *cli_client_object(CliClient *client, const char *command, JsonObject *arguments)
{
	g_autoptr(JsonNode)
		result = cli_client_call(client, command, arguments, CLI_CALL_TIMEOUT_MS);

	if (!result || !is_of_type(client, command, result, JSON_NODE_OBJECT))
		return NULL;
	return json_object_ref(json_node_get_object(result));
}

CliEventResult cli_client_event(CliClient *client, unsigned timeout_ms, JsonObject **ret_event)
{
	GError *error = NULL;
	JsonObject *event = qmp_client_next_event(client->qmp, left_ms(client, timeout_ms), &error);
	bool timed_out;

	if (event) {
		*ret_event = event;
		return CLI_EVENT_ARRIVED;
	}
	timed_out = g_error_matches(error, QMP_CLIENT_ERROR, QMP_CLIENT_ERROR_TIMED_OUT);
	if (!timed_out) {
		cli_client_fail(client, error);
		return CLI_EVENT_FAILED;
	}
	g_error_free(error);
	if (!client->deadline_us || g_get_monotonic_time() < client->deadline_us)
		return CLI_EVENT_NONE;
	client->exit = EXIT_TIMED_OUT;
	return CLI_EVENT_FAILED;
}
