/* SPDX-License-Identifier: BSD-3-Clause */
/* From what was given on the command line to a command's arguments. */
#ifndef CLI_REQUEST_H
#define CLI_REQUEST_H

#include "cli/cli.h"

#include <json-glib/json-glib.h>

/* Arrays of them end with a NULL option. */
typedef struct CliMember {
	const char *option; /* or positional */
	const char *member; /* NULL = the option's name */
} CliMember;

/* An object with a member for each that was given or has a default; repeatable ones are lists. */
JsonObject *cli_request_new(const CliArgs *args, const CliMember *members);
/* {"id": NAME} */
JsonObject *cli_request_id(const char *name);

#endif
