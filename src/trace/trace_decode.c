/* SPDX-License-Identifier: BSD-3-Clause */
/* Trace entries decoded: as JSON and as a line of text. */
#include "trace/trace_decode.h"

#include "cxl/memdev.h"
#include "cxl/rc_names.h"
#include "trace/trace_layouts.h"
#include "util/uuid.h"

#include <inttypes.h>
#include <string.h>

static const char *const kind_names[TRACE_N_KINDS] = {
	[TRACE_COMMAND] = "command", [TRACE_POSTED] = "posted",       [TRACE_READ] = "read",
	[TRACE_CLEARED] = "cleared", [TRACE_WITHDRAWN] = "withdrawn", [TRACE_LOST] = "lost",
};

static const char *const rc_names[] = CXL_RC_NAMES;

static const char *const log_names[] = { "informational", "warning", "failure", "fatal", "dc" };

const char *trace_kind_name(TraceKind kind)
{
	return (unsigned)kind < G_N_ELEMENTS(kind_names) ? kind_names[kind] : NULL;
}

TraceKind trace_kind_parse(const char *name)
{
	for (unsigned i = TRACE_COMMAND; i < TRACE_N_KINDS; i++) {
		if (strcmp(kind_names[i], name) == 0)
			return (TraceKind)i;
	}
	return 0;
}

const char *trace_opcode_name(uint16_t opcode)
{
	const TraceCommand *command = trace_find_command(opcode);

	return command ? command->name : NULL;
}

const char *trace_rc_name(uint16_t rc)
{
	return rc < G_N_ELEMENTS(rc_names) && rc_names[rc] ? rc_names[rc] : "?";
}

const char *trace_log_name(uint8_t log)
{
	return log < G_N_ELEMENTS(log_names) ? log_names[log] : "?";
}

char *trace_hex(const void *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *in = bytes;
	char *text = g_malloc(2 * len + 1);

	for (size_t i = 0; i < len; i++) {
		text[2 * i] = digits[in[i] >> 4];
		text[2 * i + 1] = digits[in[i] & 0xf];
	}
	text[2 * len] = '\0';
	return text;
}

/* ---- where decoded values go: an object of JSON, a line of text, or both ---- */

typedef struct Sink {
	JsonObject *json; /* NULL = not wanted */
	GString *text;    /* NULL = not wanted */
	bool is_terse;    /* zeros are left out of the text */
} Sink;

static void put_number(const Sink *sink, const char *name, uint64_t value, bool as_hex)
{
	/* JSON readers take integers for signed. */
	if (sink->json && value > INT64_MAX) {
		g_autofree char *hex = g_strdup_printf("0x%" PRIx64, value);

		json_object_set_string_member(sink->json, name, hex);
	} else if (sink->json) {
		json_object_set_int_member(sink->json, name, (gint64)value);
	}
	if (sink->text && (value != 0 || !sink->is_terse))
		g_string_append_printf(sink->text, as_hex ? " %s=0x%" PRIx64 : " %s=%" PRIu64, name,
				       value);
}

static void put_string(const Sink *sink, const char *name, const char *value)
{
	if (sink->json)
		json_object_set_string_member(sink->json, name, value);
	if (sink->text)
		g_string_append_printf(sink->text, " %s=%s", name, value);
}

static void put_flag(const Sink *sink, const char *name)
{
	if (sink->json)
		json_object_set_boolean_member(sink->json, name, TRUE);
	if (sink->text)
		g_string_append_printf(sink->text, " %s", name);
}

/* ---- fields ---- */

static uint64_t load(const uint8_t *bytes, unsigned len)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < len && i < 8; i++)
		value |= (uint64_t)bytes[i] << (8 * i);
	return value;
}

static void put_named(const Sink *sink, const TraceField *field, uint64_t value)
{
	for (uint64_t i = 0; field->names[i]; i++) {
		if (i == value) {
			put_string(sink, field->name, field->names[i]);
			return;
		}
	}
	put_number(sink, field->name, value, false);
}

