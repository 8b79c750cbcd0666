/* SPDX-License-Identifier: BSD-3-Clause */
/* Makes audit lines, and reads the points in time people ask them from. */
#include "ledger/audit.h"
#include "ledger/audit_priv.h"

#include <gio/gio.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#define MAX_TEXT_LEN 4096 /* of one member, bytes: a line stays shorter than AUDIT_MAX_LINE */

static const char *const what_names[AUDIT_N_WHATS] = {
	[AUDIT_OFFER] = "offer",
	[AUDIT_ACCEPT] = "accept",
	[AUDIT_DECLINE] = "decline",
	[AUDIT_WITHDRAW] = "withdraw",
	[AUDIT_RELEASE_REQUEST] = "release-request",
	[AUDIT_RELEASE] = "release",
	[AUDIT_FORCE_RELEASE] = "force-release",
	[AUDIT_WIPE] = "wipe",
	[AUDIT_FREE] = "free",
	[AUDIT_QUARANTINE] = "quarantine",
	[AUDIT_RECLAIM] = "reclaim",
	[AUDIT_CONTENTS_LOST] = "contents-lost",
	[AUDIT_BACKEND_ADD] = "backend-add",
	[AUDIT_BACKEND_REMOVE] = "backend-remove",
	[AUDIT_DEVICE_ADD] = "device-add",
	[AUDIT_DEVICE_REMOVE] = "device-remove",
	[AUDIT_DEVICE_RESET] = "device-reset",
	[AUDIT_HOST_CONNECT] = "host-connect",
	[AUDIT_HOST_DISCONNECT] = "host-disconnect",
	[AUDIT_START] = "start",
	[AUDIT_STOP] = "stop",
	[AUDIT_LINES_LOST] = "lines-lost",
};

static const char *const actor_names[AUDIT_N_ACTORS] = {
	[AUDIT_BY_POOL] = "pool",
	[AUDIT_BY_HOST] = "host",
	[AUDIT_BY_CLIENT] = "client",
};

const char *audit_what_name(AuditWhat what)
{
	g_assert((unsigned)what < AUDIT_N_WHATS);
	return what_names[what];
}

void audit_format_time(int64_t time_us, char ret_text[AUDIT_TIME_LEN + 1])
{
	/* RFC 3339 has four digits for the year. */
	int64_t us = CLAMP(time_us, 0, AUDIT_TIME_MAX_US);
	time_t seconds = us / G_USEC_PER_SEC;
	char text[64];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	g_snprintf(ret_text, AUDIT_TIME_LEN + 1, "%s.%06dZ", text, (int)(us % G_USEC_PER_SEC));
}

/* "TEXT" as JSON writes it. TEXT may come from a peer: a command may be called anything. */
static void append_string(GString *line, const char *text)
{
	g_autofree char *valid = g_utf8_make_valid(text, (gssize)strnlen(text, MAX_TEXT_LEN));

	g_string_append_c(line, '"');
	for (const char *pos = valid; *pos; pos++) {
		unsigned char c = (unsigned char)*pos;

		if (c == '"' || c == '\\')
			g_string_append_c(line, '\\');
		if (c < 0x20 || c == 0x7f)
			g_string_append_printf(line, "\\u%04x", c);
		else
			g_string_append_c(line, (char)c);
	}
	g_string_append_c(line, '"');
}

static void append_text(GString *line, const char *key, const char *text)
{
	if (!text)
		return;
	g_string_append_printf(line, ",\"%s\":", key);
	append_string(line, text);
}

static void append_number(GString *line, const char *key, uint64_t value)
{
	if (value)
		g_string_append_printf(line, ",\"%s\":%" PRIu64, key, value);
}

static void append_who(GString *line, const AuditWho *who)
{
	g_string_append_printf(line, ",\"who\":{\"actor\":\"%s\"", actor_names[who->actor]);
	append_text(line, "name", who->name);
	if (who->pid > 0)
		g_string_append_printf(line, ",\"pid\":%ld,\"uid\":%lu", (long)who->pid,
				       (unsigned long)who->uid);
	g_string_append_c(line, '}');
}

