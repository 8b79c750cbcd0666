/* SPDX-License-Identifier: BSD-3-Clause */
/* What a command's arguments must be, as tables; the refusals are QEMU's. */
#include "qmp/qmp_args.h"

#include "qmp/qmp_error.h"

#include <string.h>

/* Where an argument is, for its name in errors: extents[2].len. */
typedef struct Place {
	const struct Place *parent;
	const char *name; /* NULL: an element */
	guint index;
} Place;

static void append_place(GString *out, const Place *place)
{
	if (place->parent)
		append_place(out, place->parent);
	if (!place->name)
		g_string_append_printf(out, "[%u]", place->index);
	else if (out->len > 0)
		g_string_append_printf(out, ".%s", place->name);
	else
		g_string_append(out, place->name);
}

/* BEFORE 'extents[2].len'AFTER DETAIL */
static bool refuse(const Place *place, const char *before, const char *after, const char *detail,
		   GError **error)
{
	g_autoptr(GString) name = g_string_new(NULL);

	append_place(name, place);
	g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC, "%s '%.200s'%s%s", before, name->str,
		    after, detail);
	return false;
}

static bool wrong_type(const Place *place, const char *expected, GError **error)
{
	return refuse(place, "Invalid parameter type for", ", expected: ", expected, error);
}

static bool out_of_range(const Place *place, const char *expected, GError **error)
{
	return refuse(place, "Parameter", " expects ", expected, error);
}

static bool holds(JsonNode *node, GType type)
{
	return JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == type;
}

/* ---- numbers ---- */

static const struct {
	const char *name;
	int64_t least; /* signed ones */
	uint64_t most;
} ranges[] = {
	[QMP_I16] = { "int16", G_MININT16, G_MAXINT16 },
	[QMP_I64] = { "int64", G_MININT64, G_MAXINT64 },
	[QMP_U8] = { "uint8", 0, G_MAXUINT8 },
	[QMP_U16] = { "uint16", 0, G_MAXUINT16 },
	[QMP_U32] = { "uint32", 0, G_MAXUINT32 },
	[QMP_U64] = { "uint64", 0, G_MAXUINT64 },
};

/* Digits that do not fit come as a floating point number. */
static bool is_beyond_64_bits(double value)
{
	return value >= 0x1p64 || value < -0x1p63;
}

static bool check_integer(QmpType type, JsonNode *node, const Place *place, GError **error)
{
	uint64_t u64;
	int64_t i64;

	if (holds(node, G_TYPE_DOUBLE) && is_beyond_64_bits(json_node_get_double(node)))
		return out_of_range(place, ranges[type].name, error);
	if (!holds(node, G_TYPE_INT64))
		return wrong_type(place, "integer", error);
	if (qmp_json_get_u64(node, &u64)) {
		if (u64 <= ranges[type].most)
			return true;
	} else if (qmp_json_get_i64(node, &i64) && i64 >= ranges[type].least) {
		return true;
	}
	return out_of_range(place, ranges[type].name, error);
}

/* ---- the rest ---- */

static bool check_table(const QmpArg *table, JsonObject *object, const Place *parent,
			GError **error);
static bool check_value(const QmpArg *arg, QmpType type, JsonNode *node, const Place *place,
			GError **error);

static bool check_enum(const QmpArg *arg, JsonNode *node, const Place *place, GError **error)
{
	g_autofree char *quoted = NULL;

	if (!holds(node, G_TYPE_STRING))
		return wrong_type(place, "string", error);
	if (g_strv_contains(arg->values, json_node_get_string(node)))
		return true;
	quoted = g_strdup_printf("'%.200s'", json_node_get_string(node));
	return refuse(place, "Parameter", " does not accept value ", quoted, error);
}

static bool check_elements(const QmpArg *arg, QmpType type, JsonNode *node, const Place *place,
			   GError **error)
{
	JsonArray *array;
	guint n;

	if (!JSON_NODE_HOLDS_ARRAY(node))
		return wrong_type(place, "array", error);
	array = json_node_get_array(node);
	n = json_array_get_length(array);
	for (guint i = 0; i < n; i++) {
		const Place here = { .parent = place, .index = i };

		if (!check_value(arg, type, json_array_get_element(array, i), &here, error))
			return false;
	}
	return true;
}

