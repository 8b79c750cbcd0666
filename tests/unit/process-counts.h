/* SPDX-License-Identifier: BSD-3-Clause */
/* What a process holds, for tests of what is left behind. */
#ifndef TESTS_PROCESS_COUNTS_H
#define TESTS_PROCESS_COUNTS_H

#include <glib.h>
#include <sys/types.h>
#include <unistd.h>

/* Open descriptors of a process; of our own, one of them is for this. */
static inline unsigned count_fds_of(pid_t pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/fd", (int)pid);
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	unsigned n = 0;

	g_assert_nonnull(dir);
	while (g_dir_read_name(dir) != NULL)
		n++;
	return n;
}

static inline unsigned count_fds(void)
{
	return count_fds_of(getpid());
}

/* Of our own memory. */
static inline unsigned count_mappings(void)
{
	g_autofree char *text = NULL;
	unsigned n = 0;

	g_assert_true(g_file_get_contents("/proc/self/maps", &text, NULL, NULL));
	for (const char *c = text; *c; c++)
		n += *c == '\n';
	return n;
}

#endif
