/* SPDX-License-Identifier: BSD-3-Clause */
/* offer --wait, release --wait and wait: what ends them, and what they say when nothing does. */
#include "cli_fake.h"

#include "cli/cli.h"

#include <string.h>

#define OFFER(state, waits_for)                                                                \
	"{\"id\": 12, \"device\": \"dev0\", \"region\": 0, \"tag\": null, \"state\": \"" state \
	"\", \"extents\": 1, \"len\": 4194304, \"waits-for\": " waits_for "}"
#define EXTENT(state, len, offer)                                               \
	"{\"device\": \"dev0\", \"region\": 0, \"dpa\": 2097152, \"len\": " len \
	", \"tag\": \"" FAKE_TAG "\", \"seq\": 0, \"state\": \"" state          \
	"\", \"backend\": \"kv0\", "                                            \
	"\"backend-offset\": 0, \"offer\": " offer "}"
#define DATA(offer) "{\"device\": \"dev0\", \"tag\": \"" FAKE_TAG "\", \"offer\": " offer "}"

static void assert_member(Fake *fake, const char *member, const char *value)
{
	g_autoptr(JsonNode) out = fake_out_json(fake);
	g_autofree char *text =
		json_to_string(json_object_get_member(json_node_get_object(out), member), FALSE);

	g_assert_cmpstr(text, ==, value);
}

/* ---- offer ---- */

static void start_offer(Fake *fake, const char *more)
{
	g_autofree char *line = g_strdup_printf("offer dev0 --tag " FAKE_TAG " %s", more);

	fake_run(fake, line);
	fake_accept(fake);
	fake_answer(fake, "cxl-add-dynamic-capacity", "{\"offer\": 12}");
}

static void test_offer(void)
{
	g_autoptr(Fake) fake = fake_new();

	start_offer(fake, "");
	fake_answer(fake, "query-offers", "[" OFFER("queued", "\"the host\"") "]");
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	assert_member(fake, "offer", "12");
	assert_member(fake, "state", "\"queued\"");
	g_assert_cmpstr(fake->err, ==, "offer 12 waits for the host\n");
	assert_member(fake, "tag", "\"" FAKE_TAG "\"");
}

static void test_offer_accepted(void)
{
	g_autoptr(Fake) fake = fake_new();

	start_offer(fake, "--wait");
	fake_expect_with(fake, "query-offers", "{\"device\":\"dev0\"}");
	fake_return(fake, "[" OFFER("queued", "\"the host\"") "]");
	fake_wait_err(fake, "offer 12 waits for the host\n");
	fake_event(fake, "CAPACITY_DELIVERED", DATA("12"));
	fake_answer(fake, "query-offers", "[" OFFER("offered", "null") "]");
	fake_event(fake, "CAPACITY_ACCEPTED", DATA("12"));
	fake_answer(fake, "query-offers", "[]");
	fake_answer(
		fake, "query-extents",
		"[" EXTENT("accepted", "2097152", "12") "," EXTENT("accepted", "4096", "11") "]");
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	assert_member(fake, "state", "\"accepted\"");
	assert_member(fake, "accepted", "2097152");
}

/* Accepted and given back before we look again: the event tells. */
static void test_offer_accepted_and_gone(void)
{
	g_autoptr(Fake) fake = fake_new();

	start_offer(fake, "--wait");
	fake_event(fake, "CAPACITY_ACCEPTED", DATA("12"));
	fake_answer(fake, "query-offers", "[]");
	fake_answer(fake, "query-extents", "[]");
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	assert_member(fake, "state", "\"accepted\"");
	assert_member(fake, "accepted", "0");
}

