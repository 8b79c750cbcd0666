/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON text, written member by member. */
#ifndef AGENT_JSON_H
#define AGENT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed is empty. Running out of memory makes it broken; what is then added is dropped. */
typedef struct Json {
	char *text;
	size_t len, room;
	bool needs_comma;
	bool is_broken;
} Json;

/* NAME is NULL in arrays and for the outermost value. */
void json_begin_object(Json *json, const char *name);
void json_end_object(Json *json);
void json_begin_array(Json *json, const char *name);
void json_end_array(Json *json);
/* NULL becomes null; bytes that are not ASCII become question marks. */
void json_text(Json *json, const char *name, const char *value);
void json_number(Json *json, const char *name, uint64_t value);
void json_decimal(Json *json, const char *name, double value); /* three places */
void json_bool(Json *json, const char *name, bool value);
/* After the outermost value: a newline */
void json_end_line(Json *json);
void json_clear(Json *json);

#endif
