/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line: parsed by, and explained from, one table. */
#ifndef AGENT_OPTIONS_H
#define AGENT_OPTIONS_H

#include "agent/agent.h"

typedef enum AgentVerb {
	VERB_SERVE, /* no verb given */
	VERB_PROBE,
	VERB_MEASURE,
	VERB_HELP,
	VERB_VERSION,
	VERB_MAN,
} AgentVerb;

typedef struct CommandLine {
	AgentVerb verb;
	AgentOptions options;
	CxlTag tag;         /* of VERB_MEASURE */
	uint64_t timeout_s; /* of VERB_MEASURE */
} CommandLine;

/* False with a sentence; what was parsed belongs to the caller in any case, see options_clear(). */
bool options_parse(int argc, char **argv, CommandLine *ret_line, AgentError *error);
void options_clear(CommandLine *line);
void options_print_help(void);
void options_print_man(void);

#endif
