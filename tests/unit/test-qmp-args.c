/* SPDX-License-Identifier: BSD-3-Clause */
/* Arguments against their table: what passes, and each refusal in QEMU's words. */
#include "qmp/qmp_args.h"
#include "qmp/qmp_error.h"

#include <string.h>

static const char *const policies[] = { "free", "contiguous", NULL };

static const QmpArg extent_args[] = {
	{ .name = "offset", .type = QMP_U64 },
	{ .name = "len", .type = QMP_U64 },
	{ .name = NULL },
};

static const QmpArg args[] = {
	{ .name = "path", .type = QMP_STRING },
	{ .name = "host-id", .type = QMP_U16, .optional = true },
	{ .name = "region", .type = QMP_U8, .optional = true },
	{ .name = "flags", .type = QMP_U32, .optional = true },
	{ .name = "size", .type = QMP_U64, .optional = true },
	{ .name = "temperature", .type = QMP_I16, .optional = true },
	{ .name = "delta", .type = QMP_I64, .optional = true },
	{ .name = "ratio", .type = QMP_NUMBER, .optional = true },
	{ .name = "force", .type = QMP_BOOL, .optional = true },
	{ .name = "policy", .type = QMP_ENUM, .optional = true, .values = policies },
	{ .name = "extents", .type = QMP_OBJECTS, .optional = true, .members = extent_args },
	{ .name = "where", .type = QMP_OBJECT, .optional = true, .members = extent_args },
	{ .name = "names", .type = QMP_STRINGS, .optional = true },
	{ .name = "mask", .type = QMP_U64S, .optional = true },
	{ .name = "open", .type = QMP_OBJECT, .optional = true },
	{ .name = "any", .type = QMP_ANY, .optional = true },
	{ .name = NULL },
};

/* NULL: accepted. */
static char *refusal_of(const QmpArg *table, const char *text)
{
	g_autoptr(JsonNode)
		node = qmp_json_parse(text, strlen(text), &qmp_json_request_limits, NULL);
	g_autoptr(GError) error = NULL;

	g_assert_nonnull(node);
	if (qmp_args_check(table, json_node_get_object(node), &error))
		return NULL;
	g_assert_error(error, QMP_ERROR, QMP_ERROR_GENERIC);
	return g_strdup(error->message);
}

static void test_check(void)
{
	static const struct {
		const char *more, *why;
	} cases[] = {
		{ "", NULL },
		{ ", \"host-id\": 0", NULL },
		{ ", \"host-id\": 65535", NULL },
		{ ", \"host-id\": 65536", "Parameter 'host-id' expects uint16" },
		{ ", \"host-id\": -1", "Parameter 'host-id' expects uint16" },
		{ ", \"host-id\": 1.0", "Invalid parameter type for 'host-id', expected: integer" },
		{ ", \"host-id\": 1.5", "Invalid parameter type for 'host-id', expected: integer" },
		{ ", \"host-id\": \"1\"",
		  "Invalid parameter type for 'host-id', expected: integer" },
		{ ", \"host-id\": null",
		  "Invalid parameter type for 'host-id', expected: integer" },
		{ ", \"host-id\": true",
		  "Invalid parameter type for 'host-id', expected: integer" },
		{ ", \"host-id\": [1]", "Invalid parameter type for 'host-id', expected: integer" },
		{ ", \"region\": 255", NULL },
		{ ", \"region\": 256", "Parameter 'region' expects uint8" },
		{ ", \"flags\": 4294967295", NULL },
		{ ", \"flags\": 4294967296", "Parameter 'flags' expects uint32" },
		{ ", \"size\": 18446744073709551615", NULL },
		{ ", \"size\": 18446744073709551616", "Parameter 'size' expects uint64" },
		{ ", \"size\": -1", "Parameter 'size' expects uint64" },
		{ ", \"temperature\": -32768", NULL },
		{ ", \"temperature\": 32767", NULL },
		{ ", \"temperature\": -32769", "Parameter 'temperature' expects int16" },
		{ ", \"temperature\": 32768", "Parameter 'temperature' expects int16" },
		{ ", \"delta\": -9223372036854775808", NULL },
		{ ", \"delta\": 9223372036854775808", "Parameter 'delta' expects int64" },
		{ ", \"delta\": -1e30", "Parameter 'delta' expects int64" },
		{ ", \"ratio\": 1", NULL },
		{ ", \"ratio\": 1.5", NULL },
		{ ", \"ratio\": \"1\"", "Invalid parameter type for 'ratio', expected: number" },
		{ ", \"force\": false", NULL },
		{ ", \"force\": 0", "Invalid parameter type for 'force', expected: boolean" },
		{ ", \"policy\": \"free\"", NULL },
		{ ", \"policy\": \"Free\"", "Parameter 'policy' does not accept value 'Free'" },
		{ ", \"policy\": 1", "Invalid parameter type for 'policy', expected: string" },
		{ ", \"extents\": []", NULL },
		{ ", \"extents\": [{\"offset\": 0, \"len\": 1}]", NULL },
		{ ", \"extents\": {}", "Invalid parameter type for 'extents', expected: array" },
		{ ", \"extents\": [1]",
		  "Invalid parameter type for 'extents[0]', expected: object" },
		{ ", \"extents\": [{\"offset\": 0, \"len\": 1}, {\"offset\": 0}]",
		  "Parameter 'extents[1].len' is missing" },
		{ ", \"extents\": [{\"offset\": -1, \"len\": 1}]",
		  "Parameter 'extents[0].offset' expects uint64" },
		{ ", \"extents\": [{\"offset\": 0, \"len\": 1, \"tag\": 1}]",
		  "Parameter 'extents[0].tag' is unexpected" },
		{ ", \"where\": {\"offset\": 0, \"len\": 1}", NULL },
		{ ", \"where\": {\"offset\": 0}", "Parameter 'where.len' is missing" },
		{ ", \"where\": []", "Invalid parameter type for 'where', expected: object" },
		{ ", \"names\": [\"a\", \"b\"]", NULL },
		{ ", \"names\": [\"a\", 1]",
		  "Invalid parameter type for 'names[1]', expected: string" },
		{ ", \"mask\": [0, 18446744073709551615]", NULL },
		{ ", \"mask\": [0, 1, -1]", "Parameter 'mask[2]' expects uint64" },
		{ ", \"open\": {\"whatever\": 1}", NULL },
		{ ", \"any\": null", NULL },
		{ ", \"bogus\": 1", "Parameter 'bogus' is unexpected" },
		/* What is wrong with a known one comes first. */
		{ ", \"bogus\": 1, \"region\": 256", "Parameter 'region' expects uint8" },
	};
	g_autofree char *missing = refusal_of(args, "{}");
	g_autofree char *unexpected = refusal_of(NULL, "{\"a\": 1}");

	g_assert_cmpstr(missing, ==, "Parameter 'path' is missing");
	g_assert_cmpstr(unexpected, ==, "Parameter 'a' is unexpected");
	g_assert_null(refusal_of(NULL, "{}"));
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *text = g_strdup_printf("{\"path\": \"dev0\"%s}", cases[i].more);
		g_autofree char *why = refusal_of(args, text);

		g_assert_cmpstr(why, ==, cases[i].why);
	}
}

