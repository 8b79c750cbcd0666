/* SPDX-License-Identifier: BSD-3-Clause */
/* What main.c and the subcommands share: exit codes and the shape of a verb. */
#pragma once

typedef enum ExitCode {
	EXIT_DONE = 0,
	EXIT_REFUSED = 1, /* refused or failed */
	EXIT_USAGE = 2,
	EXIT_TIMED_OUT = 3,
	EXIT_NO_OBJECT = 4,
	EXIT_NO_DAEMON = 5,
} ExitCode;

/* One per row of the verb table in main.c; argv[0] is the verb, --help is the verb's to answer. */
typedef ExitCode CliRun(int argc, char **argv);

CliRun cmd_demo;
