/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands of the agent: whatever comes is answered by one line of JSON, and does no harm. */
#include "agent/agent.h"

#include <fcntl.h>
#include <glib.h>
#include <json-glib/json-glib.h>
#include <string.h>
#include <unistd.h>

/* Runs a command of an agent without devices; returns what it printed. */
static char *run(Agent *agent, const char *command)
{
	g_autofree char *line = g_strdup(command);
	int stdout_fd = dup(STDOUT_FILENO);
	int fds[2];
	GString *text = g_string_new(NULL);
	char buf[4096];
	ssize_t n;

	g_assert_cmpint(pipe(fds), ==, 0);
	/* An answer is longer than its command, but not than what a pipe holds. */
	dup2(fds[1], STDOUT_FILENO);
	close(fds[1]);
	agent_command(agent, line);
	dup2(stdout_fd, STDOUT_FILENO);
	close(stdout_fd);
	while ((n = read(fds[0], buf, sizeof(buf))) > 0)
		g_string_append_len(text, buf, n);
	close(fds[0]);
	return g_string_free(text, FALSE);
}

/* The answer's event; NULL if there is no answer. Anything that is not one line of JSON fails. */
static char *answer(Agent *agent, const char *command, char **ret_error)
{
	g_autofree char *text = run(agent, command);
	g_autoptr(JsonParser) parser = json_parser_new();
	g_autoptr(GError) error = NULL;
	JsonObject *object;

	if (!*text)
		return NULL;
	g_assert_true(strchr(text, '\n') == text + strlen(text) - 1);
	json_parser_load_from_data(parser, text, -1, &error);
	g_assert_no_error(error);
	object = json_node_get_object(json_parser_get_root(parser));
	if (ret_error && json_object_has_member(object, "error"))
		*ret_error = g_strdup(json_object_get_string_member(object, "error"));
	return g_strdup(json_object_get_string_member(object, "event"));
}

typedef struct Case {
	const char *command, *event, *error;
} Case;

static const Case cases[] = {
	{ "", NULL, NULL },
	{ "  \t\r", NULL, NULL },
	{ "hold on", "done", NULL },
	{ "  hold\toff\r", "done", NULL },
	{ "hold", "failed", "it is: hold on|off" },
	{ "hold on off", "failed", "it is: hold on|off" },
	{ "hold a b c d e f g", "failed", "it is: hold on|off" },
	{ "holds on", "failed", "no such command" },
	{ "accept none", "done", NULL },
	{ "accept 5be1f00d-2a6b-4f43-9c1e-0d5f3ac0ffee,5be1f00d-2a6b-4f43-9c1e-0d5f3ac0ffed",
	  "done", NULL },
	{ "accept 5be1f00d", "failed", "not all, none" },
	{ "accept all", "done", NULL },
	{ "list", "", NULL }, /* one line for each device, and there is none */
	{ "resync", "done", NULL },
	{ "release 1", "failed", "nothing accepted is called 1" },
	{ "release -1", "failed", "neither a tag nor the number" },
	{ "release-range 0 0", "failed", "LENGTH not 0" },
	{ "release-range 0xffffffffffffffff 2", "failed", "LENGTH not 0" },
	{ "release-range 0 4096", "failed", "nothing accepted lies there" },
	{ "read 1 0 4097", "failed", "nothing accepted" },
	{ "write 1 0 abc", "failed", "hexadecimal digits" },
	{ "write 1 0 0g", "failed", "hexadecimal digits" },
	{ "write 1 0 -1", "failed", "hexadecimal digits" },
	{ "fill 1 x", "failed", "SEED is a number" },
	{ "checksum \"quoted\\", "failed", "neither a tag" },
	{ "\x01\x7f\xff", "failed", "no such command" },
};

static void test_cases(void)
{
	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		Agent agent = { .options = { .root = "" } };
		g_autofree char *error = NULL;
		g_autofree char *event = answer(&agent, cases[i].command, &error);

		g_test_message("%s", cases[i].command);
		if (cases[i].event && *cases[i].event)
			g_assert_cmpstr(event, ==, cases[i].event);
		else if (!cases[i].event)
			g_assert_null(event);
		if (cases[i].error)
			g_assert_nonnull(strstr(error, cases[i].error));
		else
			g_assert_null(error);
		cxl_accept_list_clear(&agent.options.accept);
	}
}

static void test_state(void)
{
	Agent agent = { .options = { .root = "", .accept = { .all = true } } };

	g_free(run(&agent, "hold on"));
	g_assert_true(agent.holds);
	g_free(run(&agent, "hold off"));
	g_assert_false(agent.holds);
	g_free(run(&agent, "accept x"));
	g_assert_true(agent.options.accept.all);
	g_free(run(&agent, "accept none"));
	g_assert_false(agent.options.accept.all);
	g_assert_false(agent_is_leaving(&agent));
	g_free(run(&agent, "leave"));
	g_assert_true(agent_is_leaving(&agent));
}

/* Every command that the help names is there. */
static void test_help(void)
{
	CommandHelp help;

	for (unsigned i = 0; command_help(i, &help); i++) {
		g_auto(GStrv) words = g_strsplit(help.usage, " ", 2);
		Agent agent = { .options = { .root = "" } };
		g_autofree char *event = NULL;
		g_autofree char *error = NULL;

		g_assert_cmpuint(strlen(help.text), >, 0);
		if (strcmp(words[0], "abandon") == 0)
			continue;
		event = answer(&agent, words[0], &error);
		if (error)
			g_assert_null(strstr(error, "no such command"));
	}
}

static void test_random(void)
{
	static const char *const words[] = { "hold",    "accept",   "release", "release-range",
					     "read",    "write",    "fill",    "verify",
					     "measure", "checksum", "list",    "resync" };
	g_autoptr(GRand) rand = g_rand_new_with_seed(815);

	for (unsigned round = 0; round < 3000; round++) {
		Agent agent = { .options = { .root = "" } };
		GString *line = g_string_new(words[g_rand_int_range(rand, 0, G_N_ELEMENTS(words))]);
		gint len = g_rand_int_range(rand, 0, 60);

		for (gint i = 0; i < len; i++)
			g_string_append_c(line,
					  (char)(g_rand_boolean(rand)
							 ? " 0123456789abcdefx-,"[g_rand_int_range(
								   rand, 0, 20)]
							 : g_rand_int_range(rand, 1, 256)));
		g_strdelimit(line->str, "\n", ' ');
		g_free(answer(&agent, line->str, NULL));
		g_string_free(line, TRUE);
		cxl_accept_list_clear(&agent.options.accept);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/agent/command/cases", test_cases);
	g_test_add_func("/agent/command/state", test_state);
	g_test_add_func("/agent/command/help", test_help);
	g_test_add_func("/agent/command/random", test_random);
	return g_test_run();
}
