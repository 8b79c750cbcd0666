/* SPDX-License-Identifier: BSD-3-Clause */
/* Results on stdout: JSON for programs, aligned tables for people. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include "cli/cli.h"

#include <json-glib/json-glib.h>

typedef enum CliColumnType {
	CLI_COLUMN_TEXT,
	CLI_COLUMN_NUMBER,
	CLI_COLUMN_BYTES, /* a size for people */
	CLI_COLUMN_HEX,
	CLI_COLUMN_FLAGS, /* MEMBER is a list "a b": the names of those that are true */
} CliColumnType;

typedef struct CliColumn {
	const char *title;
	const char *member; /* "bytes.free" = member free of member bytes */
	CliColumnType type;
} CliColumn;

/* -H, or a terminal and no --json? */
bool cli_wants_table(const CliArgs *args);

/* ROWS is a list of objects; what is null or not there is "-". COLUMNS end with a NULL title. */
void cli_table_append(GString *out, JsonArray *rows, const CliColumn *columns);

/* One object: indented JSON, or a table of one row. */
void cli_print_object(const CliArgs *args, JsonObject *object, const CliColumn *columns);
/* For verbs without a result of their own: {"id": NAME, "state": DONE}, and a sentence. */
void cli_print_done(const CliArgs *args, const char *kind, const char *name, const char *done);
/* Indented JSON. */
void cli_print_json(JsonNode *node);

#endif
