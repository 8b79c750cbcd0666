/* SPDX-License-Identifier: BSD-3-Clause */
/* From the text of one JSON value to json-glib's nodes, exactly or not at all. */
#include "qmp/qmp_error.h"
#include "qmp/qmp_json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Parser {
	const char *at, *end;
	const QmpJsonLimits *limits;
	unsigned depth;
	unsigned long values;
	GError *error; /* the first one */
} Parser;

static JsonNode *parse_value(Parser *parser);

G_GNUC_PRINTF(2, 3)
static bool refuse(Parser *parser, const char *format, ...)
{
	g_autofree char *why = NULL;
	va_list args;

	if (parser->error)
		return false;
	va_start(args, format);
	why = g_strdup_vprintf(format, args);
	va_end(args);
	g_set_error(&parser->error, QMP_ERROR, QMP_ERROR_GENERIC, "JSON parse error, %s", why);
	return false;
}

static void skip_space(Parser *parser)
{
	while (parser->at < parser->end && *parser->at != '\0' && strchr(" \t\n\r", *parser->at))
		parser->at++;
}

/* The next byte, which is not taken; 0 at the end and for a NUL byte, which JSON does not have. */
static char peek(const Parser *parser)
{
	return parser->at < parser->end ? *parser->at : '\0';
}

/* ---- strings ---- */

static bool parse_hex4(Parser *parser, gunichar *ret)
{
	gunichar value = 0;

	if (parser->end - parser->at < 4)
		return refuse(parser, "invalid hex escape sequence in string");
	for (unsigned i = 0; i < 4; i++) {
		int digit = g_ascii_xdigit_value(*parser->at++);

		if (digit < 0)
			return refuse(parser, "invalid hex escape sequence in string");
		value = value << 4 | (gunichar)digit;
	}
	*ret = value;
	return true;
}

