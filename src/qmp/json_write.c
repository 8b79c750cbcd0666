/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON as text: of nodes, and of long lists without them. */
#include "qmp/qmp_json.h"

#include <string.h>

void qmp_json_append_string(GString *out, const char *value)
{
	static const char from[] = "\"\\\b\f\n\r\t";
	static const char to[] = "\"\\bfnrt";

	g_string_append_c(out, '"');
	for (const char *at = value; *at;) {
		size_t plain = 0;
		const char *found;

		while ((uint8_t)at[plain] >= 0x20 && at[plain] != '"' && at[plain] != '\\' &&
		       at[plain] != 0x7f)
			plain++;
		g_string_append_len(out, at, (gssize)plain);
		at += plain;
		if (!*at)
			break;
		found = strchr(from, *at);
		if (found)
			g_string_append_printf(out, "\\%c", to[found - from]);
		else
			g_string_append_printf(out, "\\u%04x", (unsigned)(uint8_t)*at);
		at++;
	}
	g_string_append_c(out, '"');
}

static void append_i64(GString *out, int64_t value)
{
	g_string_append_printf(out, "%" G_GINT64_FORMAT, value);
}

static void append_u64(GString *out, uint64_t value)
{
	g_string_append_printf(out, "%" G_GUINT64_FORMAT, value);
}

static void append_double(GString *out, double value)
{
	char text[G_ASCII_DTOSTR_BUF_SIZE];

	g_ascii_dtostr(text, sizeof(text), value);
	g_string_append(out, text);
	/* So that it is read back as what it is. */
	if (!strpbrk(text, ".eE"))
		g_string_append(out, ".0");
}

static void append_value(GString *out, JsonNode *node)
{
	GType type = json_node_get_value_type(node);
	uint64_t u64;

	if (type == G_TYPE_STRING)
		qmp_json_append_string(out, json_node_get_string(node));
	else if (type == G_TYPE_BOOLEAN)
		g_string_append(out, json_node_get_boolean(node) ? "true" : "false");
	else if (type == G_TYPE_DOUBLE)
		append_double(out, json_node_get_double(node));
	else if (qmp_json_get_u64(node, &u64))
		append_u64(out, u64);
	else
		append_i64(out, json_node_get_int(node));
}

static void append_object(GString *out, JsonObject *object)
{
	JsonObjectIter iter;
	const char *name, *comma = "";
	JsonNode *member;

	g_string_append_c(out, '{');
	json_object_iter_init_ordered(&iter, object);
	while (json_object_iter_next_ordered(&iter, &name, &member)) {
		g_string_append(out, comma);
		qmp_json_append_string(out, name);
		g_string_append(out, ": ");
		qmp_json_append(out, member);
		comma = ", ";
	}
	g_string_append_c(out, '}');
}

static void append_array(GString *out, JsonArray *array)
{
	guint n = json_array_get_length(array);

	g_string_append_c(out, '[');
	for (guint i = 0; i < n; i++) {
		if (i > 0)
			g_string_append(out, ", ");
		qmp_json_append(out, json_array_get_element(array, i));
	}
	g_string_append_c(out, ']');
}

void qmp_json_append(GString *out, JsonNode *node)
{
	switch (json_node_get_node_type(node)) {
	case JSON_NODE_OBJECT:
		append_object(out, json_node_get_object(node));
		break;
	case JSON_NODE_ARRAY:
		append_array(out, json_node_get_array(node));
		break;
	case JSON_NODE_VALUE:
		append_value(out, node);
		break;
	case JSON_NODE_NULL:
		g_string_append(out, "null");
		break;
	}
}

/* ---- without nodes ---- */

static void text_name(QmpText *text, const char *name)
{
	if (text->comma)
		g_string_append(text->out, ", ");
	text->comma = true;
	if (name) {
		qmp_json_append_string(text->out, name);
		g_string_append(text->out, ": ");
	}
}

void qmp_text_begin(QmpText *text, const char *name, char bracket)
{
	text_name(text, name);
	g_string_append_c(text->out, bracket);
	text->comma = false;
}

void qmp_text_end(QmpText *text, char bracket)
{
	g_string_append_c(text->out, bracket);
	text->comma = true;
}

void qmp_text_string(QmpText *text, const char *name, const char *value)
{
	if (!value) {
		qmp_text_null(text, name);
		return;
	}
	text_name(text, name);
	qmp_json_append_string(text->out, value);
}

void qmp_text_u64(QmpText *text, const char *name, uint64_t value)
{
	text_name(text, name);
	append_u64(text->out, value);
}

void qmp_text_i64(QmpText *text, const char *name, int64_t value)
{
	text_name(text, name);
	append_i64(text->out, value);
}

void qmp_text_bool(QmpText *text, const char *name, bool value)
{
	text_name(text, name);
	g_string_append(text->out, value ? "true" : "false");
}

void qmp_text_null(QmpText *text, const char *name)
{
	text_name(text, name);
	g_string_append(text->out, "null");
}
