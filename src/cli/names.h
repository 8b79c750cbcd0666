/* SPDX-License-Identifier: BSD-3-Clause */
/* Names that completion asks a daemon for. */
#ifndef CLI_NAMES_H
#define CLI_NAMES_H

#include "cli/completion.h"

/* Gives up silently after a second: somebody waits at a keyboard. */
CliNamesFunc cli_ask_names;

#endif
