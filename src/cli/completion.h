/* SPDX-License-Identifier: BSD-3-Clause */
/* Completion of command lines by the table of verbs. */
#ifndef CLI_COMPLETION_H
#define CLI_COMPLETION_H

#include "cli/verb.h"

/* What the command line says about the daemon to ask; NULL = not given. */
typedef struct CliTarget {
	const char *pool;
	const char *socket;
} CliTarget;

/* Adds names (g_strdup'ed) to RET_NAMES; called at most once per completion. */
typedef void CliNamesFunc(CliSource source, const CliTarget *target, GPtrArray *ret_names);

/* Not words, but what the shell knows better. */
#define CLI_COMPLETE_FILES       ":files"
#define CLI_COMPLETE_DIRECTORIES ":directories"

/*
 * Words that may stand for the last of WORDS (N >= 1, without "softdcd"), which may be cut short or
 * empty. An owned array of owned strings, sorted.
 */
GPtrArray *cli_complete(const char *const *words, unsigned n, CliNamesFunc *names);

#endif