static void put_int(const Sink *sink, const char *name, int16_t value)
{
	if (sink->json)
		json_object_set_int_member(sink->json, name, value);
	if (sink->text)
		g_string_append_printf(sink->text, " %s=%d", name, value);
}

/* What is no printable ASCII is shown as '.'. */
static void put_text(const Sink *sink, const char *name, const uint8_t *bytes, unsigned len)
{
	g_autofree char *text = g_strndup((const char *)bytes, len);

	for (char *c = text; *c; c++) {
		if (*c < ' ' || *c > '~')
			*c = '.';
	}
	put_string(sink, name, text);
}

static void put_bytes(const Sink *sink, const char *name, const uint8_t *bytes, size_t len)
{
	g_autofree char *hex = trace_hex(bytes, len);

	put_string(sink, name, hex);
}

static void put_uuid(const Sink *sink, const char *name, const uint8_t *bytes)
{
	char text[UUID_TEXT_SIZE];
	Uuid uuid;

	memcpy(uuid.b, bytes, sizeof(uuid.b));
	uuid_format(&uuid, text);
	put_string(sink, name, text);
}

static void put_field(const Sink *sink, const TraceField *field, const uint8_t *bytes, size_t len)
{
	const uint8_t *at = bytes + field->offset;

	if (field->offset > len || field->len > len - field->offset)
		return;
	switch ((TraceType)field->type) {
	case TRACE_UINT:
	case TRACE_HEX:
		put_number(sink, field->name, load(at, field->len), field->type == TRACE_HEX);
		break;
	case TRACE_INT:
		put_int(sink, field->name, (int16_t)load(at, field->len));
		break;
	case TRACE_UNITS:
		put_number(sink, field->name, load(at, field->len) * CXL_CAPACITY_UNIT, true);
		break;
	case TRACE_NAME:
		put_named(sink, field, load(at, field->len));
		break;
	case TRACE_UUID:
		put_uuid(sink, field->name, at);
		break;
	case TRACE_BYTES:
		put_bytes(sink, field->name, at, field->len);
		break;
	case TRACE_TEXT:
		put_text(sink, field->name, at, field->len);
		break;
	case TRACE_REST:
		put_bytes(sink, field->name, at, len - field->offset);
		break;
	}
}

static void put_fields(const Sink *sink, const TraceLayout *layout, const uint8_t *bytes,
		       size_t len)
{
	for (const TraceField *field = layout->fields; field->name; field++)
		put_field(sink, field, bytes, len);
}

/* ---- records, lists, payloads ---- */

static void put_record(const Sink *sink, const uint8_t *bytes)
{
	const TraceRecordKind *kind = trace_find_record(bytes);
	Sink header = *sink;

	header.is_terse = true;
	if (kind)
		put_string(sink, "record", kind->name);
	else
		put_uuid(sink, "record", bytes);
	put_fields(&header, &trace_record_header, bytes, CXL_EVENT_RECORD_LEN);
	if (kind)
		put_fields(sink, kind->layout, bytes, CXL_EVENT_RECORD_LEN);
	else
		put_bytes(sink, "data", bytes + sizeof(CxlEventHeader), CXL_EVENT_DATA_LEN);
}

static void put_item(const Sink *sink, JsonArray *list, const TraceLayout *layout,
		     const uint8_t *bytes)
{
	Sink item = { .json = list ? json_object_new() : NULL, .text = sink->text };

	if (item.text)
		g_string_append(item.text, " {");
	if (layout->item)
		put_fields(&item, layout->item, bytes, layout->item_len);
	else
		put_record(&item, bytes);
	if (item.text)
		g_string_append(item.text, " }");
	if (list)
		json_array_add_object_element(list, item.json);
}

