/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd events: the audit log, what happens from now on, and nothing between them lost. */
#include "cli_fake.h"

#include "cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void answer_audit(Fake *fake, const char *after, const char *answer)
{
	g_autofree char *arguments = fake_expect(fake, "x-query-audit");

	g_assert_true(g_str_has_suffix(arguments, after));
	fake_return(fake, answer);
}

#define RECORD(seq, time, event)                                     \
	"{\"seq\": " seq ", \"time\": " time ", \"event\": \"" event \
	"\", \"who\": \"uid 0\", \"what\": \"device dev0\", \"result\": \"ok\"}"

static void test_audit(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_auto(GStrv) lines = NULL;

	fake_run(fake, "events --since @1700000000");
	fake_accept(fake);
	fake_expect_with(fake, "x-query-audit", "{\"since\":1700000000000000,\"after\":0}");
	fake_return(fake, "{\"records\": [" RECORD("40", "1", "A") "], \"more\": true}");
	answer_audit(fake, "\"after\":40}",
		     "{\"records\": [" RECORD("41", "2", "B") "," RECORD("42", "3",
									 "C") "], "
									      "\"more\": false}");
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	lines = g_strsplit(fake->out, "\n", -1);
	g_assert_cmpuint(g_strv_length(lines), ==, 4);
	g_assert_cmpstr(lines[0], ==,
			"{\"seq\": 40, \"time\": 1, \"event\": \"A\", \"who\": \"uid 0\", "
			"\"what\": \"device dev0\", \"result\": \"ok\"}");
	g_assert_nonnull(strstr(lines[2], "\"C\""));
}

/* A page that promises more and is empty must not be asked for again and again. */
static void test_empty_page(void)
{
	g_autoptr(Fake) fake = fake_new();

	fake_run(fake, "events");
	fake_accept(fake);
	answer_audit(fake, "\"after\":0}", "{\"records\": [], \"more\": true}");
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	g_assert_cmpstr(fake->out, ==, "");
}

static void test_human(void)
{
	g_autoptr(Fake) fake = fake_new();

	fake_run(fake, "events -H");
	fake_accept(fake);
	answer_audit(fake, "\"after\":0}",
		     "{\"records\": [" RECORD("7", "1795406400000017", "CAPACITY_OFFERED") "]}");
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	g_assert_nonnull(strstr(fake->out, ".000017  CAPACITY_OFFERED"));
	g_assert_nonnull(
		strstr(fake->out, " seq=7 who=\"uid 0\" what=\"device dev0\" result=ok\n"));
}

static void test_follow(void)
{
	g_autoptr(Fake) fake = fake_new();

	fake_run(fake, "events --follow");
	fake_accept(fake);
	fake_event(fake, "CAPACITY_ACCEPTED", "{\"device\": \"dev0\", \"tag\": null}");
	fake_event(fake, "SHUTDOWN", "{\"guest\": false}");
	fake_hang_up(fake);
	/* What was said before the end is printed. */
	g_assert_cmpint(fake_end(fake), ==, EXIT_NO_DAEMON);
	g_assert_cmpstr(
		fake->out, ==,
		"{\"time\": 1795406400000017, \"event\": \"CAPACITY_ACCEPTED\", "
		"\"device\": \"dev0\", \"tag\": null}\n"
		"{\"time\": 1795406400000017, \"event\": \"SHUTDOWN\", \"guest\": false}\n");
}

static void test_follow_for_a_while(void)
{
	g_autoptr(Fake) fake = fake_new();

	fake_run(fake, "events --follow --timeout 50ms");
	fake_accept(fake);
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	g_assert_cmpstr(fake->out, ==, "");
	g_assert_cmpstr(fake->err, ==, "");
}

/* An event that the audit log has told already is not told again; others are. */
static void test_both(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_auto(GStrv) lines = NULL;

	fake_run(fake, "events --follow --since 1h");
	fake_accept(fake);
	fake_event(fake, "CAPACITY_OFFERED", "{\"device\": \"dev0\"}");
	fake_event(fake, "HOST_CONNECTED", "{\"device\": \"dev0\"}");
	answer_audit(fake, "\"after\":0}",
		     "{\"records\": [" RECORD("7", "1795406400000017", "CAPACITY_OFFERED") "]}");
	fake_event(fake, "DEVICE_ADDED", "{\"device\": \"dev1\"}");
	fake_hang_up(fake);
	g_assert_cmpint(fake_end(fake), ==, EXIT_NO_DAEMON);
	lines = g_strsplit(fake->out, "\n", -1);
	g_assert_cmpuint(g_strv_length(lines), ==, 4);
	g_assert_nonnull(strstr(lines[0], "\"seq\": 7"));
	g_assert_nonnull(strstr(lines[1], "HOST_CONNECTED"));
	g_assert_nonnull(strstr(lines[2], "DEVICE_ADDED"));
}

/* Whoever reads us through a pipe gets each line when it is there. */
static void test_lines_go_out(void)
{
	g_autoptr(Fake) fake = fake_new();
	gint64 deadline = g_get_monotonic_time() + FAKE_WAIT_MS * 1000;

	fake_run(fake, "events --follow");
	fake_accept(fake);
	fake_event(fake, "DEVICE_ADDED", "{\"device\": \"dev1\"}");
	while (lseek(fake->out_fd, 0, SEEK_END) == 0) {
		g_assert_cmpint(g_get_monotonic_time(), <, deadline);
		g_usleep(1000);
	}
	fake_hang_up(fake);
	g_assert_cmpint(fake_end(fake), ==, EXIT_NO_DAEMON);
}

/* Not all that is valid QMP has what we look for. */
static void test_odd_events(void)
{
	g_autoptr(Fake) fake = fake_new();

	fake_run(fake, "events --follow --json");
	fake_accept(fake);
	fake_say(fake, "{\"event\": \"A\"}");
	fake_say(fake, "{\"event\": \"B\", \"data\": [], \"timestamp\": 7}");
	fake_event(fake, "C", "{\"time\": \"x\", \"event\": 4}");
	fake_hang_up(fake);
	g_assert_cmpint(fake_end(fake), ==, EXIT_NO_DAEMON);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/cli/events/audit", test_audit);
	g_test_add_func("/protocol/cli/events/empty-page", test_empty_page);
	g_test_add_func("/protocol/cli/events/human", test_human);
	g_test_add_func("/protocol/cli/events/follow", test_follow);
	g_test_add_func("/protocol/cli/events/follow-for-a-while", test_follow_for_a_while);
	g_test_add_func("/protocol/cli/events/both", test_both);
	g_test_add_func("/protocol/cli/events/lines-go-out", test_lines_go_out);
	g_test_add_func("/protocol/cli/events/odd-events", test_odd_events);
	return g_test_run();
}
