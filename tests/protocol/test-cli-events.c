/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd events: the audit log, what happens from now on, and nothing between them lost. */
#include "cli_fake.h"

#include "cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TIME "2026-11-23T04:00:00.000017Z" /* 1795406400000017 */
#define RECORD(what)                                 \
	"{\"time\": \"" TIME "\", \"what\": \"" what \
	"\", \"who\": {\"actor\": \"pool\"}, \"result\": \"ok\"}"

static void test_audit(void)
{
	g_autoptr(Fake) fake = fake_new();

	fake_run(fake, "events --since @1700000000");
	fake_accept(fake);
	fake_expect_with(fake, "x-query-audit", "{\"since\":1700000000000000}");
	fake_return(fake, "{\"records\": [" RECORD("a") "], \"more\": true, \"cursor\": \"1:2\"}");
	fake_expect_with(fake, "x-query-audit", "{\"since\":1700000000000000,\"cursor\":\"1:2\"}");
	fake_return(fake, "{\"records\": [" RECORD("b") "," RECORD("c") "], \"more\": false, "
									"\"cursor\": \"1:4\"}");
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	g_assert_cmpstr(fake->out, ==,
			"{\"time\": 1795406400000017, \"what\": \"a\", \"who\": {\"actor\": "
			"\"pool\"}, \"result\": \"ok\"}\n"
			"{\"time\": 1795406400000017, \"what\": \"b\", \"who\": {\"actor\": "
			"\"pool\"}, \"result\": \"ok\"}\n"
			"{\"time\": 1795406400000017, \"what\": \"c\", \"who\": {\"actor\": "
			"\"pool\"}, \"result\": \"ok\"}\n");
}

/* What promises more and has nothing, or does not say where, must not be asked for for ever. */
static void test_odd_pages(void)
{
	static const char *const pages[] = {
		"{\"records\": [], \"more\": true, \"cursor\": \"1:0\"}",
		"{\"records\": [" RECORD("a") "], \"more\": true}",
		"{\"records\": [7, []], \"more\": false}",
		"{}",
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(pages); i++) {
		g_autoptr(Fake) fake = fake_new();

		fake_run(fake, "events");
		fake_accept(fake);
		fake_answer(fake, "x-query-audit", pages[i]);
		g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	}
}

static void test_refused(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autofree char *arguments = NULL;

	fake_run(fake, "events");
	fake_accept(fake);
	arguments = fake_expect(fake, "x-query-audit");
	fake_refuse(fake, "GenericError", "pool x is ephemeral and keeps no audit log");
	g_assert_cmpint(fake_end(fake), ==, EXIT_REFUSED);
	fake_assert_err(fake, "keeps no audit log");
}

static void test_human(void)
{
	g_autoptr(Fake) fake = fake_new();

	fake_run(fake, "events -H");
	fake_accept(fake);
	fake_answer(fake, "x-query-audit",
		    "{\"records\": [{\"time\": \"" TIME "\", \"what\": \"offer\", \"who\": "
		    "{\"actor\": \"client\", \"pid\": 7}, \"device\": \"dev0\", \"tag\": null, "
		    "\"result\": \"failed\", \"reason\": \"no room\"}], \"more\": false}");
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	g_assert_nonnull(strstr(fake->out, ".000017  offer "));
	g_assert_nonnull(strstr(fake->out, " actor=client pid=7 device=dev0 result=failed "
					   "reason=\"no room\"\n"));
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
	fake_answer(fake, "x-query-audit",
		    "{\"records\": [" RECORD("offer") "], \"more\": false, \"cursor\": \"x\"}");
	fake_event(fake, "DEVICE_ADDED", "{\"device\": \"dev1\"}");
	fake_hang_up(fake);
	g_assert_cmpint(fake_end(fake), ==, EXIT_NO_DAEMON);
	lines = g_strsplit(fake->out, "\n", -1);
	g_assert_cmpuint(g_strv_length(lines), ==, 4);
	g_assert_nonnull(strstr(lines[0], "\"what\": \"offer\""));
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
	g_test_add_func("/protocol/cli/events/odd-pages", test_odd_pages);
	g_test_add_func("/protocol/cli/events/refused", test_refused);
	g_test_add_func("/protocol/cli/events/human", test_human);
	g_test_add_func("/protocol/cli/events/follow", test_follow);
	g_test_add_func("/protocol/cli/events/follow-for-a-while", test_follow_for_a_while);
	g_test_add_func("/protocol/cli/events/both", test_both);
	g_test_add_func("/protocol/cli/events/lines-go-out", test_lines_go_out);
	g_test_add_func("/protocol/cli/events/odd-events", test_odd_events);
	return g_test_run();
}
