/* SPDX-License-Identifier: BSD-3-Clause */
/* Results on stdout: JSON for programs, aligned tables for people. */
#include "cli/output.h"

#include "util/size.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_COLUMNS 16

bool cli_wants_table(const CliArgs *args)
{
	if (cli_flag(args, "json"))
		return false;
	return cli_flag(args, "human") || isatty(STDOUT_FILENO);
}

/* ---- cells ---- */

/* The member that PATH names, of the object itself or of one in it. */
static JsonNode *find_member(JsonObject *object, const char *path)
{
	const char *dot = strchr(path, '.');
	g_autofree char *first = dot ? g_strndup(path, (gsize)(dot - path)) : NULL;
	JsonNode *node = json_object_get_member(object, dot ? first : path);

	if (!dot || !node)
		return node;
	return JSON_NODE_HOLDS_OBJECT(node) ? find_member(json_node_get_object(node), dot + 1)
					    : NULL;
}

static char *flags_text(JsonObject *row, const char *members)
{
	g_auto(GStrv) names = g_strsplit(members, " ", -1);
	GString *text = g_string_new(NULL);

	for (unsigned i = 0; names[i]; i++) {
		JsonNode *node = find_member(row, names[i]);

		if (node && JSON_NODE_HOLDS_VALUE(node) && json_node_get_boolean(node))
			g_string_append_printf(text, "%s%s", text->len ? "," : "", names[i]);
	}
	if (!text->len)
		g_string_append_c(text, '-');
	return g_string_free(text, FALSE);
}

static char *number_text(int64_t number, CliColumnType type)
{
	switch (type) {
	case CLI_COLUMN_BYTES:
		return size_format_human((uint64_t)number);
	case CLI_COLUMN_HEX:
		return g_strdup_printf("0x%" PRIx64, (uint64_t)number);
	default:
		return g_strdup_printf("%" PRId64, number);
	}
}

static char *cell_text(JsonObject *row, const CliColumn *column)
{
	JsonNode *node;

	if (column->type == CLI_COLUMN_FLAGS)
		return flags_text(row, column->member);
	node = find_member(row, column->member);
	if (!node || !JSON_NODE_HOLDS_VALUE(node))
		return g_strdup("-");
	if (json_node_get_value_type(node) == G_TYPE_STRING)
		return json_node_dup_string(node);
	if (json_node_get_value_type(node) == G_TYPE_INT64)
		return number_text(json_node_get_int(node), column->type);
	if (json_node_get_value_type(node) == G_TYPE_BOOLEAN)
		return g_strdup(json_node_get_boolean(node) ? "yes" : "no");
	return g_strdup("-");
}

/* ---- tables ---- */

static bool is_right_aligned(const CliColumn *column)
{
	return column->type != CLI_COLUMN_TEXT && column->type != CLI_COLUMN_FLAGS;
}

static void append_padded(GString *out, const char *text, unsigned width, bool right, bool last)
{
	unsigned len = (unsigned)g_utf8_strlen(text, -1);
	int padding = (int)(width - MIN(len, width));

	if (right)
		g_string_append_printf(out, "%*s", padding, "");
	g_string_append(out, text);
	if (!last)
		g_string_append_printf(out, "%*s", (right ? 0 : padding) + 2, "");
}

void cli_table_append(GString *out, JsonArray *rows, const CliColumn *columns)
{
	g_autoptr(GPtrArray) cells = g_ptr_array_new_with_free_func(g_free);
	unsigned width[MAX_COLUMNS] = { 0 };
	unsigned n = 0;

	for (; columns[n].title; n++) {
		g_assert(n < MAX_COLUMNS);
		g_ptr_array_add(cells, g_strdup(columns[n].title));
	}
	for (guint i = 0; i < json_array_get_length(rows); i++) {
		for (unsigned k = 0; k < n; k++)
			g_ptr_array_add(cells, cell_text(json_array_get_object_element(rows, i),
							 &columns[k]));
	}
	for (guint i = 0; i < cells->len; i++) {
		const char *cell = g_ptr_array_index(cells, i);

		width[i % n] = MAX(width[i % n], (unsigned)g_utf8_strlen(cell, -1));
	}
	for (guint i = 0; i < cells->len; i++) {
		bool last = i % n == n - 1;

		append_padded(out, g_ptr_array_index(cells, i), width[i % n],
			      is_right_aligned(&columns[i % n]), last);
		if (last)
			g_string_append_c(out, '\n');
	}
}

void cli_print_json(JsonNode *node)
{
	g_autofree char *text = json_to_string(node, TRUE);

	printf("%s\n", text);
}

void cli_print_object(const CliArgs *args, JsonObject *object, const CliColumn *columns)
{
	if (cli_wants_table(args)) {
		g_autoptr(JsonArray) rows = json_array_new();
		g_autoptr(GString) text = g_string_new(NULL);

		json_array_add_object_element(rows, json_object_ref(object));
		cli_table_append(text, rows, columns);
		fputs(text->str, stdout);
	} else {
		g_autoptr(JsonNode) node = json_node_alloc();

		json_node_init_object(node, object);
		cli_print_json(node);
	}
}

void cli_print_done(const CliArgs *args, const char *kind, const char *name, const char *done)
{
	g_autoptr(JsonObject) object = json_object_new();
	g_autoptr(JsonNode) node = json_node_alloc();

	g_printerr("%s %s %s\n", kind, name, done);
	if (cli_wants_table(args))
		return;
	json_object_set_string_member(object, "id", name);
	json_object_set_string_member(object, "state", done);
	json_node_init_object(node, object);
	cli_print_json(node);
}
