/* SPDX-License-Identifier: BSD-3-Clause */
/* Raises the limit of open files. */
#include "util/nofile.h"

#include <stdio.h>
#include <sys/resource.h>

/* The kernel refuses a hard limit above it, to root too. */
static uint64_t most_allowed(void)
{
	FILE *file = fopen("/proc/sys/fs/nr_open", "re");
	unsigned long long most = 0;

	if (file == NULL)
		return 0;
	if (fscanf(file, "%llu", &most) != 1)
		most = 0;
	fclose(file);
	return most;
}

uint64_t nofile_raise(uint64_t wanted)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 1024;
	if (limit.rlim_max < wanted) {
		uint64_t most = most_allowed();
		struct rlimit raised;

		if (wanted > most)
			wanted = most;
		raised = (struct rlimit){ .rlim_cur = wanted, .rlim_max = wanted };
		if (wanted > limit.rlim_max && setrlimit(RLIMIT_NOFILE, &raised) == 0)
			return wanted;
	}
	if (limit.rlim_cur < limit.rlim_max) {
		struct rlimit raised = { .rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max };

		if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
			return raised.rlim_cur;
	}
	return limit.rlim_cur;
}
