/* SPDX-License-Identifier: BSD-3-Clause */
/* From the text of a request to a command that runs, and from its result to an answer. */
#include "qmp/qmp_priv.h"

#include <string.h>

/* ---- answers ---- */

/* Behind the opening brace. As QEMU does, every message ends its line. */
static GBytes *message_end(GString *out, JsonNode *id)
{
	if (id) {
		g_string_append(out, ", \"id\": ");
		qmp_json_append(out, id);
	}
	g_string_append(out, "}\r\n");
	return g_string_free_to_bytes(out);
}

static GString *error_begin(QmpErrorClass class, const char *desc)
{
	GString *out = g_string_new("{\"error\": {\"class\": ");
	/* What was quoted may have been cut in the middle of a character. */
	g_autofree char *valid = g_utf8_make_valid(desc, -1);

	qmp_json_append_string(out, qmp_error_class_name(class));
	g_string_append(out, ", \"desc\": ");
	qmp_json_append_string(out, valid);
	g_string_append_c(out, '}');
	return out;
}

GBytes *qmp_call_error_message(QmpErrorClass class, const char *desc)
{
	return message_end(error_begin(class, desc), NULL);
}

static void call_free(QmpCall *call)
{
	g_free(call->name);
	json_node_unref(call->request);
	g_clear_pointer(&call->args, json_object_unref);
	g_free(call);
}

/* OUT is the answer without id and end; it is taken. */
static void call_finish(QmpCall *call, GString *out)
{
	QmpConn *conn = call->conn;

	if (conn) {
		g_autoptr(GBytes) message = message_end(out, call->id);

		g_assert(conn->call == call);
		conn->call = NULL;
		qmp_conn_send(conn, message);
		qmp_conn_go_on(conn);
	} else {
		g_string_free(out, TRUE);
	}
	call_free(call);
}

void qmp_call_return(QmpCall *call, JsonNode *result)
{
	GString *out = g_string_new("{\"return\": ");

	if (result) {
		qmp_json_append(out, result);
		json_node_unref(result);
	} else {
		g_string_append(out, "{}");
	}
	call_finish(call, out);
}

void qmp_call_return_text(QmpCall *call, GString *json)
{
	g_string_prepend(json, "{\"return\": ");
	call_finish(call, json);
}

void qmp_call_fail(QmpCall *call, GError *error)
{
	GString *out = error_begin(qmp_error_class_of(error), error->message);

	g_error_free(error);
	call_finish(call, out);
}

void qmp_call_error(QmpCall *call, QmpErrorClass class, const char *format, ...)
{
	g_autofree char *desc = NULL;
	va_list args;

	va_start(args, format);
	desc = g_strdup_vprintf(format, args);
	va_end(args);
	call_finish(call, error_begin(class, desc));
}

JsonObject *qmp_call_peek_args(QmpCall *call)
{
	return call->args;
}

const char *qmp_call_peek_name(const QmpCall *call)
{
	return call->name;
}

const QmpPeer *qmp_call_peek_peer(const QmpCall *call)
{
	return &call->peer;
}

bool qmp_call_is_orphan(const QmpCall *call)
{
	return !call->conn || call->conn->mute || call->conn->doomed;
}

/* ---- requests ---- */

static bool take_member(QmpCall *call, const char *name, JsonNode *value, GError **error)
{
	if (strcmp(name, "execute") == 0) {
		if (!JSON_NODE_HOLDS_VALUE(value) ||
		    json_node_get_value_type(value) != G_TYPE_STRING)
			return qmp_refuse(error, "QMP input member 'execute' must be a string");
		call->name = json_node_dup_string(value);
	} else if (strcmp(name, "arguments") == 0) {
		if (!JSON_NODE_HOLDS_OBJECT(value))
			return qmp_refuse(error, "QMP input member 'arguments' must be an object");
		call->args = json_object_ref(json_node_get_object(value));
	} else if (strcmp(name, "id") != 0) {
		return qmp_refuse(error, "QMP input member '%.200s' is unexpected", name);
	}
	return true;
}

/* "id" comes back also from a request that is wrong in some other way. */
static bool take_request(QmpCall *call, GError **error)
{
	JsonObjectIter iter;
	JsonObject *object;
	JsonNode *value;
	const char *name;

	if (!JSON_NODE_HOLDS_OBJECT(call->request))
		return qmp_refuse(error, "QMP input must be a JSON object");
	object = json_node_get_object(call->request);
	call->id = json_object_get_member(object, "id");
	json_object_iter_init_ordered(&iter, object);
	while (json_object_iter_next_ordered(&iter, &name, &value)) {
		if (!take_member(call, name, value, error))
			return false;
	}
	if (!call->name)
		return qmp_refuse(error, "QMP input lacks member 'execute'");
	return true;
}

static bool find_command(QmpCall *call, GError **error)
{
	const QmpConn *conn = call->conn;
	bool negotiates = strcmp(call->name, "qmp_capabilities") == 0;

	if (!conn->negotiated && !negotiates) {
		g_set_error(error, QMP_ERROR, QMP_ERROR_COMMAND_NOT_FOUND,
			    "Expecting capabilities negotiation with 'qmp_capabilities'");
		return false;
	}
	call->entry = g_hash_table_lookup(conn->server->commands, call->name);
	if (!call->entry)
		g_set_error(error, QMP_ERROR, QMP_ERROR_COMMAND_NOT_FOUND,
			    "The command %.200s has not been found", call->name);
	return call->entry;
}

bool qmp_call_run(QmpConn *conn, const char *text, size_t len)
{
	GError *error = NULL;
	JsonNode *request = qmp_json_parse(text, len, conn->server->config.limits, &error);
	QmpCall *call;

	if (!request) {
		g_autoptr(GBytes)
			message = qmp_call_error_message(qmp_error_class_of(error), error->message);

		g_error_free(error);
		qmp_conn_end(conn, message);
		return false;
	}
	call = g_new0(QmpCall, 1);
	call->conn = conn;
	call->peer = conn->peer;
	call->request = request;
	conn->call = call;
	if (!take_request(call, &error) || !find_command(call, &error)) {
		qmp_call_fail(call, error);
		return true;
	}
	if (!call->args)
		call->args = json_object_new();
	if (!qmp_args_check(call->entry->command->args, call->args, &error)) {
		qmp_call_fail(call, error);
		return true;
	}
	call->entry->command->run(call, call->args, call->entry->opaque);
	return true;
}
