/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a daemon's program is, and what it can do. */
#include "machine/backend_program.h"

#include <string.h>

char *backend_program_find(const char *name, const char *const *folders)
{
	char *path = g_find_program_in_path(name);

	for (; path == NULL && *folders != NULL; folders++) {
		g_autofree char *candidate = g_build_filename(*folders, name, NULL);

		if (g_file_test(candidate, G_FILE_TEST_IS_EXECUTABLE))
			path = g_steal_pointer(&candidate);
	}
	return path;
}

bool backend_program_knows(const char *path, const char *word)
{
	char *argv[] = { (char *)path, (char *)"--help", NULL };
	g_autofree char *out = NULL;
	g_autofree char *err = NULL;

	/* Its exit code does not matter: not all end with 0 after their help. */
	if (!g_spawn_sync(NULL, argv, NULL, G_SPAWN_STDIN_FROM_DEV_NULL, NULL, NULL, &out, &err,
			  NULL, NULL))
		return false;
	return strstr(out, word) != NULL || strstr(err, word) != NULL;
}
