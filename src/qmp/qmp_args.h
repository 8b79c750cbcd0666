/* SPDX-License-Identifier: BSD-3-Clause */
/* What a command's arguments must be, as tables; the refusals are QEMU's. */
#pragma once

#include "qmp/qmp_json.h"

typedef enum QmpType {
	QMP_STRING,
	QMP_ENUM, /* a string of .values */
	QMP_BOOL,
	QMP_NUMBER,
	QMP_I16,
	QMP_I64,
	QMP_U8,
	QMP_U16,
	QMP_U32,
	QMP_U64,     /* sizes, offsets, addresses: no negative ones */
	QMP_OBJECT,  /* of .members; any object without them */
	QMP_OBJECTS, /* array of such */
	QMP_STRINGS,
	QMP_U64S,
	QMP_ANY,
} QmpType;

typedef struct QmpArg QmpArg;
struct QmpArg {
	const char *name; /* NULL ends the table */
	QmpType type;
	bool optional;
	const char *const *values; /* NULL ends them */
	const QmpArg *members;
};

/*
 * QMP_ERROR_GENERIC naming the argument: "Parameter 'x' is missing", "Invalid parameter type for
 * 'x', expected: string", "Parameter 'x' expects uint16", "Parameter 'x' does not accept value 'y'"
 * or, after all of these, "Parameter 'x' is unexpected"; inside others 'extents[2].len'. TABLE may
 * be NULL: no arguments.
 */
bool qmp_args_check(const QmpArg *table, JsonObject *args, GError **error);

/* ---- of checked arguments; absent ones are FALLBACK ---- */
const char *qmp_args_string(JsonObject *args, const char *name, const char *fallback);
bool qmp_args_bool(JsonObject *args, const char *name, bool fallback);
uint64_t qmp_args_u64(JsonObject *args, const char *name, uint64_t fallback);
int64_t qmp_args_i64(JsonObject *args, const char *name, int64_t fallback);
/* NULL if absent. Elements: json_array_get_object_element() and friends, qmp_json_get_u64(). */
JsonArray *qmp_args_array(JsonObject *args, const char *name);
JsonObject *qmp_args_object(JsonObject *args, const char *name);