static void test_offer_declined(void)
{
	static const char *const ends[][2] = { { "CAPACITY_DECLINED", "\"declined\"" },
					       { "CAPACITY_WITHDRAWN", "\"withdrawn\"" } };

	for (unsigned i = 0; i < G_N_ELEMENTS(ends); i++) {
		g_autoptr(Fake) fake = fake_new();

		start_offer(fake, "--wait");
		fake_answer(fake, "query-offers", "[" OFFER("offered", "null") "]");
		/* Somebody else's end is not ours. */
		fake_event(fake, ends[i][0], DATA("13"));
		fake_answer(fake, "query-offers", "[" OFFER("offered", "null") "]");
		fake_event(fake, ends[i][0], DATA("12"));
		fake_answer(fake, "query-offers", "[]");
		fake_answer(fake, "query-extents", "[]");
		g_assert_cmpint(fake_end(fake), ==, EXIT_REFUSED);
		assert_member(fake, "state", ends[i][1]);
		fake_assert_err(fake, "softdcd offer: offer 12 was ");
	}
}

/* The list changes before the event comes. */
static void test_offer_late_event(void)
{
	g_autoptr(Fake) fake = fake_new();

	start_offer(fake, "--wait");
	fake_answer(fake, "query-offers", "[]");
	fake_answer(fake, "query-extents", "[]");
	fake_event(fake, "CAPACITY_WITHDRAWN", DATA("12"));
	fake_answer(fake, "query-offers", "[]");
	fake_answer(fake, "query-extents", "[]");
	g_assert_cmpint(fake_end(fake), ==, EXIT_REFUSED);
	assert_member(fake, "state", "\"withdrawn\"");
}

static void test_offer_timeout(void)
{
	g_autoptr(Fake) fake = fake_new();

	start_offer(fake, "--wait --timeout 2s");
	fake_answer(fake, "query-offers", "[" OFFER("queued", "\"a reason\"") "]");
	g_assert_cmpint(fake_end(fake), ==, EXIT_TIMED_OUT);
	g_assert_cmpstr(fake->out, ==, "");
	fake_assert_err(fake, "timed out after 2s: offer 12 to device dev0 is queued and waits "
			      "for a reason; it stays, \"softdcd withdraw\" takes it back\n");
}

/* A daemon that does not answer does not make the time longer. */
static void test_offer_silence(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autofree char *arguments = NULL;

	start_offer(fake, "--wait --timeout 300ms");
	arguments = fake_expect(fake, "query-offers");
	g_assert_cmpint(fake_end(fake), ==, EXIT_TIMED_OUT);
}

static void test_offer_daemon_dies(void)
{
	g_autoptr(Fake) fake = fake_new();

	start_offer(fake, "--wait");
	fake_answer(fake, "query-offers", "[" OFFER("offered", "null") "]");
	fake_hang_up(fake);
	g_assert_cmpint(fake_end(fake), ==, EXIT_NO_DAEMON);
	g_assert_cmpstr(fake->out, ==, "");
}

/* ---- release ---- */

#define RELEASE(state, len)                                                      \
	"[{\"id\": 13, \"device\": \"dev0\", \"tag\": null, \"state\": \"" state \
	"\", \"len\": " len ", \"resent\": 0, \"created\": 1, \"changed\": 2}]"

static void start_release(Fake *fake, const char *more)
{
	g_autofree char *line = g_strdup_printf("release dev0 %s", more);

	fake_run(fake, line);
	fake_accept(fake);
	fake_answer(fake, "cxl-release-dynamic-capacity", "{\"release\": 13}");
}

static void answer_release(Fake *fake, const char *result)
{
	fake_expect_with(fake, "query-releases", "{\"device\":\"dev0\",\"id\":13}");
	fake_return(fake, result);
}

static void test_release(void)
{
	g_autoptr(Fake) fake = fake_new();

	start_release(fake, "--tag " FAKE_TAG);
	answer_release(fake, RELEASE("delivered", "4096"));
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	assert_member(fake, "release", "13");
	assert_member(fake, "state", "\"delivered\"");
	assert_member(fake, "left", "4096");
}

/* Given back is not enough: it has to be wiped. */
static void test_release_free(void)
{
	g_autoptr(Fake) fake = fake_new();

	start_release(fake, "--tag " FAKE_TAG " --wait");
	answer_release(fake, RELEASE("cleared-unanswered", "4096"));
	fake_event(fake, "CAPACITY_RELEASED", DATA("null"));
	answer_release(fake, RELEASE("done", "0"));
	fake_expect_with(fake, "query-extents", "{\"device\":\"dev0\",\"tag\":\"" FAKE_TAG "\"}");
	fake_return(fake, "[" EXTENT("draining", "4096", "1") "]");
	fake_event(fake, "CAPACITY_FREED", DATA("null"));
	answer_release(fake, RELEASE("done", "0"));
	fake_answer(fake, "query-extents", "[]");
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	assert_member(fake, "state", "\"done\"");
	g_assert_cmpstr(fake->err, ==, "");
}

