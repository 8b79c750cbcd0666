/* SPDX-License-Identifier: BSD-3-Clause */
/* So many lines in so much time: what a guest can make us say is not to fill somebody's disk. */
#include "machine/log_limit.h"

const char *log_limit_pass(LogLimit *limit)
{
	gint64 now = g_get_monotonic_time();

	if (limit->n == 0 || now - limit->since >= LOG_LIMIT_US)
		*limit = (LogLimit){ .since = now };
	if (limit->n >= LOG_LIMIT_LINES)
		return NULL;
	return ++limit->n == LOG_LIMIT_LINES ? " (more of this is left out)" : "";
}
