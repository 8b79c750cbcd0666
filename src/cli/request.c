/* SPDX-License-Identifier: BSD-3-Clause */
/* From what was given on the command line to a command's arguments. */
#include "cli/request.h"

#include "cli/verb.h"
#include "qmp/qmp_json.h"

static JsonNode *string_node(const char *text)
{
	return json_node_init_string(json_node_alloc(), text);
}

static JsonNode *take_object(JsonObject *object)
{
	JsonNode *node = json_node_new(JSON_NODE_OBJECT);

	json_node_take_object(node, object);
	return node;
}

static JsonNode *extent_node(const CliValue *value)
{
	JsonObject *extent = json_object_new();

	json_object_set_member(extent, "offset", qmp_json_new_u64(value->offset));
	json_object_set_member(extent, "len", qmp_json_new_u64(value->len));
	return take_object(extent);
}

static JsonNode *region_node(const CliValue *value)
{
	JsonObject *region = json_object_new();

	json_object_set_member(region, "size", qmp_json_new_u64(value->len));
	if (value->block_len)
		json_object_set_member(region, "block-size", qmp_json_new_u64(value->block_len));
	if (value->sharable)
		json_object_set_boolean_member(region, "sharable", TRUE);
	if (value->read_only)
		json_object_set_boolean_member(region, "read-only", TRUE);
	if (value->sanitize)
		json_object_set_boolean_member(region, "sanitize-on-release", TRUE);
	if (value->non_volatile)
		json_object_set_boolean_member(region, "non-volatile", TRUE);
	return take_object(region);
}

static JsonNode *value_node(CliType type, const CliValue *value)
{
	switch (type) {
	case CLI_FLAG:
		return json_node_init_boolean(json_node_alloc(), TRUE);
	case CLI_TEXT:
	case CLI_NAME:
	case CLI_ENUM:
		return string_node(value->text);
	case CLI_TAG:
		return string_node(value->tag_text);
	case CLI_SIZE:
	case CLI_UINT:
	case CLI_DURATION:
	case CLI_TIME:
		return qmp_json_new_u64(value->number);
	case CLI_INT:
		return json_node_init_int(json_node_alloc(), value->integer);
	case CLI_EXTENT:
		return extent_node(value);
	case CLI_DC_REGION:
		return region_node(value);
	}
	g_assert_not_reached();
}

static JsonNode *list_node(const CliArgs *args, const CliParam *param)
{
	JsonArray *list = json_array_new();
	JsonNode *node = json_node_new(JSON_NODE_ARRAY);

	for (unsigned i = 0; i < cli_n_values(args, param->name); i++)
		json_array_add_element(list,
				       value_node(param->type, cli_value(args, param->name, i)));
	json_node_take_array(node, list);
	return node;
}

JsonObject *cli_request_new(const CliArgs *args, const CliMember *members)
{
	JsonObject *request = json_object_new();

	for (; members->option; members++) {
		const CliParam *param = cli_args_param(args, members->option);
		const char *member = members->member ? members->member : members->option;
		const CliValue *value = cli_value(args, members->option, 0);

		if (value)
			json_object_set_member(request, member,
					       param->repeatable ? list_node(args, param)
								 : value_node(param->type, value));
	}
	return request;
}

JsonObject *cli_request_id(const char *name)
{
	JsonObject *request = json_object_new();

	json_object_set_string_member(request, "id", name);
	return request;
}
