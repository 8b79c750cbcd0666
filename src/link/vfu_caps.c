/* SPDX-License-Identifier: BSD-3-Clause */
/* The capability JSON in the VERSION messages of both ends. */
#include "link/vfu_caps.h"

#include "link/vfu_wire.h"

#include <json-glib/json-glib.h>
#include <stdio.h>
#include <string.h>

/* More than any capability text needs; json-glib recurses at most that deep. */
#define MAX_BRACKETS 64

enum cap_type {
	CAP_NUMBER,
	CAP_BOOL,
	CAP_OBJECT
};

static const struct {
	const char *key;
	enum cap_type type;
} known_caps[] = {
	{ "max_msg_fds", CAP_NUMBER },  { "max_data_xfer_size", CAP_NUMBER },
	{ "max_dma_maps", CAP_NUMBER }, { "pgsizes", CAP_NUMBER },
	{ "write_multiple", CAP_BOOL }, { "migration", CAP_OBJECT },
	{ "twin_socket", CAP_OBJECT },
};

/*
 * Counts every bracket, also those in strings: whatever dialect of quotes and comments the parser
 * understands, it cannot nest deeper than that.
 */
static bool has_few_brackets(const char *json, size_t len)
{
	unsigned n = 0;

	for (size_t i = 0; i < len; i++)
		n += json[i] == '{' || json[i] == '[';
	return n <= MAX_BRACKETS;
}

static bool cap_has_type(JsonNode *node, enum cap_type type)
{
	if (type == CAP_OBJECT)
		return JSON_NODE_HOLDS_OBJECT(node);
	if (!JSON_NODE_HOLDS_VALUE(node))
		return false;
	if (type == CAP_BOOL)
		return json_node_get_value_type(node) == G_TYPE_BOOLEAN;
	return json_node_get_value_type(node) == G_TYPE_INT64 && json_node_get_int(node) >= 0;
}

static uint32_t cap_number(JsonObject *caps, const char *key, uint32_t fallback)
{
	if (!json_object_has_member(caps, key))
		return fallback;
	return (uint32_t)MIN(json_object_get_int_member(caps, key), (gint64)UINT32_MAX);
}

static const char *caps_from_root(JsonNode *root, VfuCaps *ret)
{
	JsonObject *caps;
	JsonNode *node;

	if (root == NULL || !JSON_NODE_HOLDS_OBJECT(root))
		return "capabilities are not a JSON object";
	node = json_object_get_member(json_node_get_object(root), "capabilities");
	if (node == NULL)
		return NULL;
	if (!JSON_NODE_HOLDS_OBJECT(node))
		return "\"capabilities\" is not an object";
	caps = json_node_get_object(node);
	for (unsigned i = 0; i < G_N_ELEMENTS(known_caps); i++) {
		node = json_object_get_member(caps, known_caps[i].key);
		if (node != NULL && !cap_has_type(node, known_caps[i].type))
			return "a capability has a value of the wrong type";
	}
	ret->max_msg_fds = cap_number(caps, "max_msg_fds", ret->max_msg_fds);
	ret->max_data = cap_number(caps, "max_data_xfer_size", ret->max_data);
	if (ret->max_data == 0)
		return "max_data_xfer_size is 0";
	return NULL;
}

const char *vfu_caps_parse(const char *json, size_t len, VfuCaps *ret)
{
	g_autoptr(JsonParser) parser = NULL;
	VfuCaps caps = { .max_msg_fds = 1, .max_data = VFU_MAX_DATA };
	const char *why;

	if (len > 0) {
		if (len > VFU_MAX_JSON)
			return "capabilities are longer than 4096 bytes";
		if (memchr(json, '\0', len) != json + len - 1)
			return "capabilities do not end with their only NUL";
		if (!g_utf8_validate_len(json, len - 1, NULL))
			return "capabilities are not UTF-8";
		if (!has_few_brackets(json, len))
			return "capabilities nest too deep";
		parser = json_parser_new();
		if (!json_parser_load_from_data(parser, json, (gssize)len - 1, NULL))
			return "capabilities are not JSON";
		why = caps_from_root(json_parser_get_root(parser), &caps);
		if (why != NULL)
			return why;
	}
	*ret = caps;
	return NULL;
}

size_t vfu_caps_format(const VfuCaps *caps, char *buf, size_t buf_len)
{
	int n = snprintf(buf, buf_len,
			 "{\"capabilities\":{\"max_msg_fds\":%u,\"max_data_xfer_size\":%u}}",
			 caps->max_msg_fds, caps->max_data);

	g_assert(n > 0 && (size_t)n < buf_len);
	return (size_t)n + 1;
}
