/* SPDX-License-Identifier: BSD-3-Clause */
/* Files the kernel makes: read whole and checked, below a root that tests replace. */
#ifndef AGENT_SYSFS_H
#define AGENT_SYSFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SYS_PATH_LEN 512

/*
 * All take the root ("" for the real one) and a path below it, printf fashion; what does not fit
 * SYS_PATH_LEN is ENAMETOOLONG. Outputs are unchanged on failure.
 */

/* The first line, without its end, cut to LEN - 1 bytes: 0 or -errno. */
int sys_read_line(char *ret_line, size_t len, const char *root, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* A whole file of at most MAX bytes (-EFBIG); free *ret_data. A NUL follows its last byte. */
int sys_read_file(char **ret_data, size_t *ret_len, size_t max, const char *root,
		  const char *format, ...) __attribute__((format(printf, 5, 6)));
/* A line that is one number: decimal, or hexadecimal after 0x. 0, -errno, -EINVAL. */
int sys_read_number(uint64_t *ret_number, const char *root, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int sys_open(int flags, const char *root, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Where a link leads, as an absolute path without links: 0 or -errno. */
int sys_real_path(char ret_path[SYS_PATH_LEN], const char *root, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Calls FUNC for each name in a directory, in order of names; false ends it. 0 or -errno. */
int sys_each_name(bool (*func)(void *opaque, const char *name), void *opaque, const char *root,
		  const char *format, ...) __attribute__((format(printf, 4, 5)));

/* "12", "0x1f", ...: nothing before or after. */
bool parse_number(const char *text, uint64_t *ret_number);
/* "0000:0d:00.0" and nothing after it; or, if DOMAIN_OPTIONAL, without the domain, which is 0. */
bool parse_bdf(const char *text, bool domain_optional, uint32_t *ret_domain, uint32_t *ret_bdf);
#define BDF_TEXT_LEN 24
void format_bdf(uint32_t domain, uint32_t bdf, char text[BDF_TEXT_LEN]);

#endif