void audit_format(const AuditEntry *entry, GString *line)
{
	char time[AUDIT_TIME_LEN + 1], tag[UUID_TEXT_SIZE];

	g_assert((unsigned)entry->who.actor < AUDIT_N_ACTORS);
	audit_format_time(entry->time_us ? entry->time_us : g_get_real_time(), time);
	g_string_append_printf(line, AUDIT_LINE_START "%s\",\"what\":\"%s\"", time,
			       audit_what_name(entry->what));
	append_who(line, &entry->who);
	append_text(line, "device", entry->device);
	append_text(line, "backend", entry->backend);
	if (!uuid_is_null(&entry->tag)) {
		uuid_format(&entry->tag, tag);
		append_text(line, "tag", tag);
	}
	append_number(line, "id", entry->id);
	if (entry->len && entry->device)
		g_string_append_printf(line, ",\"dpa\":%" PRIu64, entry->dpa);
	append_number(line, "len", entry->len);
	append_number(line, "count", entry->count);
	g_string_append_printf(line, ",\"result\":\"%s\"", entry->failure ? "failed" : "ok");
	append_text(line, "reason", entry->failure);
	g_string_append(line, "}\n");
}

/* ---- points in time ---- */

static const struct {
	const char *name;
	int64_t us;
} duration_units[] = {
	/* A longer name before one it begins with. */
	{ "ms", 1000 },
	{ "s", G_USEC_PER_SEC },
	{ "m", 60 * (int64_t)G_USEC_PER_SEC },
	{ "h", 3600 * (int64_t)G_USEC_PER_SEC },
	{ "d", 86400 * (int64_t)G_USEC_PER_SEC },
	{ "w", 7 * 86400 * (int64_t)G_USEC_PER_SEC },
};

static int64_t take_unit(const char **pos)
{
	for (size_t i = 0; i < G_N_ELEMENTS(duration_units); i++) {
		if (g_str_has_prefix(*pos, duration_units[i].name)) {
			*pos += strlen(duration_units[i].name);
			return duration_units[i].us;
		}
	}
	return 0;
}

/* "2h30m"; not negative, not longer than there has been time. */
static bool parse_duration(const char *text, int64_t *ret_us)
{
	int64_t sum = 0;
	const char *pos = text;

	while (*pos) {
		guint64 number;
		int64_t unit;
		char *end;

		if (!g_ascii_isdigit(*pos))
			return false;
		number = g_ascii_strtoull(pos, &end, 10);
		pos = end;
		unit = take_unit(&pos);
		if (!unit || number > (guint64)(AUDIT_TIME_MAX_US / unit))
			return false;
		sum += (int64_t)number * unit;
		if (sum > AUDIT_TIME_MAX_US)
			return false;
	}
	*ret_us = sum;
	return pos != text;
}

/* A date, a time and a zone: without the zone nobody knows which instant is meant. */
static bool parse_instant(const char *text, int64_t *ret_us)
{
	static const char shape[] = "dddd-dd-ddTdd:dd:dd";
	g_autoptr(GDateTime) time = NULL;

	for (size_t i = 0; shape[i]; i++) {
		if (shape[i] == 'd' ? !g_ascii_isdigit(text[i]) : text[i] != shape[i])
			return false;
	}
	time = g_date_time_new_from_iso8601(text, NULL);
	if (!time)
		return false;
	*ret_us = g_date_time_to_unix(time) * G_USEC_PER_SEC + g_date_time_get_microsecond(time);
	return true;
}

bool audit_parse_since(const char *text, int64_t now_us, int64_t *ret_since_us, GError **error)
{
	int64_t us;

	if (parse_instant(text, &us)) {
		*ret_since_us = us;
		return true;
	}
	if (parse_duration(text, &us)) {
		*ret_since_us = MAX(now_us - us, 0);
		return true;
	}
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
		    "time \"%s\": must be like 2026-11-23T04:01:01Z or 2026-11-23T05:01:01+01:00, "
		    "or how long ago, like 90s, 10m, 2h30m or 7d",
		    text);
	return false;
}

bool audit_line_time(const char *line, size_t len, int64_t *ret_us)
{
	char time[AUDIT_TIME_LEN + 1];

	if (len < strlen(AUDIT_LINE_START) + AUDIT_TIME_LEN ||
	    memcmp(line, AUDIT_LINE_START, strlen(AUDIT_LINE_START)) != 0)
		return false;
	memcpy(time, line + strlen(AUDIT_LINE_START), AUDIT_TIME_LEN);
	time[AUDIT_TIME_LEN] = '\0';
	return parse_instant(time, ret_us);
}