static bool check_value(const QmpArg *arg, QmpType type, JsonNode *node, const Place *place,
			GError **error)
{
	switch (type) {
	case QMP_STRING:
		return holds(node, G_TYPE_STRING) || wrong_type(place, "string", error);
	case QMP_ENUM:
		return check_enum(arg, node, place, error);
	case QMP_BOOL:
		return holds(node, G_TYPE_BOOLEAN) || wrong_type(place, "boolean", error);
	case QMP_NUMBER:
		return holds(node, G_TYPE_INT64) || holds(node, G_TYPE_DOUBLE) ||
		       wrong_type(place, "number", error);
	case QMP_OBJECT:
		if (!JSON_NODE_HOLDS_OBJECT(node))
			return wrong_type(place, "object", error);
		return !arg->members ||
		       check_table(arg->members, json_node_get_object(node), place, error);
	case QMP_OBJECTS:
		return check_elements(arg, QMP_OBJECT, node, place, error);
	case QMP_STRINGS:
		return check_elements(arg, QMP_STRING, node, place, error);
	case QMP_U64S:
		return check_elements(arg, QMP_U64, node, place, error);
	case QMP_ANY:
		return true;
	default:
		return check_integer(type, node, place, error);
	}
}

static bool is_known(const QmpArg *table, const char *name)
{
	for (const QmpArg *arg = table; arg && arg->name; arg++) {
		if (strcmp(arg->name, name) == 0)
			return true;
	}
	return false;
}

static bool check_table(const QmpArg *table, JsonObject *object, const Place *parent,
			GError **error)
{
	JsonObjectIter iter;
	const char *name;

	for (const QmpArg *arg = table; arg && arg->name; arg++) {
		const Place here = { .parent = parent, .name = arg->name };
		JsonNode *node = json_object_get_member(object, arg->name);

		if (!node && !arg->optional)
			return refuse(&here, "Parameter", " is missing", "", error);
		if (node && !check_value(arg, arg->type, node, &here, error))
			return false;
	}
	json_object_iter_init_ordered(&iter, object);
	while (json_object_iter_next_ordered(&iter, &name, NULL)) {
		const Place here = { .parent = parent, .name = name };

		if (!is_known(table, name))
			return refuse(&here, "Parameter", " is unexpected", "", error);
	}
	return true;
}

bool qmp_args_check(const QmpArg *table, JsonObject *args, GError **error)
{
	return check_table(table, args, NULL, error);
}

/* ---- reading ---- */

const char *qmp_args_string(JsonObject *args, const char *name, const char *fallback)
{
	JsonNode *node = json_object_get_member(args, name);

	return node ? json_node_get_string(node) : fallback;
}

bool qmp_args_bool(JsonObject *args, const char *name, bool fallback)
{
	JsonNode *node = json_object_get_member(args, name);

	return node ? json_node_get_boolean(node) : fallback;
}

uint64_t qmp_args_u64(JsonObject *args, const char *name, uint64_t fallback)
{
	JsonNode *node = json_object_get_member(args, name);

	if (node)
		qmp_json_get_u64(node, &fallback);
	return fallback;
}

int64_t qmp_args_i64(JsonObject *args, const char *name, int64_t fallback)
{
	JsonNode *node = json_object_get_member(args, name);

	if (node)
		qmp_json_get_i64(node, &fallback);
	return fallback;
}

JsonArray *qmp_args_array(JsonObject *args, const char *name)
{
	JsonNode *node = json_object_get_member(args, name);

	return node ? json_node_get_array(node) : NULL;
}

JsonObject *qmp_args_object(JsonObject *args, const char *name)
{
	JsonNode *node = json_object_get_member(args, name);

	return node ? json_node_get_object(node) : NULL;
}