static void test_read(void)
{
	static const char text[] = "{\"s\": \"x\", \"b\": true, \"u\": 18446744073709551615, "
				   "\"i\": -5, \"a\": [1], \"o\": {\"x\": 1}}";
	g_autoptr(JsonNode)
		node = qmp_json_parse(text, strlen(text), &qmp_json_request_limits, NULL);
	JsonObject *object = json_node_get_object(node);

	g_assert_cmpstr(qmp_args_string(object, "s", "y"), ==, "x");
	g_assert_cmpstr(qmp_args_string(object, "no", "y"), ==, "y");
	g_assert_true(qmp_args_bool(object, "b", false));
	g_assert_true(qmp_args_bool(object, "no", true));
	g_assert_cmpuint(qmp_args_u64(object, "u", 1), ==, G_MAXUINT64);
	g_assert_cmpuint(qmp_args_u64(object, "no", 7), ==, 7);
	g_assert_cmpint(qmp_args_i64(object, "i", 1), ==, -5);
	g_assert_cmpint(qmp_args_i64(object, "no", -7), ==, -7);
	g_assert_cmpuint(json_array_get_length(qmp_args_array(object, "a")), ==, 1);
	g_assert_null(qmp_args_array(object, "no"));
	g_assert_true(json_object_has_member(qmp_args_object(object, "o"), "x"));
	g_assert_null(qmp_args_object(object, "no"));
}

static void test_classes(void)
{
	g_autoptr(GError) ours = g_error_new(QMP_ERROR, QMP_ERROR_DEVICE_NOT_FOUND, "x");
	g_autoptr(GError) other = g_error_new(G_FILE_ERROR, QMP_ERROR_DEVICE_NOT_FOUND, "x");

	g_assert_cmpint(qmp_error_class_of(ours), ==, QMP_ERROR_DEVICE_NOT_FOUND);
	g_assert_cmpint(qmp_error_class_of(other), ==, QMP_ERROR_GENERIC);
	for (int class = QMP_ERROR_GENERIC; class <= QMP_ERROR_KVM_MISSING_CAP; class ++)
		g_assert_cmpint(qmp_error_class_parse(qmp_error_class_name(class)), ==, class);
	g_assert_cmpint(qmp_error_class_parse("Other"), ==, QMP_ERROR_GENERIC);
	g_assert_cmpint(qmp_error_class_parse(NULL), ==, QMP_ERROR_GENERIC);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/qmp/args/check", test_check);
	g_test_add_func("/unit/qmp/args/read", test_read);
	g_test_add_func("/unit/qmp/args/classes", test_classes);
	return g_test_run();
}