/* Extents are offsets into the region; others of the device are none of our business. */
static void test_release_extents(void)
{
	g_autoptr(Fake) fake = fake_new();

	start_release(fake, "--extent 1M:1M --extent 4M:2M --wait");
	fake_expect_with(fake, "query-devices", "{\"id\":\"dev0\"}");
	fake_return(fake,
		    "[{\"id\": \"dev0\", \"dc-regions\": [{\"index\": 0, \"dpa\": 1048576}]}]");
	answer_release(fake, RELEASE("done", "0"));
	fake_expect_with(fake, "query-extents", "{\"device\":\"dev0\"}");
	fake_return(fake, "[" EXTENT("draining", "4096", "1") "]");
	answer_release(fake, RELEASE("done", "0"));
	fake_answer(fake, "query-extents",
		    "[{\"region\": 0, \"dpa\": 3145728, \"len\": 2097152, \"state\": \"draining\"},"
		    " {\"region\": 1, \"dpa\": 2097152, \"len\": 4096, \"state\": \"draining\"}]");
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
}

static void test_release_quarantined(void)
{
	g_autoptr(Fake) fake = fake_new();

	start_release(fake, "--tag " FAKE_TAG " --force --wait");
	answer_release(fake, RELEASE("forced", "0"));
	fake_answer(fake, "query-extents", "[" EXTENT("quarantined", "4096", "1") "]");
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	assert_member(fake, "quarantined", "4096");
	fake_assert_err(fake, "4096 bytes are quarantined");
}

