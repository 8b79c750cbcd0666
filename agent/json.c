/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON text, written member by member. */
#include "agent/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add(Json *json, const char *text, size_t len)
{
	if (json->is_broken)
		return;
	if (json->len + len + 1 > json->room) {
		size_t room = (json->len + len + 1) * 2;
		char *more = realloc(json->text, room);

		if (!more) {
			json->is_broken = true;
			return;
		}
		json->text = more;
		json->room = room;
	}
	memcpy(json->text + json->len, text, len);
	json->len += len;
	json->text[json->len] = '\0';
}

static void add_text(Json *json, const char *text)
{
	add(json, text, strlen(text));
}

static void add_quoted(Json *json, const char *text)
{
	add_text(json, "\"");
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		char escape[8];

		if (c == '"' || c == '\\')
			snprintf(escape, sizeof(escape), "\\%c", c);
		else if (c < 0x20)
			snprintf(escape, sizeof(escape), "\\u%04x", c);
		else
			snprintf(escape, sizeof(escape), "%c", c < 0x7f ? c : '?');
		add_text(json, escape);
	}
	add_text(json, "\"");
}

static void begin_value(Json *json, const char *name)
{
	if (json->needs_comma)
		add_text(json, ",");
	json->needs_comma = true;
	if (!name)
		return;
	add_quoted(json, name);
	add_text(json, ":");
}

void json_begin_object(Json *json, const char *name)
{
	begin_value(json, name);
	add_text(json, "{");
	json->needs_comma = false;
}

void json_end_object(Json *json)
{
	add_text(json, "}");
	json->needs_comma = true;
}

void json_begin_array(Json *json, const char *name)
{
	begin_value(json, name);
	add_text(json, "[");
	json->needs_comma = false;
}

void json_end_array(Json *json)
{
	add_text(json, "]");
	json->needs_comma = true;
}

void json_text(Json *json, const char *name, const char *value)
{
	begin_value(json, name);
	if (value)
		add_quoted(json, value);
	else
		add_text(json, "null");
}

void json_number(Json *json, const char *name, uint64_t value)
{
	char text[24];

	begin_value(json, name);
	snprintf(text, sizeof(text), "%" PRIu64, value);
	add_text(json, text);
}

void json_decimal(Json *json, const char *name, double value)
{
	char text[64];

	begin_value(json, name);
	snprintf(text, sizeof(text), "%.3f", value);
	add_text(json, text);
}

void json_bool(Json *json, const char *name, bool value)
{
	begin_value(json, name);
	add_text(json, value ? "true" : "false");
}

void json_end_line(Json *json)
{
	add_text(json, "\n");
	json->needs_comma = false;
}

void json_clear(Json *json)
{
	free(json->text);
	memset(json, 0, sizeof(*json));
}