/* Behind "\u". Strings are C strings for everyone behind us: no NUL in them. */
static bool parse_unicode(Parser *parser, GString *out)
{
	gunichar c, low = 0;

	if (!parse_hex4(parser, &c))
		return false;
	if (c == 0)
		return refuse(parser, "\\u0000 in string");
	if (c >= 0xdc00 && c <= 0xdfff)
		return refuse(parser, "\\u%04x in string is half of a surrogate pair", c);
	if (c >= 0xd800 && c <= 0xdbff) {
		bool paired = parser->end - parser->at >= 2 && parser->at[0] == '\\' &&
			      parser->at[1] == 'u';

		if (paired) {
			parser->at += 2;
			if (!parse_hex4(parser, &low))
				return false;
		}
		if (low < 0xdc00 || low > 0xdfff)
			return refuse(parser, "\\u%04x in string is half of a surrogate pair", c);
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	g_string_append_unichar(out, c);
	return true;
}

static bool parse_escape(Parser *parser, GString *out)
{
	static const char from[] = "\"'\\/bfnrt";
	static const char to[] = "\"'\\/\b\f\n\r\t";
	char c = peek(parser);
	const char *found = c != '\0' ? strchr(from, c) : NULL;

	if (c == 'u') {
		parser->at++;
		return parse_unicode(parser, out);
	}
	if (!found)
		return refuse(parser, "invalid escape sequence in string");
	parser->at++;
	g_string_append_c(out, to[found - from]);
	return true;
}

/* At its opening quote. */
static GString *parse_string(Parser *parser)
{
	char quote = *parser->at++;
	const char stops[] = { quote, '\\', '\0' };
	GString *out = g_string_new(NULL);

	while (parser->at < parser->end) {
		const char *from = parser->at;

		while (parser->at < parser->end && !strchr(stops, *parser->at) &&
		       (uint8_t)*parser->at >= 0x20)
			parser->at++;
		g_string_append_len(out, from, parser->at - from);
		if (parser->at == parser->end)
			break;
		if (*parser->at == quote) {
			parser->at++;
			return out;
		}
		if (*parser->at != '\\') {
			refuse(parser, "control character 0x%02x in string", *parser->at);
			break;
		}
		parser->at++;
		if (!parse_escape(parser, out))
			break;
	}
	refuse(parser, "the input ends inside a string");
	g_string_free(out, TRUE);
	return NULL;
}

static JsonNode *parse_string_node(Parser *parser)
{
	GString *string = parse_string(parser);
	JsonNode *node;

	if (!string)
		return NULL;
	node = json_node_init_string(json_node_alloc(), string->str);
	g_string_free(string, TRUE);
	return node;
}

/* ---- numbers and words ---- */

static bool take_digits(Parser *parser)
{
	const char *from = parser->at;

	while (g_ascii_isdigit(peek(parser)))
		parser->at++;
	return parser->at > from;
}

/* -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)? */
static bool scan_number(Parser *parser, bool *ret_integer)
{
	*ret_integer = true;
	if (peek(parser) == '-')
		parser->at++;
	if (peek(parser) == '0')
		parser->at++;
	else if (!take_digits(parser))
		return false;
	if (peek(parser) == '.') {
		*ret_integer = false;
		parser->at++;
		if (!take_digits(parser))
			return false;
	}
	if (peek(parser) == 'e' || peek(parser) == 'E') {
		*ret_integer = false;
		parser->at++;
		if (peek(parser) == '+' || peek(parser) == '-')
			parser->at++;
		if (!take_digits(parser))
			return false;
	}
	return !g_ascii_isalnum(peek(parser)) && peek(parser) != '.';
}

/* NULL if it does not fit: then, as for QEMU, it is a floating point number. */
static JsonNode *integer_node(const char *text)
{
	guint64 u64;
	gint64 i64;

	errno = 0;
	if (*text == '-') {
		i64 = g_ascii_strtoll(text, NULL, 10);
		return errno ? NULL : json_node_init_int(json_node_alloc(), i64);
	}
	u64 = g_ascii_strtoull(text, NULL, 10);
	return errno ? NULL : qmp_json_new_u64(u64);
}

static JsonNode *parse_number(Parser *parser)
{
	const char *from = parser->at;
	g_autofree char *text = NULL;
	bool integer, good = scan_number(parser, &integer);
	JsonNode *node = NULL;
	double value;

	/* A copy, for the NUL behind it; a number of a mebibyte of digits is one too. */
	text = g_strndup(from, (gsize)(parser->at - from));
	if (!good) {
		refuse(parser, "invalid number '%.32s'", text);
		return NULL;
	}
	if (integer)
		node = integer_node(text);
	if (node)
		return node;
	value = g_ascii_strtod(text, NULL);
	if (!isfinite(value)) {
		refuse(parser, "number '%.32s' is out of range", text);
		return NULL;
	}
	return json_node_init_double(json_node_alloc(), value);
}

static JsonNode *parse_word(Parser *parser)
{
	const char *from = parser->at;
	size_t len;

	while (g_ascii_isalnum(peek(parser)))
		parser->at++;
	len = (size_t)(parser->at - from);
	if (len == 4 && memcmp(from, "true", len) == 0)
		return json_node_init_boolean(json_node_alloc(), TRUE);
	if (len == 5 && memcmp(from, "false", len) == 0)
		return json_node_init_boolean(json_node_alloc(), FALSE);
	if (len == 4 && memcmp(from, "null", len) == 0)
		return json_node_init_null(json_node_alloc());
	refuse(parser, "invalid keyword '%.*s'", (int)MIN(len, 32), from);
	return NULL;
}

/* ---- arrays and objects ---- */

/* At the opening bracket, which is taken. */
static bool enter(Parser *parser)
{
	if (parser->depth == parser->limits->depth)
		return refuse(parser, "nested deeper than %u", parser->limits->depth);
	parser->depth++;
	parser->at++;
	skip_space(parser);
	return true;
}

/* Behind an element: takes CLOSE (true in RET_END) or a comma. */
static bool go_on(Parser *parser, char close, bool *ret_end)
{
	char c;

	skip_space(parser);
	c = peek(parser);
	*ret_end = c == close;
	if (c != ',' && c != close)
		return refuse(parser, "expected ',' or '%c'", close);
	parser->at++;
	skip_space(parser);
	if (*ret_end)
		parser->depth--;
	return true;
}

static JsonNode *parse_array(Parser *parser)
{
	g_autoptr(JsonArray) array = json_array_new();
	bool end = false;

	if (!enter(parser))
		return NULL;
	if (peek(parser) == ']' && !go_on(parser, ']', &end))
		return NULL;
	while (!end) {
		JsonNode *element = parse_value(parser);

		if (!element)
			return NULL;
		json_array_add_element(array, element);
		if (!go_on(parser, ']', &end))
			return NULL;
	}
	return json_node_init_array(json_node_alloc(), array);
}

static bool parse_member(Parser *parser, JsonObject *object)
{
	g_autoptr(GString) name = NULL;
	JsonNode *value;

	if (peek(parser) != '"' && peek(parser) != '\'')
		return refuse(parser, "expected the name of a member");
	name = parse_string(parser);
	if (!name)
		return false;
	if (json_object_has_member(object, name->str))
		return refuse(parser, "duplicate key '%.64s'", name->str);
	/* Also so that names chosen to collide in the hash table cost nothing that counts. */
	if (json_object_get_size(object) == parser->limits->members)
		return refuse(parser, "object has more than %u members", parser->limits->members);
	skip_space(parser);
	if (peek(parser) != ':')
		return refuse(parser, "missing : in object pair");
	parser->at++;
	skip_space(parser);
	value = parse_value(parser);
	if (!value)
		return false;
	json_object_set_member(object, name->str, value);
	return true;
}

static JsonNode *parse_object(Parser *parser)
{
	g_autoptr(JsonObject) object = json_object_new();
	bool end = false;

	if (!enter(parser))
		return NULL;
	if (peek(parser) == '}' && !go_on(parser, '}', &end))
		return NULL;
	while (!end) {
		if (!parse_member(parser, object) || !go_on(parser, '}', &end))
			return NULL;
	}
	return json_node_init_object(json_node_alloc(), object);
}

static JsonNode *parse_value(Parser *parser)
{
	char c = peek(parser);

	if (parser->values++ == parser->limits->values) {
		refuse(parser, "more than %lu values", parser->limits->values);
		return NULL;
	}
	if (c == '{')
		return parse_object(parser);
	if (c == '[')
		return parse_array(parser);
	if (c == '"' || c == '\'')
		return parse_string_node(parser);
	if (c == '-' || g_ascii_isdigit(c))
		return parse_number(parser);
	if (g_ascii_isalpha(c))
		return parse_word(parser);
	refuse(parser, "expecting value");
	return NULL;
}

JsonNode *qmp_json_parse(const char *text, size_t len, const QmpJsonLimits *limits, GError **error)
{
	Parser parser = { .at = text, .end = text + len, .limits = limits };
	g_autoptr(JsonNode) node = NULL;

	if (len > limits->len)
		refuse(&parser, "longer than %zu bytes", limits->len);
	else if (!g_utf8_validate_len(text, len, NULL))
		refuse(&parser, "invalid UTF-8 sequence or NUL byte");
	skip_space(&parser);
	if (!parser.error)
		node = parse_value(&parser);
	skip_space(&parser);
	if (node && parser.at < parser.end)
		refuse(&parser, "unexpected text behind the value");
	if (parser.error) {
		g_propagate_error(error, parser.error);
		return NULL;
	}
	return g_steal_pointer(&node);
}

/* ---- integers of 64 bits, of either kind ---- */

JsonNode *qmp_json_new_u64(uint64_t value)
{
	JsonNode *node = json_node_init_int(json_node_alloc(), (gint64)value);

	if (value > G_MAXINT64)
		json_node_seal(node);
	return node;
}

static bool is_integer(JsonNode *node)
{
	return JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_INT64;
}

bool qmp_json_get_u64(JsonNode *node, uint64_t *ret)
{
	if (!is_integer(node) || (json_node_get_int(node) < 0 && !json_node_is_immutable(node)))
		return false;
	*ret = (uint64_t)json_node_get_int(node);
	return true;
}

bool qmp_json_get_i64(JsonNode *node, int64_t *ret)
{
	if (!is_integer(node) || (json_node_get_int(node) < 0 && json_node_is_immutable(node)))
		return false;
	*ret = json_node_get_int(node);
	return true;
}
