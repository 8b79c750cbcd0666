/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a daemon's program is, and what it can do. */
#ifndef MACHINE_BACKEND_PROGRAM_H
#define MACHINE_BACKEND_PROGRAM_H

#include <glib.h>
#include <stdbool.h>

/* NAME's path from PATH, then from the folders given, which end with NULL. NULL = not there. */
char *backend_program_find(const char *name, const char *const *folders);
/* Whether its --help speaks of WORD. */
bool backend_program_knows(const char *path, const char *word);

#endif
