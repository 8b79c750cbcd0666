/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads the daemon's audit log, page by page. */
#include "cli/audit.h"

#include "cli/client.h"

static int64_t record_time_us(JsonObject *record)
{
	const char *text = cli_member_text(record, "time");
	g_autoptr(GDateTime) time = text ? g_date_time_new_from_iso8601(text, NULL) : NULL;

	return time ? g_date_time_to_unix(time) * G_USEC_PER_SEC + g_date_time_get_microsecond(time)
		    : 0;
}

static JsonObject *read_page(QmpClient *client, int64_t since_us, const char *cursor,
			     unsigned timeout_ms, GError **error)
{
	JsonObject *arguments = json_object_new();
	g_autoptr(JsonNode) page = NULL;

	json_object_set_int_member(arguments, "since", since_us);
	if (cursor)
		json_object_set_string_member(arguments, "cursor", cursor);
	page = qmp_client_call(client, "x-query-audit", arguments, timeout_ms, error);
	if (!page)
		return NULL;
	if (JSON_NODE_HOLDS_OBJECT(page))
		return json_object_ref(json_node_get_object(page));
	g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC,
		    "the daemon's answer to x-query-audit is no object: is it another version?");
	return NULL;
}

/* How many there were. */
static guint tell(JsonObject *page, CliAuditFunc *func, void *opaque)
{
	JsonNode *node = json_object_get_member(page, "records");
	JsonArray *records = node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;

	for (guint i = 0; records && i < json_array_get_length(records); i++) {
		JsonNode *record = json_array_get_element(records, i);

		if (JSON_NODE_HOLDS_OBJECT(record))
			func(json_node_get_object(record),
			     record_time_us(json_node_get_object(record)), opaque);
	}
	return records ? json_array_get_length(records) : 0;
}

bool cli_read_audit(QmpClient *client, int64_t since_us, unsigned timeout_ms, CliAuditFunc *func,
		    void *opaque, GError **error)
{
	g_autofree char *cursor = NULL;
	bool more = true;

	while (more) {
		g_autoptr(JsonObject) page = read_page(client, since_us, cursor, timeout_ms, error);

		if (!page)
			return false;
		/* A page that is empty and promises more would be asked for again and again. */
		more = tell(page, func, opaque) > 0 &&
		       json_object_get_boolean_member_with_default(page, "more", FALSE);
		g_free(cursor);
		cursor = g_strdup(cli_member_text(page, "cursor"));
		more &= cursor != NULL;
	}
	return true;
}
