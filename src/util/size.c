/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads and writes sizes. */
#include "util/size.h"

#include <gio/gio.h>
#include <string.h>

static gboolean refuse(const char *text, const char *rule, GError **error)
{
	g_autofree char *shown = g_strescape(text, NULL);

	g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, "size \"%s\": %s", shown, rule);
	return FALSE;
}

/* The power of two that a suffix stands for, or -1. */
static int suffix_shift(const char *suffix)
{
	static const char units[] = "kmgt";
	const char *unit;

	if (*suffix == '\0')
		return 0;
	unit = strchr(units, g_ascii_tolower(*suffix));
	if (unit == NULL)
		return -1;
	suffix++;
	if (*suffix != '\0' && g_ascii_strcasecmp(suffix, "b") != 0 &&
	    g_ascii_strcasecmp(suffix, "ib") != 0)
		return -1;
	return 10 * (int)(unit - units + 1);
}

gboolean size_parse(const char *text, uint64_t *ret_bytes, GError **error)
{
	static const char grammar[] =
		"must be bytes, 0x hex, or a whole number of K, M, G or T with optional iB";
	static const char too_large[] = "must be below 16 EiB (2^64 bytes)";
	gboolean hex = g_ascii_strncasecmp(text, "0x", 2) == 0;
	const char *pos = hex ? text + 2 : text;
	const char *first = pos;
	uint64_t base = hex ? 16 : 10;
	uint64_t bytes = 0;
	int shift;

	if (*text == '-')
		return refuse(text, "must not be negative", error);
	for (; hex ? g_ascii_isxdigit(*pos) : g_ascii_isdigit(*pos); pos++) {
		if (!g_uint64_checked_mul(&bytes, bytes, base) ||
		    !g_uint64_checked_add(&bytes, bytes, (uint64_t)g_ascii_xdigit_value(*pos)))
			return refuse(text, too_large, error);
	}
	/* No suffix after hex: 0x1B would be 27 to one reader and one byte to another. */
	shift = suffix_shift(pos);
	if (pos == first || shift < 0 || (hex && shift > 0))
		return refuse(text, grammar, error);
	if (bytes > UINT64_MAX >> shift)
		return refuse(text, too_large, error);
	*ret_bytes = bytes << shift;
	return TRUE;
}

char *size_format_human(uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes;
	guint unit = 0;

	/* What would be printed as 1024.00 belongs to the next unit. */
	while (value >= 1023.995 && unit + 1 < G_N_ELEMENTS(units)) {
		value /= 1024;
		unit++;
	}
	if (bytes % (UINT64_C(1) << 10 * unit) == 0)
		return g_strdup_printf("%" G_GUINT64_FORMAT " %s", bytes >> 10 * unit, units[unit]);
	return g_strdup_printf("%.2f %s", value, units[unit]);
}
