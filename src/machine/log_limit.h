/* SPDX-License-Identifier: BSD-3-Clause */
/* So many lines in so much time: what a guest can make us say is not to fill somebody's disk. */
#ifndef MACHINE_LOG_LIMIT_H
#define MACHINE_LOG_LIMIT_H

#include <glib.h>

#define LOG_LIMIT_LINES 100
#define LOG_LIMIT_US    (10 * G_USEC_PER_SEC)

/* Zeroed at the start. */
typedef struct LogLimit {
	gint64 since;
	unsigned n;
} LogLimit;

/*
 * What goes behind a line that is to be written now: nothing, or that more is left out; NULL: it is
 * one of these. Calls are one at a time.
 */
const char *log_limit_pass(LogLimit *limit);

#endif
