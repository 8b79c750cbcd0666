/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads the value of an option or argument by its type. */
#include "cli/verb.h"
#include "pool/pool_spec.h"
#include "util/size.h"

#include <inttypes.h>
#include <string.h>

#define NAME_LEN_MAX 200

const char *cli_param_meta(const CliParam *param)
{
	static const char *const metas[] = {
		[CLI_FLAG] = "",
		[CLI_TEXT] = "TEXT",
		[CLI_NAME] = "NAME",
		[CLI_SIZE] = "SIZE",
		[CLI_UINT] = "N",
		[CLI_INT] = "N",
		[CLI_TAG] = "TAG",
		[CLI_ENUM] = "WORD",
		[CLI_DURATION] = "TIME",
		[CLI_TIME] = "WHEN",
		[CLI_EXTENT] = "OFFSET:LEN",
		[CLI_DC_REGION] = "SIZE[,WORD]...",
	};

	return param->meta ? param->meta : metas[param->type];
}

static bool refuse(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static bool refuse(GError **error, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	if (error)
		*error = g_error_new_valist(CLI_ERROR, EXIT_USAGE, format, list);
	va_end(list);
	return false;
}

static bool read_name(const char *text, GError **error)
{
	g_autofree char *printable = g_strescape(text, NULL);
	size_t len = strlen(text);
	bool ok = len > 0 && len <= NAME_LEN_MAX && !strchr(text, '/') &&
		  g_utf8_validate(text, -1, NULL) && strcmp(text, ".") != 0 &&
		  strcmp(text, "..") != 0;

	for (const char *pos = text; *pos; pos++)
		ok &= !g_ascii_iscntrl(*pos);
	return ok ? true
		  : refuse(error, "name \"%s\": must be 1 to %d printable characters without '/'",
			   printable, NAME_LEN_MAX);
}

/* Decimal, or hex after 0x; all of TEXT. */
static bool read_number(const char *text, uint64_t *ret_number)
{
	bool hex = g_ascii_strncasecmp(text, "0x", 2) == 0;

	/* g_ascii_string_to_unsigned() refuses signs and spaces, but also the prefix. */
	return g_ascii_string_to_unsigned(hex ? text + 2 : text, hex ? 16 : 10, 0, UINT64_MAX,
					  ret_number, NULL);
}

static bool read_uint(const CliParam *param, const char *text, uint64_t *ret_number, GError **error)
{
	uint64_t max = param->max ? param->max : UINT64_MAX;
	uint64_t number;

	if (read_number(text, &number) && number >= param->min && number <= max) {
		*ret_number = number;
		return true;
	}
	return refuse(error, "\"%s\": must be a number from %" PRIu64 " to %" PRIu64, text,
		      param->min, max);
}

static bool read_int(const CliParam *param, const char *text, int64_t *ret_integer, GError **error)
{
	int64_t max = param->max ? (int64_t)param->max : INT64_MAX;

	if (g_ascii_string_to_signed(text, 10, -max - 1, max, ret_integer, NULL))
		return true;
	return refuse(error, "\"%s\": must be a number from %" PRId64 " to %" PRId64, text,
		      -max - 1, max);
}

static bool read_size(const CliParam *param, const char *text, uint64_t *ret_bytes, GError **error)
{
	uint64_t max = param->max ? param->max : UINT64_MAX;
	uint64_t bytes;

	if (!size_parse(text, &bytes, error))
		return false;
	if (bytes < param->min || bytes > max) {
		g_autofree char *least = size_format_human(param->min);
		g_autofree char *most = size_format_human(max);

		return param->max
			       ? refuse(error, "size \"%s\": must be %s to %s", text, least, most)
			       : refuse(error, "size \"%s\": must be at least %s", text, least);
	}
	*ret_bytes = bytes;
	return true;
}

static bool read_enum(const CliParam *param, CliValue *value, GError **error)
{
	g_autofree char *words = NULL;

	for (unsigned i = 0; param->values[i]; i++) {
		if (strcmp(param->values[i], value->text) == 0) {
			value->text = param->values[i];
			value->number = i;
			return true;
		}
	}
	words = g_strjoinv(", ", (char **)param->values);
	return refuse(error, "\"%s\": must be one of %s", value->text, words);
}

static bool read_duration(const char *text, uint64_t *ret_ms, GError **error)
{
	static const struct {
		const char *unit;
		uint64_t ms;
	} units[] = { { "", 1000 },       { "s", 1000 },        { "ms", 1 },
		      { "m", 60 * 1000 }, { "h", 3600 * 1000 }, { "d", 86400 * 1000 } };
	size_t n_digits = strspn(text, "0123456789");
	g_autofree char *digits = g_strndup(text, n_digits);
	uint64_t number;

	if (read_number(digits, &number)) {
		for (unsigned i = 0; i < G_N_ELEMENTS(units); i++) {
			if (strcmp(units[i].unit, text + n_digits) != 0)
				continue;
			/* A hundred years is for ever, and sums of it stay far from overflow. */
			if (number > UINT64_C(36525) * 86400 * 1000 / units[i].ms)
				return refuse(error, "time \"%s\": must be below 100 years", text);
			*ret_ms = number * units[i].ms;
			return true;
		}
	}
	return refuse(error,
		      "time \"%s\": must be a whole number of seconds, or with ms, s, m, h or d",
		      text);
}

/* A point in time: ms of the epoch. */
static bool read_time(const char *text, uint64_t *ret_ms, GError **error)
{
	uint64_t now_ms = (uint64_t)g_get_real_time() / 1000;
	g_autoptr(GTimeZone) local = g_time_zone_new_local();
	g_autoptr(GDateTime) when = NULL;
	uint64_t number;

	if (text[0] == '@' && read_number(text + 1, &number) && number <= INT64_MAX / 1000) {
		*ret_ms = number * 1000;
		return true;
	}
	if (read_duration(text, &number, NULL)) {
		*ret_ms = now_ms > number ? now_ms - number : 0;
		return true;
	}
	when = g_date_time_new_from_iso8601(text, local);
	if (when && g_date_time_to_unix(when) >= 0) {
		*ret_ms = (uint64_t)g_date_time_to_unix(when) * 1000 +
			  (uint64_t)g_date_time_get_microsecond(when) / 1000;
		return true;
	}
	return refuse(error,
		      "time \"%s\": must be a time before now as \"10m\", seconds of the epoch as "
		      "\"@1700000000\", or a date as \"2026-11-23T04:00:00\"",
		      text);
}

static bool read_extent(const char *text, CliValue *value, GError **error)
{
	const char *colon = strchr(text, ':');
	g_autofree char *offset = colon ? g_strndup(text, (gsize)(colon - text)) : NULL;
	uint64_t start, len;

	if (!colon)
		return refuse(error, "extent \"%s\": must be OFFSET:LEN, as in \"0:512M\"", text);
	if (!size_parse(offset, &start, error) || !size_parse(colon + 1, &len, error)) {
		g_prefix_error(error, "extent \"%s\": ", text);
		return false;
	}
	if (len == 0)
		return refuse(error, "extent \"%s\": the length must not be 0", text);
	if (start > UINT64_MAX - len)
		return refuse(error, "extent \"%s\": its end must be below 16 EiB", text);
	value->offset = start;
	value->len = len;
	return true;
}

/* The grammar is the configuration file's, and read where that is read. */
static bool read_region(const char *text, CliValue *value, GError **error)
{
	DcRegionConfig region;

	if (!dc_region_parse(text, &region, error)) {
		g_prefix_error(error, "region \"%s\": ", text);
		return false;
	}
	value->len = region.len;
	value->block_len = region.block_size;
	value->sharable = region.sharable;
	value->read_only = region.read_only;
	value->sanitize = region.sanitize_on_release;
	value->non_volatile = region.non_volatile;
	return true;
}

static bool read_tag(const char *text, CliValue *value, GError **error)
{
	if (!uuid_parse(text, &value->tag, error))
		return false;
	uuid_format(&value->tag, value->tag_text);
	return true;
}

bool cli_value_parse(const CliParam *param, const char *text, CliValue *ret_value, GError **error)
{
	CliValue value = { .text = text };
	bool ok = true;

	switch (param->type) {
	case CLI_FLAG:
		break;
	case CLI_TEXT:
		ok = g_utf8_validate(text, -1, NULL) || refuse(error, "must be UTF-8 text");
		break;
	case CLI_NAME:
		ok = read_name(text, error);
		break;
	case CLI_SIZE:
		ok = read_size(param, text, &value.number, error);
		break;
	case CLI_UINT:
		ok = read_uint(param, text, &value.number, error);
		break;
	case CLI_INT:
		ok = read_int(param, text, &value.integer, error);
		break;
	case CLI_TAG:
		ok = read_tag(text, &value, error);
		break;
	case CLI_ENUM:
		ok = read_enum(param, &value, error);
		break;
	case CLI_DURATION:
		ok = read_duration(text, &value.number, error);
		break;
	case CLI_TIME:
		ok = read_time(text, &value.number, error);
		break;
	case CLI_EXTENT:
		ok = read_extent(text, &value, error);
		break;
	case CLI_DC_REGION:
		ok = read_region(text, &value, error);
		break;
	}
	if (ok)
		*ret_value = value;
	return ok;
}
