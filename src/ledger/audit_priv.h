/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the audit log share. */
#ifndef LEDGER_AUDIT_PRIV_H
#define LEDGER_AUDIT_PRIV_H

#include "ledger/audit.h"

#define AUDIT_FILE        "audit.log"
#define AUDIT_LINE_START  "{\"time\":\""
#define AUDIT_TIME_LEN    27                          /* 2026-11-23T04:01:01.123456Z */
#define AUDIT_TIME_MAX_US INT64_C(253402300799999999) /* the end of the year 9999 */
#define AUDIT_MAX_LINE    131072

/* File number INDEX of the log in DIR, 0 being the one written to. */
char *audit_path(const char *dir, unsigned index);
void audit_format_time(int64_t time_us, char ret_text[AUDIT_TIME_LEN + 1]);
/* False: not one of our lines. */
bool audit_line_time(const char *line, size_t len, int64_t *ret_us);

#endif
