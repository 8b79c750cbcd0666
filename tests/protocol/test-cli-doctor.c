/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd doctor: a finding for each thing, and an exit code that means something. */
#include "cli_fake.h"

#include "cli/cli.h"

#include <string.h>

static JsonObject *find_check(JsonNode *out, const char *name)
{
	JsonArray *list = json_node_get_array(out);

	for (guint i = 0; i < json_array_get_length(list); i++) {
		JsonObject *check = json_array_get_object_element(list, i);

		if (strcmp(json_object_get_string_member(check, "check"), name) == 0)
			return check;
	}
	g_error("there is no check %s", name);
}

static void assert_state(JsonNode *out, const char *name, const char *state)
{
	g_assert_cmpstr(json_object_get_string_member(find_check(out, name), "state"), ==, state);
}

static void answer_pool(Fake *fake, const char *version, const char *ledger, const char *keeper)
{
	g_autofree char *pool = g_strdup_printf(
		"{\"pid\": 7, \"version\": \"%s\", \"ledger\": {\"state\": \"%s\", \"message\": "
		"\"disk full\"}, \"keeper\": {\"state\": \"%s\"}}",
		version, ledger, keeper);

	fake_run(fake, "doctor");
	fake_accept(fake);
	fake_answer(fake, "query-pool", pool);
}

/* Which kernel mends it, where it is to be mended. */
static void check_slots(JsonNode *out)
{
	JsonObject *check = find_check(out, "kvm-slots");

	if (strcmp(json_object_get_string_member(check, "state"), "ok") != 0)
		g_assert_nonnull(
			strstr(json_object_get_string_member(check, "cure"), "Linux 6.12"));
}

/* Whatever this machine has: each finding is whole, and the exit code is their sum. */
static void test_findings(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(JsonNode) out = NULL;
	JsonArray *list;
	bool healthy = true;
	int code;

	answer_pool(fake, SOFTDCD_VERSION, "ok", "ok");
	code = fake_end(fake);
	out = fake_out_json(fake);
	list = json_node_get_array(out);
	g_assert_cmpuint(json_array_get_length(list), >=, 14);
	check_slots(out);
	for (guint i = 0; i < json_array_get_length(list); i++) {
		JsonObject *check = json_array_get_object_element(list, i);
		const char *state = json_object_get_string_member(check, "state");
		bool cured = !json_object_get_null_member(check, "cure");

		g_assert_cmpstr(json_object_get_string_member(check, "found"), !=, "");
		g_assert_cmpstr(json_object_get_string_member(check, "for"), !=, "");
		g_assert_true(cured == (strcmp(state, "ok") != 0));
		if (json_object_get_boolean_member(check, "needed"))
			healthy &= strcmp(state, "missing") != 0;
	}
	g_assert_cmpint(code, ==, healthy ? EXIT_DONE : EXIT_REFUSED);
	assert_state(out, "daemon", "ok");
	/* What this test needed itself. */
	assert_state(out, "memfd", "ok");
	assert_state(out, "unix-sockets", "ok");
}

static void test_daemon(void)
{
	static const struct {
		const char *version, *ledger, *keeper, *state, *cure;
	} cases[] = {
		{ SOFTDCD_VERSION, "none", "none", "ok", NULL },
		{ SOFTDCD_VERSION, "failed", "ok", "missing", "disk full" },
		{ SOFTDCD_VERSION, "ok", "lost", "limited", "start the daemon again" },
		{ "0.0.1", "ok", "ok", "limited", "this is version " SOFTDCD_VERSION },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(Fake) fake = fake_new();
		g_autoptr(JsonNode) out = NULL;
		int code;

		answer_pool(fake, cases[i].version, cases[i].ledger, cases[i].keeper);
		code = fake_end(fake);
		out = fake_out_json(fake);
		assert_state(out, "daemon", cases[i].state);
		if (cases[i].cure)
			g_assert_nonnull(strstr(
				json_object_get_string_member(find_check(out, "daemon"), "cure"),
				cases[i].cure));
		if (strcmp(cases[i].state, "missing") == 0)
			g_assert_cmpint(code, ==, EXIT_REFUSED);
	}
}

static void test_no_daemon(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(JsonNode) out = NULL;

	fake_run_as_it_is(fake, "doctor --socket /nowhere/qmp.sock");
	fake_end(fake);
	out = fake_out_json(fake);
	assert_state(out, "daemon", "limited");
}

static void test_missing(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(JsonNode) out = NULL;

	/* Not even root can make a directory there. */
	g_setenv("XDG_RUNTIME_DIR", "/proc/self/net", TRUE);
	g_setenv("SOFTDCD_KEEPER", "/nowhere/softdcd-keeper", TRUE);
	fake_run_as_it_is(fake, "doctor --socket /nowhere/qmp.sock");
	g_assert_cmpint(fake_end(fake), ==, EXIT_REFUSED);
	g_unsetenv("XDG_RUNTIME_DIR");
	g_unsetenv("SOFTDCD_KEEPER");
	out = fake_out_json(fake);
	assert_state(out, "runtime-directory", "missing");
	assert_state(out, "keeper", "limited");
	fake_assert_err(fake, "something that is needed is missing");
}

static void test_human(void)
{
	g_autoptr(Fake) fake = fake_new();

	fake_run_as_it_is(fake, "doctor -H --socket /nowhere/qmp.sock");
	fake_end(fake);
	g_assert_nonnull(strstr(fake->out, "ok       memfd "));
	g_assert_nonnull(strstr(fake->out, "limited  daemon "));
	g_assert_nonnull(strstr(fake->out, "cure: softdcd serve --name default"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/cli/doctor/findings", test_findings);
	g_test_add_func("/protocol/cli/doctor/daemon", test_daemon);
	g_test_add_func("/protocol/cli/doctor/no-daemon", test_no_daemon);
	g_test_add_func("/protocol/cli/doctor/missing", test_missing);
	g_test_add_func("/protocol/cli/doctor/human", test_human);
	return g_test_run();
}