/* Returns how many bytes the items take. */
static size_t put_list(const Sink *sink, const TraceLayout *layout, const uint8_t *payload,
		       size_t len)
{
	JsonArray *list = sink->json ? json_array_new() : NULL;
	size_t n_there = (len - layout->len) / layout->item_len;
	uint64_t n = layout->count_len ? load(payload + layout->count_offset, layout->count_len)
				       : n_there;

	n = MIN(n, n_there);
	for (size_t i = 0; i < n; i++)
		put_item(sink, list, layout, payload + layout->len + i * layout->item_len);
	if (list)
		json_object_set_array_member(sink->json, layout->list_name, list);
	return (size_t)n * layout->item_len;
}

static void put_payload(const Sink *sink, const TraceLayout *layout, const uint8_t *bytes,
			size_t kept, size_t len)
{
	if (!layout) {
		if (kept > 0)
			put_bytes(sink, "data", bytes, kept);
	} else {
		size_t list_len = 0;

		put_fields(sink, layout, bytes, kept);
		if (layout->list_name && kept >= layout->len)
			list_len = put_list(sink, layout, bytes, kept);
		if (layout->tail && kept >= layout->len)
			put_fields(sink, layout->tail, bytes + layout->len + list_len,
				   kept - layout->len - list_len);
	}
	if (kept < len)
		put_flag(sink, "more");
}

/* ---- entries ---- */

static JsonObject *payload_json(const TraceLayout *layout, const uint8_t *bytes, size_t kept,
				size_t len)
{
	Sink sink = { .json = json_object_new() };

	put_payload(&sink, layout, bytes, kept, len);
	return sink.json;
}

static void command_json(JsonObject *json, const TraceEntry *entry)
{
	const TraceCommand *command = trace_find_command(entry->opcode);

	json_object_set_int_member(json, "opcode", entry->opcode);
	if (command)
		json_object_set_string_member(json, "name", command->name);
	else
		json_object_set_null_member(json, "name");
	json_object_set_int_member(json, "rc", entry->rc);
	json_object_set_string_member(json, "rc-name", trace_rc_name(entry->rc));
	json_object_set_int_member(json, "took-us", (gint64)entry->took_us);
	json_object_set_object_member(json, "in",
				      payload_json(command ? command->in : NULL, entry->in,
						   entry->in_kept, entry->in_len));
	json_object_set_object_member(json, "out",
				      payload_json(command ? command->out : NULL, entry->out,
						   entry->out_kept, entry->out_len));
}

JsonObject *trace_decode_json(const TraceEntry *entry)
{
	JsonObject *json = json_object_new();
	Sink sink = { .json = json };

	json_object_set_string_member(json, "kind", trace_kind_name(entry->kind));
	if (entry->kind == TRACE_COMMAND) {
		command_json(json, entry);
		return json;
	}
	json_object_set_string_member(json, "log", trace_log_name(entry->log));
	put_record(&sink, (const uint8_t *)&entry->record);
	return json;
}

static void command_text(GString *text, const TraceEntry *entry)
{
	const TraceCommand *command = trace_find_command(entry->opcode);
	Sink sink = { .text = text };

	g_string_append_printf(text, "%04Xh %s: %s (%02Xh), %" PRIu64 " us", entry->opcode,
			       command ? command->name : "?", trace_rc_name(entry->rc), entry->rc,
			       entry->took_us);
	if (entry->in_len > 0) {
		g_string_append(text, "; in:");
		put_payload(&sink, command ? command->in : NULL, entry->in, entry->in_kept,
			    entry->in_len);
	}
	if (entry->out_len > 0) {
		g_string_append(text, "; out:");
		put_payload(&sink, command ? command->out : NULL, entry->out, entry->out_kept,
			    entry->out_len);
	}
}

char *trace_decode_text(const TraceEntry *entry)
{
	GString *text = g_string_new(NULL);
	Sink sink = { .text = text };

	if (entry->kind == TRACE_COMMAND) {
		command_text(text, entry);
	} else {
		g_string_append_printf(text, "%s log: %s:", trace_log_name(entry->log),
				       trace_kind_name(entry->kind));
		put_record(&sink, (const uint8_t *)&entry->record);
	}
	return g_string_free(text, FALSE);
}
