/* SPDX-License-Identifier: BSD-3-Clause */
/* Processes as tests see them: what one holds, whether it stands still. */
#ifndef TESTS_PROCESSES_H
#define TESTS_PROCESSES_H

#include <glib.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
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

/* Whether none of its threads runs, as after a SIGSTOP. */
static inline bool process_stands_still(pid_t pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/task", (int)pid);
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	const char *thread;
	bool stands = true;

	g_assert_nonnull(dir);
	while (stands && (thread = g_dir_read_name(dir)) != NULL) {
		g_autofree char *file = g_strdup_printf("%s/%s/stat", path, thread);
		g_autofree char *text = NULL;

		/* The state is behind the name, which is in parentheses and may have any in it. */
		stands = g_file_get_contents(file, &text, NULL, NULL) &&
			 g_str_has_prefix(strrchr(text, ')'), ") T");
	}
	return stands;
}

/* Sends SIGSTOP and waits until it has worked: that takes a moment, in which much can happen. */
static inline void stop_process(pid_t pid)
{
	gint64 end = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;

	g_assert_cmpint(kill(pid, SIGSTOP), ==, 0);
	while (!process_stands_still(pid)) {
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		g_usleep(1000);
	}
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
