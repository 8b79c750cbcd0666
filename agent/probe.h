/* SPDX-License-Identifier: BSD-3-Clause */
/* What there is, and what may be taken. */
#ifndef AGENT_PROBE_H
#define AGENT_PROBE_H

#include "agent/error.h"

/* Prints one JSON object about the machine below ROOT; touches no device. */
bool probe_print(const char *root, AgentError *error);

#endif
