/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd host: one line on stdout for each change, JSON or a sentence. */
#include "cli/host.h"
#include "cli/host_out.h"
#include "util/size.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

/* ---- JSON ---- */

static void add_text(JsonBuilder *json, const char *name, const char *value)
{
	json_builder_set_member_name(json, name);
	if (value)
		json_builder_add_string_value(json, value);
	else
		json_builder_add_null_value(json);
}

static void add_number(JsonBuilder *json, const char *name, uint64_t value)
{
	json_builder_set_member_name(json, name);
	json_builder_add_int_value(json, (gint64)value);
}

static void add_bool(JsonBuilder *json, const char *name, bool value)
{
	json_builder_set_member_name(json, name);
	json_builder_add_boolean_value(json, value);
}

/* Above what a JSON number can hold everywhere. */
static void add_hex(JsonBuilder *json, const char *name, uint64_t value)
{
	char text[17];

	snprintf(text, sizeof(text), "%016" PRIx64, value);
	add_text(json, name, text);
}

static void add_tag(JsonBuilder *json, const CxlTag *tag)
{
	static const CxlTag none;
	char text[CXL_TAG_TEXT_LEN];

	cxl_tag_format(tag, text);
	add_text(json, "tag", memcmp(tag, &none, sizeof(none)) == 0 ? NULL : text);
}

/* {"event": EVENT, "time": microseconds since 1970, "device": NAME, ... */
static JsonBuilder *begin(const HostDevice *device, const char *event)
{
	JsonBuilder *json = json_builder_new();

	json_builder_begin_object(json);
	add_text(json, "event", event);
	add_number(json, "time", (uint64_t)g_get_real_time());
	add_text(json, "device", device->name);
	return json;
}

/* Owns JSON. */
static void end(const HostDevice *device, JsonBuilder *json)
{
	g_autoptr(JsonNode) root = NULL;
	g_autofree char *text = NULL;

	json_builder_end_object(json);
	root = json_builder_get_root(json);
	text = json_to_string(root, FALSE);
	host_out_line(device->cmd->out, g_strconcat(text, "\n", NULL));
	g_object_unref(json);
}

/* ---- sentences ---- */

G_GNUC_PRINTF(2, 3)
static void say(const HostDevice *device, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	host_out_line(device->cmd->out, g_strconcat(device->name, ": ", text, "\n", NULL));
}

static const char *tag_name(const CxlTag *tag, char text[CXL_TAG_TEXT_LEN])
{
	static const CxlTag none;

	cxl_tag_format(tag, text);
	return memcmp(tag, &none, sizeof(none)) == 0 ? "untagged memory" : text;
}

/* ---- events ---- */

void host_tell_attached(HostDevice *device)
{
	ProcessHost *host = device->cmd->host;
	const CxlWindow *window = cxl_driver_window(process_host_peek_driver(host), 0);
	void *hva = process_host_hva(host, window->hpa);
	JsonBuilder *json;

	if (device->cmd->is_human) {
		g_autofree char *size = size_format_human(window->len);

		say(device,
		    "attached; a window of %s at HPA 0x%" PRIx64 ", address %p of process %d", size,
		    window->hpa, hva, (int)getpid());
		return;
	}
	json = begin(device, "attached");
	add_number(json, "pid", (uint64_t)getpid());
	json_builder_set_member_name(json, "window");
	json_builder_begin_object(json);
	add_number(json, "hpa", window->hpa);
	add_number(json, "len", window->len);
	add_number(json, "address", (uint64_t)(uintptr_t)hva);
	json_builder_end_object(json);
	end(device, json);
}

/* Any process of this user can open it, and gets a descriptor of its own with the same rights. */
static char *place_path(const ProcessHostPlace *place)
{
	return g_strdup_printf("/proc/%d/fd/%d", (int)getpid(), place->fd);
}

static void say_accepted(const HostGroup *group, const char *event)
{
	const HostDevice *device = group->device;
	g_autofree char *size = size_format_human(host_group_len(group));
	char tag[CXL_TAG_TEXT_LEN];

	say(device, "%s %s, %s, region %u%s%s", event, tag_name(&group->tag, tag), size,
	    group->region, group->recovered ? ", found accepted" : "",
	    group->checked == HOST_FILLED     ? ", filled"
	    : group->checked == HOST_VERIFIED ? ", verified"
					      : "");
	for (guint i = 0; i < group->maps->len; i++) {
		const HostMap *map = &g_array_index(group->maps, HostMap, i);
		g_autofree char *path = place_path(&map->place);
		g_autofree char *len = size_format_human(map->len);

		say(device, "  HPA 0x%" PRIx64 ", address %p, %s: %s offset 0x%" PRIx64 "%s",
		    map->hpa, process_host_hva(device->cmd->host, map->hpa), len, path,
		    map->place.offset, map->place.writable ? "" : ", read-only");
	}
}

