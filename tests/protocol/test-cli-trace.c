/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd trace: what the daemon says of a device, decoded or as a capture. */
#include "cli_fake.h"

#include "cli/cli.h"

#include <glib/gstdio.h>
#include <string.h>

/* 4802h, refused, with an empty list. */
#define COMMAND                                                                                   \
	"{\"device\": \"dev0\", \"time\": 1795406400000017, \"lost\": 0, \"kind\": \"command\", " \
	"\"opcode\": 18434, \"name\": \"add-dc-response\", \"rc\": 15, \"rc-name\": \"x\", "      \
	"\"took-us\": 42, \"in-len\": 8, \"out-len\": 0, \"in\": \"0000000000000000\", "          \
	"\"out\": \"\"}"

static void start(Fake *fake, const char *more)
{
	g_autofree char *line = g_strdup_printf("trace dev0 %s", more);

	fake_run(fake, line);
	fake_accept(fake);
	fake_expect_with(fake, "x-trace",
			 "{\"device\":\"dev0\",\"enable\":true,\"payloads\":true}");
	fake_return(fake, "{}");
}

static void test_json(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(JsonNode) out = NULL;
	JsonObject *line;

	start(fake, "--count 1");
	fake_event(fake, "CAPACITY_OFFERED", "{\"device\": \"dev0\"}");
	fake_event(fake, "X_TRACE", "{\"device\": \"dev1\"}");
	fake_event(fake, "X_TRACE", COMMAND);
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	out = fake_out_json(fake);
	line = json_node_get_object(out);
	g_assert_cmpstr(json_object_get_string_member(line, "device"), ==, "dev0");
	g_assert_cmpint(json_object_get_int_member(line, "time"), ==, 1795406400000017);
	g_assert_cmpint(json_object_get_int_member(line, "opcode"), ==, 0x4802);
	g_assert_cmpint(json_object_get_int_member(line, "rc"), ==, 15);
}

static void test_human(void)
{
	g_autoptr(Fake) fake = fake_new();

	start(fake, "-H --count 1");
	fake_event(fake, "X_TRACE", COMMAND);
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	g_assert_nonnull(strstr(fake->out, ":00.000017 "));
	g_assert_nonnull(strstr(fake->out, "4802h"));
}

static void test_malformed(void)
{
	g_autoptr(Fake) fake = fake_new();

	start(fake, "");
	fake_event(fake, "X_TRACE", "{\"device\": \"dev0\", \"kind\": \"command\"}");
	g_assert_cmpint(fake_end(fake), ==, EXIT_REFUSED);
	g_assert_cmpstr(fake->out, ==, "");
	g_assert_cmpstr(fake->err, !=, "");
}

static void test_capture(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autofree char *path = g_build_filename(fake->dir, "x.pcapng", NULL);
	g_autofree char *more = g_strdup_printf("--count 1 --pcapng %s", path);
	g_autofree char *bytes = NULL;
	gsize len;

	start(fake, more);
	fake_event(fake, "X_TRACE", COMMAND);
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	g_assert_cmpstr(fake->out, ==, "");
	g_assert_true(g_file_get_contents(path, &bytes, &len, NULL));
	g_assert_cmpuint(len, >, 28);
	g_assert_cmpint(memcmp(bytes, "\x0a\x0d\x0d\x0a", 4), ==, 0);
	g_unlink(path);
}

static void test_capture_nowhere(void)
{
	g_autoptr(Fake) fake = fake_new();

	fake_run(fake, "trace dev0 --pcapng /nowhere/x");
	fake_accept(fake);
	g_assert_cmpint(fake_end(fake), ==, EXIT_REFUSED);
	fake_assert_err(fake, "/nowhere/x: No such file");
}

static void test_ends(void)
{
	g_autoptr(Fake) removed = fake_new();
	g_autoptr(Fake) timed_out = fake_new();
	g_autoptr(Fake) died = fake_new();

	start(removed, "");
	fake_event(removed, "DEVICE_REMOVED", "{\"device\": \"dev0\"}");
	g_assert_cmpint(fake_end(removed), ==, EXIT_DONE);
	fake_assert_err(removed, "device dev0 was removed");
	start(timed_out, "--timeout 50ms");
	g_assert_cmpint(fake_end(timed_out), ==, EXIT_DONE);
	g_assert_cmpstr(timed_out->err, ==, "");
	start(died, "");
	fake_hang_up(died);
	g_assert_cmpint(fake_end(died), ==, EXIT_NO_DAEMON);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/cli/trace/json", test_json);
	g_test_add_func("/protocol/cli/trace/human", test_human);
	g_test_add_func("/protocol/cli/trace/malformed", test_malformed);
	g_test_add_func("/protocol/cli/trace/capture", test_capture);
	g_test_add_func("/protocol/cli/trace/capture-nowhere", test_capture_nowhere);
	g_test_add_func("/protocol/cli/trace/ends", test_ends);
	return g_test_run();
}
