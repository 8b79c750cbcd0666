/* SPDX-License-Identifier: BSD-3-Clause */
/* Names that completion asks a daemon for. */
#include "cli/names.h"
#include "qmp/qmp_client.h"
#include "util/socket_dir.h"

#include <inttypes.h>
#include <unistd.h>

#define NAMES_TIMEOUT_MS 1000

typedef struct NamesQuery {
	const char *command;
	const char *member; /* of each element of the result */
} NamesQuery;

static const NamesQuery queries[] = {
	[CLI_FROM_DEVICES] = { "query-devices", "id" },
	[CLI_FROM_BACKENDS] = { "query-backends", "id" },
	[CLI_FROM_TAGS] = { "query-backends", "tag" },
	[CLI_FROM_OFFERS] = { "query-offers", "id" },
};

static void add_member(JsonNode *element, const char *member, GPtrArray *names)
{
	JsonNode *value = JSON_NODE_HOLDS_OBJECT(element)
				  ? json_object_get_member(json_node_get_object(element), member)
				  : NULL;

	if (!value || !JSON_NODE_HOLDS_VALUE(value))
		return;
	if (json_node_get_value_type(value) == G_TYPE_STRING)
		g_ptr_array_add(names, json_node_dup_string(value));
	else if (json_node_get_value_type(value) == G_TYPE_INT64)
		g_ptr_array_add(names, g_strdup_printf("%" PRId64, json_node_get_int(value)));
}

static void ask_daemon(const NamesQuery *query, const CliTarget *target, GPtrArray *names)
{
	const char *pool = target->pool ? target->pool : "default";
	g_autofree char *dir = target->socket ? NULL : socket_dir_find(pool, NULL);
	g_autofree char *path = target->socket ? g_strdup(target->socket)
				: dir          ? socket_dir_socket_path(dir, "qmp.sock", NULL)
					       : NULL;
	g_autoptr(QmpClient) client = path ? qmp_client_connect(path, NAMES_TIMEOUT_MS, NULL)
					   : NULL;
	g_autoptr(JsonNode) result = client ? qmp_client_call(client, query->command, NULL,
							      NAMES_TIMEOUT_MS, NULL)
					    : NULL;
	JsonArray *list = result && JSON_NODE_HOLDS_ARRAY(result) ? json_node_get_array(result)
								  : NULL;

	for (guint i = 0; list && i < json_array_get_length(list); i++)
		add_member(json_array_get_element(list, i), query->member, names);
}

/* The directories in PARENT that have a control socket. */
static void add_pools(const char *parent, GPtrArray *names)
{
	g_autoptr(GDir) dir = g_dir_open(parent, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir)) != NULL) {
		g_autofree char *path = g_build_filename(parent, name, "qmp.sock", NULL);

		if (access(path, F_OK) == 0)
			g_ptr_array_add(names, g_strdup(name));
	}
}

void cli_ask_names(CliSource source, const CliTarget *target, GPtrArray *ret_names)
{
	g_autofree char *own = NULL;

	if (source != CLI_FROM_POOLS) {
		ask_daemon(&queries[source], target, ret_names);
		return;
	}
	if (g_getenv("XDG_RUNTIME_DIR")) {
		own = g_build_filename(g_getenv("XDG_RUNTIME_DIR"), "softdcd", NULL);
		add_pools(own, ret_names);
	}
	add_pools("/run/softdcd", ret_names);
}
