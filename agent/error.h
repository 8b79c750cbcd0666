/* SPDX-License-Identifier: BSD-3-Clause */
/* Why something could not be done, as a sentence for a person. */
#ifndef AGENT_ERROR_H
#define AGENT_ERROR_H

#include <stdbool.h>

typedef struct AgentError {
	char text[512];
} AgentError;

/* Notes the sentence, the first of several counts; always false, for `return agent_fail(...)`. */
bool agent_fail(AgentError *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