static void add_map(JsonBuilder *json, const HostGroup *group, const HostMap *map)
{
	g_autofree char *path = place_path(&map->place);

	json_builder_begin_object(json);
	add_number(json, "dpa", map->dpa);
	add_number(json, "hpa", map->hpa);
	add_number(json, "address",
		   (uint64_t)(uintptr_t)process_host_hva(group->device->cmd->host, map->hpa));
	add_number(json, "len", map->len);
	add_text(json, "path", path);
	add_number(json, "offset", map->place.offset);
	add_bool(json, "writable", map->place.writable);
	add_hex(json, "incarnation", map->place.incarnation);
	json_builder_end_object(json);
}

void host_tell_accepted(const HostGroup *group, const char *event)
{
	static const char *const checks[] = {
		[HOST_UNCHECKED] = NULL,
		[HOST_FILLED] = "filled",
		[HOST_VERIFIED] = "verified",
	};
	JsonBuilder *json;

	if (group->device->cmd->is_human) {
		say_accepted(group, event);
		return;
	}
	json = begin(group->device, event);
	add_tag(json, &group->tag);
	add_number(json, "group", group->id);
	add_number(json, "region", group->region);
	add_number(json, "len", host_group_len(group));
	add_bool(json, "recovered", group->recovered);
	add_text(json, "check", checks[group->checked]);
	json_builder_set_member_name(json, "maps");
	json_builder_begin_array(json);
	for (guint i = 0; i < group->maps->len; i++)
		add_map(json, group, &g_array_index(group->maps, HostMap, i));
	json_builder_end_array(json);
	end(group->device, json);
}

static uint64_t ranges_len(const CxlDpaRange *ranges, uint32_t n)
{
	uint64_t len = 0;

	for (uint32_t i = 0; i < n; i++)
		len += ranges[i].len;
	return len;
}

static void tell_ranges(HostDevice *device, const char *event, const char *why, const CxlTag *tag,
			const CxlDpaRange *ranges, uint32_t n)
{
	uint64_t len = ranges_len(ranges, n);
	JsonBuilder *json;

	if (device->cmd->is_human) {
		g_autofree char *size = size_format_human(len);
		char text[CXL_TAG_TEXT_LEN];

		say(device, "%s %s of %s (%s)", event, size, tag_name(tag, text), why);
		return;
	}
	json = begin(device, event);
	add_tag(json, tag);
	add_text(json, "why", why);
	add_number(json, "len", len);
	json_builder_set_member_name(json, "extents");
	json_builder_begin_array(json);
	for (uint32_t i = 0; i < n; i++) {
		json_builder_begin_object(json);
		add_number(json, "dpa", ranges[i].dpa);
		add_number(json, "len", ranges[i].len);
		json_builder_end_object(json);
	}
	json_builder_end_array(json);
	end(device, json);
}

void host_tell_gone(HostDevice *device, const char *event, const char *why, const CxlTag *tag,
		    const CxlDpaRange *ranges, uint32_t n_ranges)
{
	tell_ranges(device, event, why, tag, ranges, n_ranges);
}

void host_tell_kept(const HostGroup *group, const CxlDpaRange *ranges, uint32_t n_ranges)
{
	tell_ranges(group->device, "kept", "pinned", &group->tag, ranges, n_ranges);
}

void host_tell_away(HostDevice *device, const char *why)
{
	JsonBuilder *json;

	if (device->cmd->is_human) {
		say(device, "reconnecting: %s; what is accepted stays mapped", why);
		return;
	}
	json = begin(device, "reconnecting");
	add_text(json, "why", why);
	end(device, json);
}

void host_tell_resumed(HostDevice *device, bool kept, uint64_t away_us)
{
	JsonBuilder *json;

	if (device->cmd->is_human) {
		say(device, "resumed after %.3f s%s", (double)away_us / 1e6,
		    kept ? ""
			 : "; the pool did not know this host any more: the device has been "
			   "programmed anew");
		return;
	}
	json = begin(device, "resumed");
	add_text(json, "session", kept ? "kept" : "new");
	add_number(json, "away-us", away_us);
	end(device, json);
}

void host_tell_left(HostDevice *device)
{
	if (device->cmd->is_human)
		say(device, "left");
	else
		end(device, begin(device, "left"));
}

void host_tell_mismatch(const HostGroup *group, uint64_t dpa, uint64_t expected, uint64_t found)
{
	char tag[CXL_TAG_TEXT_LEN];
	JsonBuilder *json;

	if (group->device->cmd->is_human) {
		say(group->device,
		    "MISMATCH in %s at DPA 0x%" PRIx64 ": 0x%016" PRIx64 " where 0x%016" PRIx64
		    " was written",
		    tag_name(&group->tag, tag), dpa, found, expected);
		return;
	}
	json = begin(group->device, "mismatch");
	add_tag(json, &group->tag);
	add_number(json, "dpa", dpa);
	add_hex(json, "expected", expected);
	add_hex(json, "found", found);
	end(group->device, json);
}