static void test_release_ends(void)
{
	static const struct {
		const char *state;
		ExitCode exit;
		const char *says;
	} ends[] = {
		{ RELEASE("timed-out", "4096"), EXIT_TIMED_OUT,
		  "timed out after 30s: device dev0: its host has not given back 4096 bytes" },
		{ RELEASE("failed", "4096"), EXIT_REFUSED, "could not be recorded" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(ends); i++) {
		g_autoptr(Fake) fake = fake_new();

		start_release(fake, "--tag " FAKE_TAG " --wait --timeout 30s");
		answer_release(fake, ends[i].state);
		g_assert_cmpint(fake_end(fake), ==, (int)ends[i].exit);
		fake_assert_err(fake, ends[i].says);
		g_assert_cmpstr(fake->out, ==, "");
	}
}

static void test_release_timeout(void)
{
	g_autoptr(Fake) fake = fake_new();

	start_release(fake, "--tag " FAKE_TAG " --wait --timeout 1s");
	answer_release(fake, RELEASE("resent", "8192"));
	g_assert_cmpint(fake_end(fake), ==, EXIT_TIMED_OUT);
	fake_assert_err(fake, "its host has not given back 8192 bytes (resent)");
}

/* ---- wait ---- */

static void start_wait(Fake *fake, const char *more)
{
	g_autofree char *line = g_strdup_printf("wait dev0 " FAKE_TAG " %s", more);

	fake_run(fake, line);
	fake_accept(fake);
	fake_expect_with(fake, "query-devices", "{\"id\":\"dev0\"}");
	fake_return(fake, "[{\"id\": \"dev0\"}]");
}

static void test_wait_at_once(void)
{
	static const struct {
		const char *state, *extents;
	} cases[] = {
		{ "offered", "[" EXTENT("offered", "4096", "1") "]" },
		{ "offered", "[" EXTENT("accepted", "4096", "1") "]" },
		{ "accepted", "[" EXTENT("accepted", "4096", "1") "]" },
		{ "released", "[]" },
		{ "released", "[" EXTENT("quarantined", "4096", "1") "]" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(Fake) fake = fake_new();
		g_autofree char *quoted = g_strdup_printf("\"%s\"", cases[i].state);

		start_wait(fake, cases[i].state);
		fake_answer(fake, "query-extents", cases[i].extents);
		g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
		assert_member(fake, "state", quoted);
	}
}

static void test_wait_not_yet(void)
{
	static const struct {
		const char *state, *not_yet, *then;
	} cases[] = {
		{ "offered", "[" EXTENT("queued", "4096", "1") "]",
		  "[" EXTENT("offered", "4096", "1") "]" },
		{ "accepted",
		  "[" EXTENT("accepted", "4096", "1") "," EXTENT("offered", "4096", "2") "]",
		  "[" EXTENT("accepted", "4096", "1") "]" },
		{ "accepted", "[]", "[" EXTENT("accepted", "4096", "1") "]" },
		{ "released", "[" EXTENT("draining", "4096", "1") "]", "[]" },
		{ "released", "[" EXTENT("accepted", "4096", "1") "]", "[]" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(Fake) fake = fake_new();

		start_wait(fake, cases[i].state);
		fake_answer(fake, "query-extents", cases[i].not_yet);
		fake_event(fake, "CAPACITY_SOMETHING", DATA("1"));
		fake_answer(fake, "query-extents", cases[i].then);
		g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	}
}

/* An event between the question and its answer makes the next question. */
static void test_wait_no_race(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autofree char *arguments = NULL;

	start_wait(fake, "accepted --timeout 50s");
	arguments = fake_expect(fake, "query-extents");
	fake_event(fake, "CAPACITY_ACCEPTED", DATA("1"));
	fake_return(fake, "[" EXTENT("offered", "4096", "1") "]");
	fake_answer(fake, "query-extents", "[" EXTENT("accepted", "4096", "1") "]");
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
}

static void test_wait_declined(void)
{
	g_autoptr(Fake) fake = fake_new();

	start_wait(fake, "declined");
	fake_answer(fake, "x-query-audit", "{\"records\": [], \"more\": false}");
	fake_answer(fake, "query-extents", "[" EXTENT("offered", "4096", "1") "]");
	fake_event(fake, "CAPACITY_DECLINED",
		   "{\"device\": \"dev1\", \"tag\": \"" FAKE_TAG "\", \"offer\": 1}");
	fake_answer(fake, "x-query-audit", "{\"records\": [], \"more\": false}");
	fake_answer(fake, "query-extents", "[" EXTENT("offered", "4096", "1") "]");
	fake_event(fake, "CAPACITY_DECLINED", DATA("1"));
	fake_answer(fake, "query-extents", "[]");
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	assert_member(fake, "state", "\"declined\"");
}

#define RECORD(what, device, id, result)                                                      \
	"{\"time\": \"2026-11-23T05:00:40.056279Z\", \"what\": \"" what                       \
	"\", \"who\": {}, \"device\": \"" device "\", \"tag\": \"" FAKE_TAG "\", \"id\": " id \
	", \"result\": \"" result "\"}"

/* The record of an offer may come after that of its end. */
static void test_wait_declined_before(void)
{
	static const struct {
		const char *records;
		bool declined;
	} cases[] = {
		{ RECORD("offer", "dev0", "1", "ok") "," RECORD("decline", "dev0", "1", "ok"),
		  true },
		{ RECORD("decline", "dev0", "1", "ok") "," RECORD("offer", "dev0", "1", "ok"),
		  true },
		{ RECORD("decline", "dev0", "1", "ok") "," RECORD("offer", "dev0", "2", "failed"),
		  true },
		{ RECORD("decline", "dev0", "1", "ok") "," RECORD("offer", "dev0", "2", "ok"),
		  false },
		{ RECORD("decline", "dev0", "1", "ok") "," RECORD("accept", "dev0", "1", "ok"),
		  false },
		{ RECORD("decline", "dev1", "1", "ok"), false },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(Fake) fake = fake_new();
		g_autofree char *audit = g_strdup_printf("{\"records\": [%s], \"more\": false}",
							 cases[i].records);

		start_wait(fake, "declined --timeout 300ms");
		fake_answer(fake, "x-query-audit", audit);
		fake_answer(fake, "query-extents", "[]");
		g_assert_cmpint(fake_end(fake), ==, cases[i].declined ? EXIT_DONE : EXIT_TIMED_OUT);
	}
}

/* An ephemeral pool has no audit log; what happens from now on is enough. */
static void test_wait_declined_no_audit(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autofree char *arguments = NULL;

	start_wait(fake, "declined");
	arguments = fake_expect(fake, "x-query-audit");
	fake_refuse(fake, "GenericError", "ephemeral");
	fake_answer(fake, "query-extents", "[" EXTENT("offered", "4096", "1") "]");
	fake_event(fake, "CAPACITY_DECLINED", DATA("1"));
	fake_answer(fake, "query-extents", "[]");
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	g_assert_cmpstr(fake->err, ==, "");
}

static void test_wait_hopeless(void)
{
	g_autoptr(Fake) fake = fake_new();

	start_wait(fake, "accepted");
	fake_answer(fake, "query-extents", "[" EXTENT("offered", "4096", "1") "]");
	fake_event(fake, "CAPACITY_DECLINED", DATA("1"));
	fake_answer(fake, "query-extents", "[]");
	g_assert_cmpint(fake_end(fake), ==, EXIT_REFUSED);
	fake_assert_err(fake, "tag " FAKE_TAG " was declined in device dev0");
}

static void test_wait_timeout(void)
{
	g_autoptr(Fake) fake = fake_new();

	start_wait(fake, "accepted --timeout 200ms");
	fake_answer(fake, "query-extents", "[]");
	g_assert_cmpint(fake_end(fake), ==, EXIT_TIMED_OUT);
	fake_assert_err(fake,
			"timed out after 200ms: tag " FAKE_TAG " is not there in device dev0\n");
}

static void test_wait_no_device(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autofree char *arguments = NULL;

	fake_run(fake, "wait dev9 " FAKE_TAG " accepted");
	fake_accept(fake);
	arguments = fake_expect(fake, "query-devices");
	fake_refuse(fake, "DeviceNotFound", "device dev9: not found");
	g_assert_cmpint(fake_end(fake), ==, EXIT_NO_OBJECT);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/cli/wait/offer", test_offer);
	g_test_add_func("/protocol/cli/wait/offer-accepted", test_offer_accepted);
	g_test_add_func("/protocol/cli/wait/offer-accepted-and-gone", test_offer_accepted_and_gone);
	g_test_add_func("/protocol/cli/wait/offer-declined", test_offer_declined);
	g_test_add_func("/protocol/cli/wait/offer-late-event", test_offer_late_event);
	g_test_add_func("/protocol/cli/wait/offer-timeout", test_offer_timeout);
	g_test_add_func("/protocol/cli/wait/offer-silence", test_offer_silence);
	g_test_add_func("/protocol/cli/wait/offer-daemon-dies", test_offer_daemon_dies);
	g_test_add_func("/protocol/cli/wait/release", test_release);
	g_test_add_func("/protocol/cli/wait/release-free", test_release_free);
	g_test_add_func("/protocol/cli/wait/release-extents", test_release_extents);
	g_test_add_func("/protocol/cli/wait/release-quarantined", test_release_quarantined);
	g_test_add_func("/protocol/cli/wait/release-ends", test_release_ends);
	g_test_add_func("/protocol/cli/wait/release-timeout", test_release_timeout);
	g_test_add_func("/protocol/cli/wait/at-once", test_wait_at_once);
	g_test_add_func("/protocol/cli/wait/not-yet", test_wait_not_yet);
	g_test_add_func("/protocol/cli/wait/no-race", test_wait_no_race);
	g_test_add_func("/protocol/cli/wait/declined", test_wait_declined);
	g_test_add_func("/protocol/cli/wait/declined-before", test_wait_declined_before);
	g_test_add_func("/protocol/cli/wait/declined-no-audit", test_wait_declined_no_audit);
	g_test_add_func("/protocol/cli/wait/hopeless", test_wait_hopeless);
	g_test_add_func("/protocol/cli/wait/timeout", test_wait_timeout);
	g_test_add_func("/protocol/cli/wait/no-device", test_wait_no_device);
	return g_test_run();
}
