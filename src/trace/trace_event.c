/* SPDX-License-Identifier: BSD-3-Clause */
/* Trace entries as the data of the QMP event X_TRACE (docs/qmp.md), and back. */
#include "trace/trace_event.h"

#include "trace/trace_decode.h"

#include <gio/gio.h>
#include <string.h>

/* ---- out ---- */

static void set_hex(JsonObject *data, const char *name, const uint8_t *bytes, size_t len)
{
	g_autofree char *hex = trace_hex(bytes, len);

	json_object_set_string_member(data, name, hex);
}

static void set_command(JsonObject *data, const TraceEntry *entry, bool payloads)
{
	const char *name = trace_opcode_name(entry->opcode);

	json_object_set_string_member(data, "kind", "command");
	json_object_set_int_member(data, "opcode", entry->opcode);
	if (name)
		json_object_set_string_member(data, "name", name);
	else
		json_object_set_null_member(data, "name");
	json_object_set_int_member(data, "rc", entry->rc);
	json_object_set_string_member(data, "rc-name", trace_rc_name(entry->rc));
	json_object_set_int_member(data, "took-us", (gint64)MIN(entry->took_us, INT64_MAX));
	json_object_set_int_member(data, "in-len", entry->in_len);
	json_object_set_int_member(data, "out-len", entry->out_len);
	if (payloads) {
		set_hex(data, "in", entry->in, entry->in_kept);
		set_hex(data, "out", entry->out, entry->out_kept);
	} else {
		json_object_set_null_member(data, "in");
		json_object_set_null_member(data, "out");
	}
}

static void set_record(JsonObject *data, const TraceEntry *entry)
{
	g_autofree char *text = trace_decode_text(entry);

	json_object_set_string_member(data, "kind", "record");
	json_object_set_int_member(data, "log", entry->log);
	json_object_set_string_member(data, "action", trace_kind_name(entry->kind));
	json_object_set_int_member(data, "handle", le16_get(entry->record.header.handle));
	set_hex(data, "record", (const uint8_t *)&entry->record, sizeof(entry->record));
	json_object_set_string_member(data, "text", text);
}

JsonObject *trace_event_new(const char *device, const TraceEntry *entry, bool payloads)
{
	JsonObject *data = json_object_new();

	json_object_set_string_member(data, "device", device);
	json_object_set_int_member(data, "time", (gint64)MIN(entry->time_us, INT64_MAX));
	json_object_set_int_member(data, "lost", (gint64)MIN(entry->n_lost, INT64_MAX));
	if (entry->kind == TRACE_COMMAND)
		set_command(data, entry, payloads);
	else
		set_record(data, entry);
	return data;
}

/* ---- in ---- */

static bool refuse(GError **error, const char *name)
{
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
		    "X_TRACE: its member \"%s\" is missing or not what it should be", name);
	return false;
}

static bool get_uint(JsonObject *data, const char *name, uint64_t max, uint64_t *ret,
		     GError **error)
{
	JsonNode *node = json_object_get_member(data, name);
	gint64 value;

	if (!node || !JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_INT64)
		return refuse(error, name);
	value = json_node_get_int(node);
	if (value < 0 || (uint64_t)value > max)
		return refuse(error, name);
	*ret = (uint64_t)value;
	return true;
}

/* Borrowed; NULL unless it is a string. */
static const char *peek_string(JsonObject *data, const char *name)
{
	JsonNode *node = json_object_get_member(data, name);

	if (!node || !JSON_NODE_HOLDS_VALUE(node) ||
	    json_node_get_value_type(node) != G_TYPE_STRING)
		return NULL;
	return json_node_get_string(node);
}

/* Null or missing: nothing. */
static bool get_hex(JsonObject *data, const char *name, uint8_t *ret, size_t max, uint32_t *ret_len,
		    GError **error)
{
	const char *hex = peek_string(data, name);
	size_t len = hex ? strlen(hex) : 0;

	*ret_len = 0;
	if (!hex)
		return !json_object_has_member(data, name) ||
		       json_object_get_null_member(data, name) || refuse(error, name);
	if (len % 2 != 0 || len / 2 > max)
		return refuse(error, name);
	for (size_t i = 0; i < len; i += 2) {
		int hi = g_ascii_xdigit_value(hex[i]), lo = g_ascii_xdigit_value(hex[i + 1]);

		if (hi < 0 || lo < 0)
			return refuse(error, name);
		ret[i / 2] = (uint8_t)(hi << 4 | lo);
	}
	*ret_len = (uint32_t)(len / 2);
	return true;
}

static bool parse_command(JsonObject *data, TraceEventEntry *ret, GError **error)
{
	TraceEntry *entry = &ret->entry;
	uint64_t opcode, rc, in_len, out_len;

	if (!get_uint(data, "opcode", UINT16_MAX, &opcode, error) ||
	    !get_uint(data, "rc", UINT16_MAX, &rc, error) ||
	    !get_uint(data, "took-us", INT64_MAX, &entry->took_us, error) ||
	    !get_uint(data, "in-len", UINT32_MAX, &in_len, error) ||
	    !get_uint(data, "out-len", UINT32_MAX, &out_len, error) ||
	    !get_hex(data, "in", ret->in, sizeof(ret->in), &entry->in_kept, error) ||
	    !get_hex(data, "out", ret->out, sizeof(ret->out), &entry->out_kept, error))
		return false;
	if (entry->in_kept > in_len)
		return refuse(error, "in-len");
	if (entry->out_kept > out_len)
		return refuse(error, "out-len");
	entry->kind = TRACE_COMMAND;
	entry->opcode = (uint16_t)opcode;
	entry->rc = (uint16_t)rc;
	entry->in_len = (uint32_t)in_len;
	entry->out_len = (uint32_t)out_len;
	entry->in = ret->in;
	entry->out = ret->out;
	return true;
}

static bool parse_record(JsonObject *data, TraceEventEntry *ret, GError **error)
{
	const char *action = peek_string(data, "action");
	uint8_t *record = (uint8_t *)&ret->entry.record;
	uint32_t len;
	uint64_t log;

	if (!action)
		return refuse(error, "action");
	ret->entry.kind = trace_kind_parse(action);
	if (ret->entry.kind < TRACE_POSTED)
		return refuse(error, "action");
	if (!get_uint(data, "log", CXL_N_LOGS - 1, &log, error) ||
	    !get_hex(data, "record", record, sizeof(ret->entry.record), &len, error))
		return false;
	if (len != sizeof(ret->entry.record))
		return refuse(error, "record");
	ret->entry.log = (uint8_t)log;
	return true;
}

bool trace_event_parse(JsonObject *data, TraceEventEntry *ret, GError **error)
{
	const char *kind = peek_string(data, "kind");

	ret->entry = (TraceEntry){ .kind = TRACE_COMMAND };
	if (!get_uint(data, "time", INT64_MAX, &ret->entry.time_us, error) ||
	    !get_uint(data, "lost", INT64_MAX, &ret->entry.n_lost, error))
		return false;
	if (g_strcmp0(kind, "command") == 0)
		return parse_command(data, ret, error);
	if (g_strcmp0(kind, "record") == 0)
		return parse_record(data, ret, error);
	return refuse(error, "kind");
}
