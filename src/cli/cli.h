/* SPDX-License-Identifier: BSD-3-Clause */
/* What main.c and the subcommands share: exit codes, and the arguments a verb is run with. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "util/uuid.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum ExitCode {
	EXIT_DONE = 0,
	EXIT_REFUSED = 1, /* refused or failed */
	EXIT_USAGE = 2,
	EXIT_TIMED_OUT = 3,
	EXIT_NO_OBJECT = 4,
	EXIT_NO_DAEMON = 5,
} ExitCode;

typedef struct CliVerb CliVerb; /* cli/verb.h */
typedef struct CliArgs CliArgs;

/* What a verb does. Its command line has been read and checked by its row in the table. */
typedef ExitCode CliRun(const CliArgs *args);

/* One value of an option or positional argument. Which fields are set is up to the type. */
typedef struct CliValue {
	const char *text; /* as it was typed; of CLI_ENUM the word of the table */
	uint64_t number;  /* size: bytes; uint, enum: index; duration: ms; time: ms of the epoch */
	int64_t integer;  /* CLI_INT */
	Uuid tag;
	char tag_text[UUID_TEXT_SIZE]; /* canonical */
	uint64_t offset, len;          /* CLI_EXTENT, bytes; len also of CLI_DC_REGION */
	uint64_t block_len;            /* CLI_DC_REGION, bytes; 0 = not given */
	bool sharable, read_only, sanitize, non_volatile; /* CLI_DC_REGION */
} CliValue;

/*
 * What was given for an option ("timeout") or positional ("DEVICE"). Asking for one that is not in
 * the verb's row is a bug and asserts. A default counts as given, except for cli_given().
 */
bool cli_flag(const CliArgs *args, const char *name);
bool cli_given(const CliArgs *args, const char *name);
unsigned cli_n_values(const CliArgs *args, const char *name);
/* The I-th of a repeatable one, else I is 0; NULL: fewer were given. Lives as long as ARGS. */
const CliValue *cli_value(const CliArgs *args, const char *name, unsigned i);
/* cli_value(..., 0)->text, or NULL. */
const char *cli_text(const CliArgs *args, const char *name);
const CliVerb *cli_args_verb(const CliArgs *args);

/*
 * Reads the words after the verb's name. NULL: wrong, the error says which argument breaks which
 * rule. With --help nothing need be there: ask cli_flag(args, "help") first. ARGV must outlive it.
 */
CliArgs *cli_args_parse(const CliVerb *verb, int argc, char *const *argv, GError **error);
void cli_args_free(CliArgs *args);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CliArgs, cli_args_free)

/* A sentence on stderr, after "softdcd VERB: ". */
G_GNUC_PRINTF(2, 3) void cli_complain(const CliArgs *args, const char *format, ...);

#define CLI_ERROR (g_quark_from_static_string("softdcd-cli"))

#endif
