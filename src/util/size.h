/* SPDX-License-Identifier: BSD-3-Clause */
/* Sizes as people write and read them: bytes, 0x hex, or K/M/G/T in powers of 1024. */
#pragma once

#include <glib.h>
#include <stdint.h>

/*
 * Reads "4096", "0x1000", "4K", "4KiB" or "4KB" (all the same size; letters in either case).
 * On failure the error (G_IO_ERROR_INVALID_ARGUMENT) names the text and the rule it breaks.
 */
gboolean size_parse(const char *text, uint64_t *ret_bytes, GError **error);

/* "1 GiB" is exact, "1.00 GiB" is rounded to two places. The caller frees. */
char *size_format_human(uint64_t bytes);
