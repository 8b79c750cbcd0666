/* SPDX-License-Identifier: BSD-3-Clause */
/* How many files this process may have open; libc only. */
#pragma once

#include <stdint.h>

#define NOFILE_WANTED UINT64_C(262144) /* 64 Ki backends, each with a few descriptors */

/*
 * Raises the soft limit to the hard limit; if that is below WANTED and we are privileged, both to
 * WANTED (or what fs.nr_open allows). Never lowers anything. Returns the soft limit that now holds.
 */
uint64_t nofile_raise(uint64_t wanted);
